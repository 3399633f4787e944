"""Figure 5c: late locality makes excess limbs.

From the same noise, ELS at its calibrated scales and at scales that are doubled late in the flow, beside the network.

References: Kamb & Ganguli 2025, fig. 5c.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.evaluate.statistics import interval_of
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.images import image_blocks
from mosaic.registry.loading import registry
from mosaic.reproduction.paper.memorization import multiplied
from mosaic.reproduction.paper.pictures import draw_roles
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.steps import scaled_step, steps_of
from mosaic.reproduction.study.target import Target
from mosaic.run.config import RunConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LATE", "Fig5c", "bright_runs"]

LATE = 0.3  # scales are doubled below this time
STEM = "els-late-doubled"
ENDS = ["mean", "low", "high"]
SHOWN = 10


def bright_runs(images: np.ndarray) -> np.ndarray:
    """Count the limbs of images (B, C, H, W), range [-1, 1]: the most separate bright runs in any row.

    A run is at least two pixels long; a pixel is bright above 0 in the mean of its channels. A shirt has one or three
    (body and sleeves), a pair of trousers two.

    Returns
    -------
    array (B,), int64
    """
    bright = np.pad(images.mean(1) > 0, ((0, 0), (0, 0), (1, 1)))
    pairs = bright[..., :-1] & bright[..., 1:]  # two bright neighbours
    begins = pairs[..., 1:] & ~pairs[..., :-1]
    runs: np.ndarray = begins.sum(-1).max(-1)
    return runs


class Fig5c(Target):
    """Figure 5c: excess limbs by late locality, ELS at calibrated scales and at doubled late ones."""

    name = "fig5c"
    most_rows = 1
    default_rows = ("fashion-resnet-zeros",)

    def steps(self) -> list[Step]:
        """List the row's steps, and the second run of ELS."""
        experiment = self.experiment(self.rows[0])
        doubled = scaled_step(experiment, experiment.step(STEM), STEM, partial(_doubled_config, experiment))
        return [*steps_of(experiment), doubled]

    def measure(self) -> xr.Dataset:
        """Run ELS both ways.

        Returns
        -------
        xarray.Dataset
            `image` (role, sample, channel, height, width) with the roles network, calibrated and doubled; `pearson_r`
            (role, sample) with the network; `limbs` (role, sample); `excess` (role, sample), limbs beyond the mean of
            the training images of the sample's class. `pearson_r_median`, `excess_mean` and the ends `_low` and `_high`
            of their intervals (role); `saved` (end): mean of the limbs at calibrated less those at doubled scales.
        """
        experiment = self.experiment(self.rows[0])
        with ExitStack() as stack:
            runs = {
                "network": stack.enter_context(experiment.run(NETWORK)),
                "calibrated": stack.enter_context(experiment.run("els")),
                "doubled": stack.enter_context(experiment.execute(STEM, _doubled_config(experiment))),
            }
            images = np.stack([run["image"].values for run in runs.values()])
            labels = runs["network"]["label"].values
            attrs = {key: runs["network"].attrs[key] for key in ("dataset_range", "dataset_classes")}
        scales, late, times = _scales(experiment)
        limbs = np.stack([bright_runs(finals) for finals in images])
        excess = limbs - _limbs_of_class(experiment.load_dataset(), labels)
        variables = {
            "image": (("role", "sample", "channel", "height", "width"), images),
            "limbs": (("role", "sample"), limbs),
            "excess": (("role", "sample"), excess),
            "saved": ("end", list(interval_of((limbs[1] - limbs[2]).astype(float), "mean"))),
            "scale": (("machine", "time"), np.array([scales, late])),
            **_correlation(images),
            **_ends("excess", "mean", [interval_of(row, "mean") for row in excess]),
        }
        coords = {"role": list(runs), "machine": list(runs)[1:], "label": ("sample", labels), "time": times}
        return xr.Dataset(variables, {**coords, "end": ENDS}, attrs)

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say the limbs and the agreement with the network."""
        saved = "{:.2f} [{:.2f}, {:.2f}]".format(*measured["saved"].values.tolist())
        r = {role: float(measured["pearson_r_median"].sel(role=role)) for role in ("calibrated", "doubled")}
        return [
            f"limbs at calibrated minus those at doubled scales, mean over samples: {saved}",
            f"median pearson_r with the network: calibrated {r['calibrated']:.3f}, doubled {r['doubled']:.3f}",
        ]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw the samples with the most limbs at calibrated scales."""
        order = np.argsort(-measured["limbs"].sel(role="calibrated").values, kind="stable")[:SHOWN].tolist()
        classes = json.loads(measured.attrs["dataset_classes"])
        labels = measured["label"].values.tolist()
        titles = [str(classes[labels[i]]) if labels[i] >= 0 else f"sample {i}" for i in order]
        means = ", ".join(
            "{} {:+.2f} [{:+.2f}, {:+.2f}]".format(
                role, *(float(measured[f"excess_{end}"].sel(role=role)) for end in ENDS)
            )
            for role in measured["role"].values
        )
        title = (
            f"the same noise; doubled: scales x 2 below t = {LATE}; samples with the most limbs at calibrated scales\n"
            f"limbs beyond the training images of the class: {means}"
        )
        return draw_roles(measured, order, titles, title)


def _scales(experiment: Experiment) -> tuple[list[int], list[int], list[float]]:
    """Scales as calibrated, and doubled late, with their times, in rising order."""
    with open_calibration(experiment.scales_owner().scales_file()) as calibration:
        rising = calibration.sortby("time")
        scales, times = rising["scale"].values.tolist(), rising["time"].values.tolist()
    late = [twice if t < LATE else k for k, twice, t in zip(scales, multiplied(scales, 2.0), times, strict=True)]
    return scales, late, times


def _doubled_config(experiment: Experiment) -> RunConfig:
    """Configuration of ELS with its scales doubled late."""
    return experiment.run_config("els", ",".join(map(str, _scales(experiment)[1])))


def _correlation(images: np.ndarray) -> dict[str, tuple[Any, ...]]:
    """Correlation with the network, which comes first, of the images (role, sample, ...) of each role."""
    pearson = registry().make("metric", "pearson_r", {})
    network = torch.from_numpy(images[0])
    values = [pearson(torch.from_numpy(finals), network).numpy() for finals in images[1:]]
    none = np.full(images.shape[1], np.nan)
    intervals = [(np.nan,) * len(ENDS), *(interval_of(row, "median") for row in values)]
    return {"pearson_r": (("role", "sample"), np.stack([none, *values])), **_ends("pearson_r", "median", intervals)}


def _ends(name: str, statistic: str, intervals: Sequence[Sequence[float]]) -> dict[str, tuple[Any, ...]]:
    """Value and ends of an interval of each role, as variables."""
    columns = zip((statistic, *ENDS[1:]), zip(*intervals, strict=True), strict=True)
    return {f"{name}_{end}": ("role", list(values)) for end, values in columns}


def _limbs_of_class(dataset: DataSet, labels: np.ndarray) -> np.ndarray:
    """Mean number of limbs of the training images of each label's class; of all where it is -1."""
    limbs = np.concatenate([bright_runs(block.cpu().numpy()) for block in image_blocks(dataset.images, 4096)])
    if dataset.labels is None:
        return np.full(len(labels), limbs.mean())
    kinds = dataset.labels.cpu().numpy()
    return np.array([limbs[kinds == label].mean() if label >= 0 else limbs.mean() for label in labels.tolist()])
