"""From mosaics towards copies: how the images of ELS change as its locality scales grow.

References: Kamb & Ganguli 2025, sec. 4; Yoon et al. 2023 (copies).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.engine.nearest import nearest_images
from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.steps import calibration_steps, scaled_step
from mosaic.reproduction.study.target import Target
from mosaic.run.config import RunConfig
from mosaic.sampling.scales import nearest_window
from mosaic.view.colours import BLUE, ORANGE
from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Memorization", "multiplied"]

FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0)
SAMPLES = 16


def multiplied(scales: list[float], factor: float) -> list[int]:
    """Multiply scales, and round them to window sizes."""
    return [nearest_window(k * factor) for k in scales]


def _stem(factor: float) -> str:
    return f"els-times-{factor:g}"


def _config(experiment: Experiment, factor: float) -> RunConfig:
    """Configuration of ELS at a factor on the calibrated scales."""
    with open_calibration(experiment.scales_owner().scales_file()) as calibration:
        scales = multiplied(calibration.sortby("time")["scale"].values.tolist(), factor)
    more = {"samples": min(SAMPLES, experiment.samples), "save": "provenance,entropy", "save_steps": "all"}
    return experiment.run_config("els", ",".join(map(str, scales))).model_copy(update=more)


class Memorization(Target):
    """From mosaics towards copies: ELS as its calibrated scales are multiplied."""

    name = "memorization"
    most_rows = 1
    default_rows = ("mnist-resnet-zeros",)

    def steps(self) -> list[Step]:
        """List the training, the calibration and the runs at every factor."""
        experiment = self.experiment(self.rows[0])
        configs = {factor: partial(_config, experiment, factor) for factor in FACTORS}
        samples = min(SAMPLES, experiment.samples)
        return calibration_steps(experiment) + [
            scaled_step(experiment, f"memorization: x {factor:g}", _stem(factor), config, samples=samples)
            for factor, config in configs.items()
        ]

    def measure(self) -> xr.Dataset:
        """Run ELS at each factor, with its provenance.

        Returns
        -------
        xarray.Dataset
            Along (factor, sample): `share` of the pixels whose source is the image that most have; `share_untied`, the
            same among pixels whose source window is the only one of its kind; `tied`, the share of the others;
            `nearest_train`, the L2 distance to the nearest training image. `n_eff` (factor, sample, step), exp of the
            mean entropy of the pixels' posteriors; `k` (factor, step); `image`. `between_training`: median distance of
            a training image from the next.
        """
        experiment = self.experiment(self.rows[0])
        experiment.calibrate()
        parts = [self._traced(experiment, factor) for factor in FACTORS]
        measured = xr.concat(parts, dim="factor", combine_attrs="drop_conflicts").assign_coords(factor=list(FACTORS))
        images = experiment.load_dataset().images.cpu()
        between, _ = nearest_images(images[:200], images, 2)
        measured["between_training"] = float(between[:, 1].median())
        return measured

    def _traced(self, experiment: Experiment, factor: float) -> xr.Dataset:
        """Run at one factor, and sum up what the run holds of its posteriors and sources."""
        with experiment.execute(_stem(factor), _config(experiment, factor)) as run:
            sources = run.mosaic.sources()
            distance = run.mosaic.nearest_train(experiment.load_dataset())["distance"]
            share = sources["largest_share"]
            variables: dict[str, tuple[Any, ...]] = {
                "share": ("sample", share.sel(pixels="all").values),
                "share_untied": ("sample", share.sel(pixels="untied").values),
                "tied": ("sample", 1 - sources["pixel_share"].sel(pixels="untied").values),
                "nearest_train": ("sample", distance.values),
                "n_eff": (("sample", "step"), np.exp(run["entropy"].mean(["height", "width"]).values)),
                "k": ("step", run["scale"].values),
                "image": (run["image"].dims, run["image"].values),
            }
            attrs = {"dataset_range": run.attrs["dataset_range"]}
            return xr.Dataset(variables, {"time": ("step", run["time"].values), "sample": run["sample"].values}, attrs)

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say the medians at each factor."""
        medians = measured.median("sample")
        lines = [
            f"k x {factor:g}: share of pixels from one image {float(median['share']):.3f}, without tied ones "
            f"{float(median['share_untied']):.3f} (tied: {float(median['tied']):.3f}); nearest training image at "
            f"{float(median['nearest_train']):.1f}; n_eff at the last step {float(median['n_eff'][-1]):.3g}"
            for factor in measured["factor"].values.tolist()
            for median in [medians.sel(factor=factor)]
        ]
        return [*lines, f"training images from each other: {float(measured['between_training']):.1f}"]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw samples at each factor above, below what they are made of, how far from data they are, and n_eff."""
        from mosaic.view.figure import Picture

        title = "ELS from the same noise at multiplied scales; curves: medians; dotted: between training images"
        figure = Picture(9.6, 8.8, title, 8)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5, 1))[:, 0]
        _draw_samples(above, measured)
        _draw_medians(below, measured)
        return figure


def _draw_samples(figure: SubFigure, measured: xr.Dataset) -> None:
    columns = min(8, measured.sizes["sample"])
    axes = figure.subplots(measured.sizes["factor"], columns, squeeze=False)
    for row, factor in enumerate(measured["factor"].values.tolist()):
        for column in range(columns):
            axes[row, column].set_axis_off()
            draw_image(axes[row, column], measured["image"].sel(factor=factor).isel(sample=column), measured)
        axes[row, 0].text(-0.25, 0.5, f"k x {factor:g}", transform=axes[row, 0].transAxes, ha="right", fontsize=8)


def _draw_medians(figure: SubFigure, measured: xr.Dataset) -> None:
    left, middle, right = figure.subplots(1, 3)
    factors = measured["factor"].values
    for name, color, label in (("share", ORANGE, "all pixels"), ("share_untied", BLUE, "without tied ones")):
        left.plot(factors, measured[name].median("sample"), "o-", color=color, markersize=4, label=label)
    left.set_ylabel("share of pixels from one training image")
    left.set_ylim(0, 1.02)
    left.legend(fontsize=7)
    middle.plot(factors, measured["nearest_train"].median("sample"), "o-", color=BLUE, markersize=4)
    middle.axhline(float(measured["between_training"]), color="black", linewidth=0.8, linestyle=":")
    middle.set_ylabel("L2 to the nearest training image")
    middle.set_ylim(bottom=0)
    greys = [str(grey) for grey in np.linspace(0.75, 0.0, len(factors))]
    for factor, grey in zip(factors.tolist(), greys, strict=True):
        runs = measured.sel(factor=factor)
        right.semilogy(runs["time"], runs["n_eff"].median("sample"), color=grey, label=f"k x {factor:g}")
    right.set_xlabel("time t")
    right.set_ylabel("n_eff, effective candidates")
    right.legend(fontsize=7)
    for axis in (left, middle):
        axis.set_xlabel("factor on the scales k")
