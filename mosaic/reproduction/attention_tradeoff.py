"""Consistency against novelty as the locality scale grows, with and without attention.

References: the question is that of Finn, Keller, Theodosis & Ba 2025 (arXiv 2506.17324); the experiment is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from mosaic.nearest import nearest_images
from mosaic.reproduction.attention import NETWORKS, judged, rule_of, run_theory, stem_of
from mosaic.reproduction.duration import Forecast, forecast, machine_seconds
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.memorization import FACTORS, NEAREST, multiplied
from mosaic.reproduction.sources import sources_of
from mosaic.reproduction.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MACHINES", "AttentionTradeoff"]

MACHINES = ("els", "compose softmax", "compose top1", "mixture softmax", "mixture top1")
COLORS = ("black", "#0072b2", "#56b4e9", "#d55e00", "#e69f00")


class AttentionTradeoff(Target):
    """Consistency against novelty as the locality scale grows, for ELS and ELS with attention."""

    name = "attention-tradeoff"
    most_rows = 0

    def _base(self) -> Experiment:
        return self.study.experiment_of(NETWORKS["resnet"])

    def forecast(self) -> list[Forecast]:
        """Tell the training, the calibration and the runs."""
        base = self._base()
        steps = [step for step in forecast(base) if step.step.endswith((": train", ": calibrate"))]
        els = machine_seconds(base, "els")
        for name in MACHINES:
            missing = [factor for factor in FACTORS if not (base.folder / f"{_stem(name, factor)}.nc").exists()]
            times = 4 if name.startswith("mixture") else 1  # in-degrees: as long as 300 samples
            steps.append(Forecast(f"attention-tradeoff: {name}", len(missing) * times * els, not missing))
        return steps

    def measure(self) -> xr.Dataset:
        """Run each machine at each factor on the calibrated scales, and judge and trace the images.

        Returns
        -------
        xarray.Dataset
            Along (machine, factor): `consistency_share` and `agreement_share` with the ends `_low` and `_high` of their
            intervals, as in `attention`. Along (machine, factor, sample): `verdict`; `nearest_train`, the L2 distance
            to the nearest training image; `sources`, the number of training images that the pixels come from.
        """
        base = self._base()
        rule, images = rule_of(base.dataset), base.dataset.images.cpu()
        with xr.open_dataset(base.scales) as calibrated:
            scales = calibrated.sortby("time")["scale"].values.tolist()
        shape = (len(MACHINES), len(FACTORS), base.samples)
        verdicts, distances, sources = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64)
        for i, name in enumerate(MACHINES):
            for j, factor in enumerate(FACTORS):
                spec = ",".join(map(str, multiplied(scales, factor)))
                with run_theory(base, name, spec, _stem(name, factor)) as run:
                    final, labels = torch.from_numpy(run["image"].values), torch.from_numpy(run["label"].values)
                    k = int(run["scale"][-1])
                verdicts[i, j] = rule.judge(final).numpy()
                distances[i, j] = nearest_images(final, images)[0][:, 0].numpy()
                traced = sources_of(final, labels, base.dataset, NEAREST, k, base.row.padding)
                sources[i, j] = [len(image.unique()) for image in traced.image]
        dims = ("machine", "factor")
        shares = judged(verdicts.reshape(-1, base.samples), "row")
        return xr.Dataset(
            {
                "verdict": ((*dims, "sample"), verdicts, {"verdicts": ", ".join(rule.verdicts)}),
                "nearest_train": ((*dims, "sample"), distances),
                "sources": ((*dims, "sample"), sources),
                **{name: (dims, np.reshape(values, shape[:2])) for name, (_, values) in shares.items()},
            },
            {"machine": list(MACHINES), "factor": list(FACTORS)},
        )

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell consistency, novelty and sources of each machine at each factor."""
        return [
            f"{machine}, k x {factor:g}: consistent {float(one['consistency_share']):.2f}; median distance to the "
            f"nearest training image {float(one['nearest_train'].median()):.2f}, of sources "
            f"{float(one['sources'].median()):g}"
            for machine in MACHINES
            for factor in FACTORS
            for one in [found.sel(machine=machine, factor=factor)]
        ]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw consistency by factor and against novelty, and the number of sources by factor."""
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
            right.plot(FACTORS, one["sources"].median("sample"), "o-", color=color, markersize=3, label=machine)
        left.set_ylabel("share of consistent images, 95 % interval", fontsize=8)
        middle.set_ylabel("share of consistent images", fontsize=8)
        middle.set_xlabel("L2 to the nearest training image (median)", fontsize=8)
        right.set_ylabel("training images that an image is made of (median)", fontsize=8)
        for axis in (left, right):
            axis.set_xlabel("factor on the scales k", fontsize=8)
        left.set_ylim(0, 1)
        middle.set_ylim(0, 1)
        figure.legend(loc="outside lower center", ncols=len(MACHINES), fontsize=7)
        return figure


def _stem(name: str, factor: float) -> str:
    """Name of the file of a machine's run at a factor; at 1 it is that of `attention`."""
    return stem_of(name) if factor == 1 else f"{stem_of(name)}-times-{factor:g}"
