"""From mosaics towards copies: what becomes of ELS as its locality scales grow.

References: Kamb & Ganguli 2025, sec. 4; Yoon et al. 2023 (copies).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.config import RunConfig
from mosaic.nearest import nearest_images
from mosaic.picture import draw_image
from mosaic.reproduction.duration import Forecast, forecast, forecast_scaled, machine_seconds
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Memorization", "multiplied"]

FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0)
SAMPLES = 16
BLUE, ORANGE = "#0072b2", "#d55e00"


def multiplied(scales: list[int], factor: float) -> list[int]:
    """Multiply scales and round them to the nearest odd number, up where two are equally near."""
    return [2 * int(k * factor / 2) + 1 for k in scales]


def _stem(factor: float) -> str:
    return f"els-times-{factor:g}"


def _config(experiment: Experiment, factor: float) -> RunConfig:
    """Configuration of ELS at a factor on the calibrated scales."""
    with xr.open_dataset(experiment.scales_owner.scales_file) as calibrated:
        scales = multiplied(calibrated.sortby("time")["scale"].values.tolist(), factor)
    more = {"samples": min(SAMPLES, experiment.samples), "save": "provenance,entropy", "save_steps": "all"}
    return experiment.run_config("els", ",".join(map(str, scales))).model_copy(update=more)


class Memorization(Target):
    """From mosaics towards copies: ELS as its calibrated scales are multiplied."""

    name = "memorization"
    most_rows = 1
    default_rows = ("mnist-resnet-zeros",)

    def forecast(self) -> list[Forecast]:
        """Tell the steps of the row and the runs at every factor (the first two take the longest)."""
        experiment = self.study.experiment(self.rows[0])
        kept = forecast(experiment, ("train", "calibrate"))

        def seconds() -> float:
            return machine_seconds(experiment, "els") * min(SAMPLES, experiment.samples) / experiment.samples

        for factor in FACTORS:
            config = partial(_config, experiment, factor)
            kept.append(forecast_scaled(experiment, f"memorization: x {factor:g}", _stem(factor), config, seconds))
        return kept

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
        experiment = self.study.experiment(self.rows[0])
        _ = experiment.scales
        parts = [self._traced(experiment, factor) for factor in FACTORS]
        found = xr.concat(parts, dim="factor", combine_attrs="drop_conflicts").assign_coords(factor=list(FACTORS))
        images = experiment.dataset.images.cpu()
        between, _ = nearest_images(images[:200], images, 2)
        found["between_training"] = float(between[:, 1].median())
        return found

    def _traced(self, experiment: Experiment, factor: float) -> xr.Dataset:
        """Run at one factor, and sum up what the run holds of its posteriors and sources."""
        with experiment.execute(_stem(factor), _config(experiment, factor)) as run:
            sources = run.mosaic.sources()
            distance = run.mosaic.nearest_train(experiment.dataset)["distance"]
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

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the medians at each factor."""
        middle = found.median("sample")
        lines = [
            f"k x {factor:g}: share of pixels from one image {float(one['share']):.3f}, without tied ones "
            f"{float(one['share_untied']):.3f} (tied: {float(one['tied']):.3f}); nearest training image at "
            f"{float(one['nearest_train']):.1f}; n_eff at the last step {float(one['n_eff'][-1]):.3g}"
            for factor, one in ((factor, middle.sel(factor=factor)) for factor in found["factor"].values.tolist())
        ]
        return [*lines, f"training images from each other: {float(found['between_training']):.1f}"]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw samples at each factor above, below what they are made of, how far from data they are, and n_eff."""
        from matplotlib.figure import Figure

        columns = min(8, found.sizes["sample"])
        figure = Figure(figsize=(7.6, 7.4), dpi=110, layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5, 1))[:, 0]
        axes = above.subplots(found.sizes["factor"], columns, squeeze=False)
        for row, factor in enumerate(found["factor"].values.tolist()):
            for column in range(columns):
                axes[row, column].set_axis_off()
                draw_image(axes[row, column], found["image"].sel(factor=factor).isel(sample=column), found)
            axes[row, 0].text(-0.25, 0.5, f"k x {factor:g}", transform=axes[row, 0].transAxes, ha="right", fontsize=8)
        left, middle, right = below.subplots(1, 3)
        factors = found["factor"].values
        for name, color, label in (("share", ORANGE, "all pixels"), ("share_untied", BLUE, "without tied ones")):
            left.plot(factors, found[name].median("sample"), "o-", color=color, markersize=4, label=label)
        left.set_ylabel("share of pixels from one training image")
        left.set_ylim(0, 1.02)
        left.legend(fontsize=7)
        middle.plot(factors, found["nearest_train"].median("sample"), "o-", color=BLUE, markersize=4)
        middle.axhline(float(found["between_training"]), color="black", linewidth=0.8, linestyle=":")
        middle.set_ylabel("L2 to the nearest training image")
        middle.set_ylim(bottom=0)
        colors = [str(shade) for shade in np.linspace(0.75, 0.0, len(factors))]
        for factor, color in zip(factors.tolist(), colors, strict=True):
            one = found.sel(factor=factor)
            right.semilogy(one["time"], one["n_eff"].median("sample"), color=color, label=f"k x {factor:g}")
        right.set_xlabel("time t")
        right.set_ylabel("n_eff, effective candidates")
        right.legend(fontsize=7)
        for axis in (left, middle):
            axis.set_xlabel("factor on the scales k")
        figure.suptitle(
            "ELS from the same noise at multiplied scales; curves: medians; dotted: between training images", fontsize=8
        )
        return figure
