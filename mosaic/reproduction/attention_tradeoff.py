"""Consistency against novelty as the locality scale grows, with and without attention.

References: the question is that of the notes on Finn, Keller, Theodosis & Ba 2025 (arXiv 2506.17324; seed 004 of the
project, line 202: "Can we trade off locality vs. global consistency to control creativity?"); the experiment is ours.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from mosaic.nearest import nearest_images
from mosaic.reproduction.agreement import agreement_of, copies_among, rule_of
from mosaic.reproduction.attention import NETWORKS, forecast_theory, interval_text, run_theory, scale_of, stem_of
from mosaic.reproduction.cover import cover_of
from mosaic.reproduction.duration import Forecast
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.memorization import FACTORS, multiplied
from mosaic.reproduction.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MACHINES", "AttentionTradeoff"]

FORMS = ("compose", "compose-score", "mixture")
MACHINES = ("els", *(f"{form} {kind}" for form in FORMS for kind in ("softmax", "top1")))
COLORS = ("black", "#0072b2", "#56b4e9", "#009e73", "#7fd0b3", "#d55e00", "#e69f00")


class AttentionTradeoff(Target):
    """Consistency against novelty as the locality scale grows, for ELS and ELS with attention."""

    name = "attention-tradeoff"
    most_rows = 0

    def _base(self) -> Experiment:
        return self.study.experiment_of(NETWORKS["resnet"])

    def forecast(self) -> list[Forecast]:
        """Tell the runs."""
        base = self._base()
        scales = {factor: str(multiplied([scale_of(base)], factor)[0]) for factor in FACTORS}
        runs = {name: {_stem(name, factor): k for factor, k in scales.items()} for name in MACHINES}
        return [forecast_theory(base, self.name, name, runs[name]) for name in MACHINES]

    def measure(self) -> xr.Dataset:
        """Run each machine at each factor on the scale of `attention`, and judge and trace the images.

        Returns
        -------
        xarray.Dataset
            Along (machine, factor): what `agreement_of` gives. Along (machine, factor, sample): `copy`, whether the
            image is a copy of a training image; `nearest_train`, the L2 distance to the nearest one; `cover`, how many
            hold all windows that it is traced to (`cover_of`; by plain ELS, before any mixing); with `part`, `shown`,
            as in `attention`.
        """
        base = self._base()
        rule, images = rule_of(base.dataset), base.dataset.images.cpu()
        scale = scale_of(base)
        parts = []
        for name in MACHINES:
            for factor in FACTORS:
                (k,) = multiplied([scale], factor)
                with run_theory(base, name, str(k), _stem(name, factor)) as run:
                    final, source = torch.from_numpy(run["image"].values), run.mosaic.provenance().load()
                parts.append(
                    {
                        "shown": rule.shows(final).numpy(),
                        "copy": copies_among(final, base.dataset),
                        "nearest_train": nearest_images(final, images)[0][:, 0].numpy(),
                        "cover": cover_of(source, images, k, base.row.padding),
                    }
                )
        shape, dims = (len(MACHINES), len(FACTORS)), ("machine", "factor", "sample", "part")
        values = {name: np.stack([one[name] for one in parts]) for name in parts[0]}
        values = {name: array.reshape(*shape, *array.shape[1:]) for name, array in values.items()}
        shares = agreement_of(values["shown"], values["copy"], len(rule.kinds))
        named = {name: (dims[: array.ndim], array) for name, array in (values | shares).items()}
        found = xr.Dataset(named, {"machine": list(MACHINES), "factor": list(FACTORS)})
        found["shown"].attrs["kinds"] = json.dumps(rule.kinds)
        return found

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell consistency and novelty of each machine at each factor, and agreement beyond chance."""
        return [
            f"{machine}, k x {factor:g}: consistent {float(one['consistency_share']):.2f}, and no copies "
            f"{float(one['new_share']):.2f}; agreement beyond chance {interval_text(one, 'beyond_chance', '')}; median "
            f"distance to the nearest training image {float(one['nearest_train'].median()):.2f}, number of those that "
            f"hold its windows {float(one['cover'].median()):g}"
            for machine in MACHINES
            for factor in FACTORS
            for one in [found.sel(machine=machine, factor=factor)]
        ]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw consistency by factor and against novelty, and how many images are enough by factor."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 3.4), dpi=110, layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for machine, color in zip(MACHINES, COLORS, strict=True):
            one = found.sel(machine=machine)
            share, low, high = (one[f"consistency_{end}"].values for end in ("share", "low", "high"))
            left.errorbar(
                FACTORS, share, yerr=np.stack([share - low, high - share]), fmt="o-", color=color, markersize=3
            )
            novelty = one["nearest_train"].median("sample").values
            middle.plot(novelty, share, "o-", color=color, markersize=3)
            right.plot(FACTORS, one["cover"].median("sample"), "o-", color=color, markersize=3, label=machine)
        left.set_ylabel("share of consistent images, 95 % interval", fontsize=8)
        middle.set_ylabel("share of consistent images", fontsize=8)
        middle.set_xlabel("L2 to the nearest training image (median)", fontsize=8)
        right.set_ylabel("training images that hold its windows (median)", fontsize=8)
        for axis in (left, right):
            axis.set_xlabel("factor on the scales k", fontsize=8)
        left.set_ylim(0, 1)
        middle.set_ylim(0, 1)
        figure.legend(loc="outside lower center", ncols=4, fontsize=7)
        return figure


def _stem(name: str, factor: float) -> str:
    """Name of the file of a machine's run at a factor; at 1 it is that of `attention`."""
    return stem_of(name) if factor == 1 else f"{stem_of(name)}-times-{factor:g}"
