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
        """Draw consistency, agreement beyond chance and images that are enough by factor, and what novelty it costs."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 6.2), dpi=110, layout="constrained")
        axes = figure.subplots(2, 2).ravel().tolist()
        for place, (machine, color) in enumerate(zip(MACHINES, COLORS, strict=True)):
            one = found.sel(machine=machine)
            aside = np.array(FACTORS) + 0.03 * (place - (len(MACHINES) - 1) / 2)  # so that lines can be told apart
            style = {"color": color, "markersize": 3}
            for axis, name, tail in ((axes[0], "consistency", "_share"), (axes[1], "beyond_chance", "")):
                value, low, high = (one[f"{name}{end}"].values for end in (tail, "_low", "_high"))
                axis.errorbar(aside, value, yerr=np.stack([value - low, high - value]), fmt="o-", **style)
            novelty, share = one["nearest_train"].median("sample").values, one["consistency_share"].values
            axes[2].plot(novelty, share, "o-", **style)
            for factor, x, y in zip(FACTORS, novelty, share, strict=True):
                if machine in ("els", "compose-score softmax"):
                    axes[2].annotate(f"{factor:g}", (x, y), (3, 3), textcoords="offset points", fontsize=6, color=color)
            axes[3].plot(aside, one["cover"].median("sample"), "o-", **style, label=machine)
        axes[1].axhline(0, color="#999999", linewidth=0.8)
        axes[0].set_ylabel("share of consistent images, 95 % interval", fontsize=8)
        axes[1].set_ylabel("agreement beyond chance, 95 % interval", fontsize=8)
        axes[2].set_ylabel("share of consistent images (numbers: factors)", fontsize=8)
        axes[3].set_ylabel("images that hold its windows (median)", fontsize=8)
        for axis in (axes[0], axes[1], axes[3]):
            axis.set_xlabel("factor on the scales k", fontsize=8)
        axes[2].set_xlabel("L2 to the nearest training image (median)", fontsize=8)
        axes[0].set_ylim(0, 1.02)
        axes[2].set_ylim(0, 1.05)
        figure.legend(loc="outside lower center", ncols=4, fontsize=7)
        return figure


def _stem(name: str, factor: float) -> str:
    """Name of the file of a machine's run at a factor; at 1 it is that of `attention`."""
    return stem_of(name) if factor == 1 else f"{stem_of(name)}-times-{factor:g}"
