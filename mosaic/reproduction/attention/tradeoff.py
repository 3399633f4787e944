"""Consistency against novelty as the locality scale grows, with and without attention.

References: the question is that of the notes on Finn, Keller, Theodosis & Ba 2025 (arXiv 2506.17324; seed 004 of the
project, line 202: "Can we trade off locality vs. global consistency to control creativity?"); the experiment is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from mosaic.engine.nearest import nearest_images
from mosaic.reproduction.attention.consistency import consistency_shares, copies_among, rule_of
from mosaic.reproduction.attention.cover import cover_of
from mosaic.reproduction.attention.table import interval_text
from mosaic.reproduction.attention.theories import (
    NETWORKS,
    notes_on,
    run_theory,
    scale_of,
    stem_of,
    theory_step,
)
from mosaic.reproduction.paper.memorization import FACTORS, multiplied
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.target import Target
from mosaic.storage.files import as_attribute
from mosaic.view.colours import BLUE, GREEN, ORANGE, SKY, YELLOW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MACHINES", "AttentionTradeoff"]

FORMS = ("compose", "compose-score", "mixture")
MACHINES = ("els", *(f"{form} {kind}" for form in FORMS for kind in ("softmax", "top1")))
COLORS = ("black", BLUE, SKY, GREEN, "#7fd0b3", ORANGE, YELLOW)


class AttentionTradeoff(Target):
    """Consistency against novelty as the locality scale grows, for ELS and ELS with attention."""

    name = "attention-tradeoff"
    most_rows = 0

    def _base(self) -> Experiment:
        return Experiment(NETWORKS["resnet"], self.study)

    def notes(self) -> list[str]:
        """Say if a window of the ResNet sees both halves."""
        return notes_on(self._base())

    def steps(self) -> list[Step]:
        """A run for each machine and each factor on the window that the theories of `attention` have."""
        base = self._base()
        return [
            theory_step(base, f"{self.name}: {name} x {factor:g}", name, _stem(name, factor), k)
            for name in MACHINES
            for factor, k in _sizes(base).items()
        ]

    def measure(self) -> xr.Dataset:
        """Run each machine at each factor on the scale of `attention`, and judge and trace the images.

        Returns
        -------
        xarray.Dataset
            Along (machine, factor): what `consistency_shares` gives. Along (machine, factor, sample): `copy`, whether
            the image is a copy of a training image; `nearest_train`, the L2 distance to the nearest one; `cover`, how
            many hold all windows that it is traced to (`cover_of`; by plain ELS, before any mixing); with `part`,
            `shown`, as in `attention`.
        """
        base = self._base()
        rule = rule_of(base.load_dataset())
        runs = [self._judged(base, name, factor, k) for name in MACHINES for factor, k in _sizes(base).items()]
        shape, dims = (len(MACHINES), len(FACTORS)), ("machine", "factor", "sample", "part")
        values = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        values = {name: array.reshape(*shape, *array.shape[1:]) for name, array in values.items()}
        judged = [consistency_shares(run["shown"][None], run["copy"][None], len(rule.kinds)) for run in runs]
        shares = {name: np.reshape([each[name] for each in judged], shape) for name in judged[0]}
        named = {name: (dims[: array.ndim], array) for name, array in (values | shares).items()}
        measured = xr.Dataset(named, {"machine": list(MACHINES), "factor": list(FACTORS)})
        measured["shown"].attrs["kinds"] = as_attribute(rule.kinds)
        return measured

    def _judged(self, base: Experiment, name: str, factor: float, k: int) -> dict[str, np.ndarray]:
        """Run a machine with windows of k pixels, and judge and trace its images."""
        dataset = base.load_dataset()
        images = dataset.images[:].cpu()
        with run_theory(base, name, k, _stem(name, factor)) as run:
            final, source = torch.from_numpy(run["image"].values), run.mosaic.provenance().load()
        return {
            "shown": rule_of(dataset).shows(final).numpy(),
            "copy": copies_among(final, dataset),
            "nearest_train": nearest_images(final, images)[0][:, 0].numpy(),
            "cover": cover_of(source, images, k, base.row.padding),
        }

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say consistency and novelty of each machine at each factor, and agreement beyond chance."""
        return [
            f"{machine}, k x {factor:g}: consistent {float(run['consistency_share']):.2f}, and no copies "
            f"{float(run['new_share']):.2f}; agreement beyond chance {interval_text(run, 'beyond_chance', '')}; median "
            f"distance to the nearest training image {float(run['nearest_train'].median()):.2f}, number of those that "
            f"hold its windows {float(run['cover'].median()):g}"
            for machine in MACHINES
            for factor in FACTORS
            for run in [measured.sel(machine=machine, factor=factor)]
        ]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw consistency, agreement beyond chance and images that are enough by factor, and what novelty it costs."""
        from mosaic.view.figure import Picture

        figure = Picture(8.4, 6.2)
        axes = figure.subplots(2, 2).ravel().tolist()
        for place, (machine, color) in enumerate(zip(MACHINES, COLORS, strict=True)):
            aside = np.array(FACTORS) + 0.03 * (place - (len(MACHINES) - 1) / 2)  # so that no line hides another
            _draw_machine(axes, measured.sel(machine=machine), aside, color)
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


def _draw_machine(axes: Sequence[Axes], runs: xr.Dataset, factors: np.ndarray, color: str) -> None:
    """Draw a machine into all four panels, at these places of its factors."""
    machine = str(runs["machine"].item())
    style: dict[str, Any] = {"color": color, "markersize": 3}
    for axis, name, tail in ((axes[0], "consistency", "_share"), (axes[1], "beyond_chance", "")):
        value, low, high = (runs[f"{name}{end}"].values for end in (tail, "_low", "_high"))
        # Where nearly all images agree, resampling only lowers the statistic: the interval then leaves out the value.
        bars = np.stack([value - low, high - value]).clip(min=0)
        axis.errorbar(factors, value, yerr=bars, fmt="o-", **style)
    novelty, share = runs["nearest_train"].median("sample").values, runs["consistency_share"].values
    axes[2].plot(novelty, share, "o-", **style)
    if machine in ("els", "compose-score softmax"):
        for factor, x, y in zip(FACTORS, novelty, share, strict=True):
            axes[2].annotate(f"{factor:g}", (x, y), (3, 3), textcoords="offset points", fontsize=6, color=color)
    axes[3].plot(factors, runs["cover"].median("sample"), "o-", **style, label=machine)


def _sizes(base: Experiment) -> dict[float, int]:
    """Window of the machines at each factor."""
    return {factor: multiplied([scale_of(base)], factor)[0] for factor in FACTORS}


def _stem(name: str, factor: float) -> str:
    """Name of the file of a machine's run at a factor; at 1 it is that of `attention`."""
    return stem_of(name) if factor == 1 else f"{stem_of(name)}-times-{factor:g}"
