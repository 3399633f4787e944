"""Figure 4: receptive fields of trained networks over time, and the scales calibrated by them.

References: Kamb & Ganguli 2025, fig. 4 and app. C.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.interfaces.sampler import uniform_times
from mosaic.interfaces.schedule import Level
from mosaic.progress import prefixed
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.reproduction.study.steps import calibration_steps, training_step
from mosaic.reproduction.study.target import Target
from mosaic.sampling.noise import initial_noise
from mosaic.sampling.scales import PAPER_SCALES

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Fig4", "beside_the_centre", "receptive_field", "width_of"]

IMAGES = 32
SHOWN = 6  # times
SHARE = 0.95
FAINTEST = 1e-3  # smallest value not drawn black, as a share of the largest
COLORS = ("#0072b2", "#d55e00")


def receptive_field(module: nn.Module, x: Tensor, t: float, labels: Tensor | None) -> Tensor:
    """Mean of |d eps(centre) / d x| over samples, and channels of both.

    Parameters
    ----------
    module : Module
        Predicts eps of x (B, C, H, W) at times (B,).
    x : Tensor (B, C, H, W)
        Noisy images.
    t : float
        Their time.

    Returns
    -------
    Tensor (H, W), float64
    """
    x = x.clone().requires_grad_()
    height, width = x.shape[2:]
    eps = module(x, x.new_full((len(x),), t), labels)
    fields = []
    for channel in range(x.shape[1]):
        (slope,) = torch.autograd.grad(eps[:, channel, height // 2, width // 2].sum(), x, retain_graph=True)
        fields.append(slope.abs().double().mean((0, 1)))
    return torch.stack(fields).mean(0)


def width_of(field: np.ndarray, share: float = SHARE) -> int:
    """Side of the smallest square about the centre (H // 2, W // 2) that holds this share of a field (H, W)."""
    height, width = field.shape
    rows, cols = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
    ring = np.maximum(rows[:, None], cols[None, :])
    held = np.cumsum(np.bincount(ring.ravel(), field.ravel()))
    return 2 * int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))) + 1


def beside_the_centre(field: np.ndarray) -> np.ndarray:
    """Copy a field (H, W) with its centre set to 0: the centre is the largest value, however wide the field is."""
    rest = field.copy()
    rest[field.shape[0] // 2, field.shape[1] // 2] = 0
    return rest


class Fig4(Target):
    """Figure 4: receptive fields of trained networks by |Jacobian| over time, and calibrated scales."""

    name = "fig4"
    default_rows = ("mnist-resnet-zeros", "mnist-unet-zeros")

    def steps(self) -> Iterator[Step]:
        """For each row, the training and the calibration that its scales come from, and its own network's training."""
        experiments = (self.experiment(row) for row in self.rows)
        return (step for each in experiments for step in (*calibration_steps(each), training_step(each)))

    def measure(self) -> xr.Dataset:
        """Differentiate the networks on noisy training images at every time.

        Returns
        -------
        xarray.Dataset
            `field` (row, time, height, width), mean |d score(centre) / d x|; `width` (row, time), side of the square
            about the centre that holds 95 % of the squared field, its centre left out (squares, so that a faint floor
            counts little); `scale`, `scale_q25`, `scale_q75` (row, time), calibrated; `paper` (row, time), the paper's
            scales, NaN where it gives none.
        """
        parts = [self._row(self.experiment(row)) for row in self.rows]
        return xr.concat(parts, dim="row", combine_attrs="drop_conflicts").assign_coords(row=list(self.rows))

    def _row(self, experiment: Experiment) -> xr.Dataset:
        times = uniform_times(THEORY_STEPS)[::-1]
        fields = self._fields(experiment, times)
        with open_calibration(experiment.calibrate()) as calibration:
            rising = calibration.sortby("time")
            scales = {name: rising[name].values.astype(float) for name in ("scale", "scale_q25", "scale_q75")}
        paper = PAPER_SCALES.get(experiment.row.scales_of, (np.nan,) * THEORY_STEPS)
        variables = {
            "field": (("time", "height", "width"), np.stack(fields)),
            "width": ("time", [width_of(beside_the_centre(field) ** 2) for field in fields]),
            **{name: ("time", values) for name, values in scales.items()},
            "paper": ("time", np.asarray(paper, dtype=float), {"units": "pixel", "long_name": "the paper's scales"}),
        }
        return xr.Dataset(variables, {"time": times})

    def _fields(self, experiment: Experiment, times: Sequence[float]) -> list[np.ndarray]:
        """Receptive field (H, W) of the row's network at each time."""
        checkpoint, dataset = experiment.train(), experiment.load_dataset()
        schedule = checkpoint.make_schedule()
        module = checkpoint.load().to(dataset.images.device)
        chosen = torch.arange(min(IMAGES, len(dataset)), dtype=torch.int64, device="cpu")
        x0 = dataset.images[chosen].float()
        noise = initial_noise(self.study.config.seed, range(len(chosen)), dataset.shape).to(x0)
        labels = dataset.labels[chosen] if experiment.row.conditional and dataset.labels is not None else None
        progress, fields = prefixed(self.study.progress, experiment.step("receptive field")), []
        for number, t in enumerate(times):
            progress(number, len(times), "time", f"t = {t:.2f}")
            level: Level = schedule.level(t)
            x = level.signal * x0 + level.noise * noise
            fields.append((receptive_field(module, x, t, labels) / level.noise).cpu().numpy())
        return fields

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say how wide the fields are beside the scales, at a few times."""
        return [
            f"{row}, t = {float(moment['time']):.2f}: 95 % of |Jacobian|^2 beside the centre in {int(moment['width'])} "
            f"pixels, calibrated k {float(moment['scale']):g}, the paper's {float(moment['paper']):g}"
            for row in measured["row"].values.tolist()
            for step in _shown(measured)
            for moment in [measured.sel(row=row).isel(time=step)]
        ]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw the fields at six times, and widths and scales against time."""
        from mosaic.view.figure import Picture

        rows = measured.sizes["row"]
        figure = Picture(7.6, 1.5 * rows + 3.4)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5 * rows, 3.2))[:, 0]
        _draw_fields(above, measured)
        _draw_widths(below, measured)
        figure.suptitle(
            "mean |d score(centre) / d x|, each scaled to its largest value; and locality scales", fontsize=9
        )
        return figure


def _shown(measured: xr.Dataset) -> list[int]:
    steps: list[int] = np.linspace(0, measured.sizes["time"] - 1, SHOWN).round().astype(int).tolist()
    return steps


def _draw_fields(figure: SubFigure, measured: xr.Dataset) -> None:
    from matplotlib.colors import LogNorm

    rows, steps = measured["row"].values.tolist(), _shown(measured)
    axes = figure.subplots(len(rows), len(steps), squeeze=False)
    for row, name in enumerate(rows):
        for column, step in enumerate(steps):
            field = measured["field"].sel(row=name).isel(time=step).values
            axis = axes[row, column]
            faint = np.maximum(field / field.max(), FAINTEST)
            mesh = axis.imshow(faint, cmap="magma", norm=LogNorm(FAINTEST, 1), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"t = {float(measured['time'][step]):.2f}", fontsize=8)
        axes[row, 0].set_ylabel(name, fontsize=8)
    figure.colorbar(mesh, ax=axes, label="of the largest")


def _draw_widths(figure: SubFigure, measured: xr.Dataset) -> None:
    rows = measured["row"].values.tolist()
    axes = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    label = f"{100 * SHARE:.0f} % of |Jacobian|^2 beside the centre"
    for axis, name in zip(axes, rows, strict=True):
        row = measured.sel(row=name)
        time = row["time"].values
        axis.fill_between(time, row["scale_q25"], row["scale_q75"], color=COLORS[0], alpha=0.2, linewidth=0)
        axis.plot(time, row["scale"], "o-", color=COLORS[0], markersize=3, label="calibrated k, quartiles")
        axis.plot(time, row["paper"], "x", color="black", markersize=4, label="the paper's k")
        axis.plot(time, row["width"], "-", color=COLORS[1], label=label)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("time t")
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("pixels")
    axes[0].legend(fontsize=7)
