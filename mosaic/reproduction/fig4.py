"""Figure 4: receptive fields of trained networks over time, and the scales calibrated by them.

References: Kamb & Ganguli 2025, fig. 4 and app. C.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from mosaic.noise import initial_noise
from mosaic.reproduction.duration import Forecast, forecast
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.rows import THEORY_STEPS
from mosaic.reproduction.target import Target
from mosaic.sampler import reverse_times
from mosaic.scales import PAPER_SCALES
from mosaic.schedule import Level

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Fig4", "beside_the_centre", "receptive_field", "width_of"]

IMAGES = 32
SHOWN = 6  # times
SHARE = 0.95
FAINTEST = 1e-3  # of the largest value, that is told from black
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


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
    """Copy a field (H, W) without its centre: a pixel of eps depends on itself above all, however wide the rest is."""
    rest = field.copy()
    rest[field.shape[0] // 2, field.shape[1] // 2] = 0
    return rest


class Fig4(Target):
    """Figure 4: receptive fields of trained networks by |Jacobian| over time, and calibrated scales."""

    name = "fig4"
    default_rows = ("mnist-resnet-zeros", "mnist-unet-zeros")

    def forecast(self) -> list[Forecast]:
        """Tell the trainings and calibrations."""
        return [step for row in self.rows for step in forecast(self.study.experiment(row), ("train", "calibrate"))]

    def measure(self) -> xr.Dataset:
        """Differentiate the networks on noisy training images at every time.

        Returns
        -------
        xarray.Dataset
            `field` (row, time, height, width), mean |d score(centre) / d x|; `width` (row, time), side of the square
            about the centre that holds 95 % of the rest of its square, beside the centre's own, which a faint floor
            adds little to; `scale`, `scale_q25`, `scale_q75` (row, time), calibrated; `paper` (row, time), the paper's
            scales, NaN where it gives none.
        """
        parts = [self._row(self.study.experiment(row)) for row in self.rows]
        return xr.concat(parts, dim="row", combine_attrs="drop_conflicts").assign_coords(row=list(self.rows))

    def _row(self, experiment: Experiment) -> xr.Dataset:
        module = experiment.checkpoint.load().to(experiment.dataset.images.device)
        dataset = experiment.dataset
        chosen = torch.arange(min(IMAGES, len(dataset)))
        x0 = dataset.images[chosen].float()
        noise = initial_noise(experiment.config.seed, range(len(chosen)), dataset.shape).to(x0)
        labels = dataset.labels[chosen] if experiment.row.conditional and dataset.labels is not None else None
        times, fields = reverse_times(THEORY_STEPS)[::-1], []
        for number, t in enumerate(times):
            self.study.report(f"fig4: {experiment.row.name}", number / len(times), f"t = {t:.2f}")
            level: Level = experiment.checkpoint.schedule.level(t)
            x = level.signal * x0 + level.noise * noise
            fields.append((receptive_field(module, x, t, labels) / level.noise).cpu().numpy())
        with xr.open_dataset(experiment.scales) as calibrated:
            rising = calibrated.sortby("time")
            scales = {name: rising[name].values.astype(float) for name in ("scale", "scale_q25", "scale_q75")}
        paper = PAPER_SCALES.get(experiment.row.scales_of, (np.nan,) * THEORY_STEPS)
        variables = {
            "field": (("time", "height", "width"), np.stack(fields)),
            "width": ("time", [width_of(beside_the_centre(field) ** 2) for field in fields]),
            **{name: ("time", values) for name, values in scales.items()},
            "paper": ("time", np.asarray(paper, dtype=float), {"units": "pixel", "long_name": "the paper's scales"}),
        }
        return xr.Dataset(variables, {"time": times})

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell how wide the fields are beside the scales, at a few times."""
        return [
            f"{row}, t = {float(one['time']):.2f}: 95 % of |Jacobian|^2 beside the centre in {int(one['width'])} "
            f"pixels, calibrated k {float(one['scale']):g}, the paper's {float(one['paper']):g}"
            for row in found["row"].values.tolist()
            for step in np.linspace(0, found.sizes["time"] - 1, SHOWN).round().astype(int).tolist()
            for one in [found.sel(row=row).isel(time=step)]
        ]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw the fields at six times, and widths and scales against time."""
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure

        rows = found["row"].values.tolist()
        shown = np.linspace(0, found.sizes["time"] - 1, SHOWN).round().astype(int)
        figure = Figure(figsize=(7.6, 1.5 * len(rows) + 3.4), dpi=110, layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5 * len(rows), 3.2))[:, 0]
        axes = above.subplots(len(rows), len(shown), squeeze=False)
        for row, name in enumerate(rows):
            for column, step in enumerate(shown.tolist()):
                field = found["field"].sel(row=name).isel(time=step).values
                axis = axes[row, column]
                faint = np.maximum(field / field.max(), FAINTEST)
                mesh = axis.imshow(faint, cmap="magma", norm=LogNorm(FAINTEST, 1), interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
                axis.set_title(f"t = {float(found['time'][step]):.2f}", fontsize=8)
            axes[row, 0].set_ylabel(name, fontsize=8)
        panels = below.subplots(1, len(rows), squeeze=False, sharey=True)[0]
        for panel, name in zip(panels, rows, strict=True):
            one = found.sel(row=name)
            time = one["time"].values
            panel.fill_between(time, one["scale_q25"], one["scale_q75"], color=COLORS[0], alpha=0.2, linewidth=0)
            panel.plot(time, one["scale"], "o-", color=COLORS[0], markersize=3, label="calibrated k, quartiles")
            panel.plot(time, one["paper"], "x", color="black", markersize=4, label="the paper's k")
            panel.plot(
                time, one["width"], "-", color=COLORS[1], label=f"{100 * SHARE:.0f} % of |Jacobian|^2 beside the centre"
            )
            panel.set_title(name, fontsize=8)
            panel.set_xlabel("time t")
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("pixels")
        above.colorbar(mesh, ax=axes, label="of the largest")
        panels[0].legend(fontsize=7)
        figure.suptitle(
            "mean |d score(centre) / d x|, each scaled to its largest value; and locality scales", fontsize=9
        )
        return figure
