"""Figure 5c: late locality makes excess limbs.

From the same noise, ELS at its calibrated scales and at scales that are doubled late in the flow, beside the network.

References: Kamb & Ganguli 2025, fig. 5c.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from mosaic.config import RunConfig
from mosaic.dataset import DataSet
from mosaic.plugins import registry
from mosaic.reproduction.duration import Forecast, forecast, forecast_scaled, machine_seconds
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.memorization import multiplied
from mosaic.reproduction.pictures import draw_roles
from mosaic.reproduction.target import Target
from mosaic.statistics import interval_of

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
    found: np.ndarray = begins.sum(-1).max(-1)
    return found


class Fig5c(Target):
    """Figure 5c: excess limbs by late locality, ELS at calibrated scales and at doubled late ones."""

    name = "fig5c"
    most_rows = 1
    default_rows = ("fashion-resnet-zeros",)

    def forecast(self) -> list[Forecast]:
        """Tell the row's steps, and the second run of ELS."""
        experiment = self.study.experiment(self.rows[0])
        steps = forecast(experiment)
        doubled, seconds = partial(self._doubled, experiment), partial(machine_seconds, experiment, "els")
        return [*steps, forecast_scaled(experiment, f"{experiment.row.name}: {STEM}", STEM, doubled, seconds)]

    def _doubled(self, experiment: Experiment) -> RunConfig:
        """Configuration of ELS with its scales doubled late."""
        return experiment.run_config("els", ",".join(map(str, self._scales(experiment)[1])))

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
        experiment = self.study.experiment(self.rows[0])
        runs = {
            "network": experiment.run("network"),
            "calibrated": experiment.run("els"),
            "doubled": experiment.execute(STEM, self._doubled(experiment)),
        }
        scales, late, times = self._scales(experiment)
        labels = runs["network"]["label"].values
        images = np.stack([run["image"].values for run in runs.values()])
        pearson = registry().get("metric", "pearson_r")()
        agreement = [pearson(torch.from_numpy(one), torch.from_numpy(images[0])).numpy() for one in images[1:]]
        limbs = np.stack([bright_runs(one) for one in images])
        usual = _usual(experiment.dataset, labels)
        variables = {
            "image": (("role", "sample", "channel", "height", "width"), images),
            "pearson_r": (("role", "sample"), np.stack([np.full(len(labels), np.nan), *agreement])),
            "limbs": (("role", "sample"), limbs),
            "excess": (("role", "sample"), limbs - usual),
            "saved": ("end", list(interval_of((limbs[1] - limbs[2]).astype(float), "mean"))),
            "scale": (("machine", "time"), np.array([scales, late])),
        }
        coords = {
            "role": list(runs),
            "machine": list(runs)[1:],
            "label": ("sample", labels),
            "time": times,
            "end": ENDS,
        }
        found = xr.Dataset(
            variables,
            coords,
            {key: runs["network"].attrs[key] for key in ("dataset_range", "dataset_classes")},
        )
        ends = [interval_of(row, "median") for row in agreement]
        means = [interval_of(row, "mean") for row in found["excess"].values]
        for place, end in enumerate(ENDS):
            found[f"pearson_r_{end if place else 'median'}"] = ("role", [np.nan, *(row[place] for row in ends)])
            found[f"excess_{end}"] = ("role", [row[place] for row in means])
        for run in runs.values():
            run.close()
        return found

    def _scales(self, experiment: Experiment) -> tuple[list[int], list[int], list[float]]:
        """Scales as calibrated, and doubled late, with their times, in rising order."""
        with xr.open_dataset(experiment.scales_owner.scales_file) as calibrated:
            rising = calibrated.sortby("time")
            scales, times = rising["scale"].values.tolist(), rising["time"].values.tolist()
        late = [two if t < LATE else k for k, two, t in zip(scales, multiplied(scales, 2.0), times, strict=True)]
        return scales, late, times

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the limbs and the agreement with the network."""
        saved = "{:.2f} [{:.2f}, {:.2f}]".format(*found["saved"].values.tolist())
        r = {role: float(found["pearson_r_median"].sel(role=role)) for role in ("calibrated", "doubled")}
        return [
            f"limbs at calibrated minus those at doubled scales, mean over samples: {saved}",
            f"median pearson_r with the network: calibrated {r['calibrated']:.3f}, doubled {r['doubled']:.3f}",
        ]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw the samples with the most limbs at calibrated scales."""
        order = np.argsort(-found["limbs"].sel(role="calibrated").values, kind="stable")[:SHOWN].tolist()
        classes = json.loads(found.attrs["dataset_classes"])
        labels = found["label"].values.tolist()
        titles = [str(classes[labels[i]]) if labels[i] >= 0 else f"sample {i}" for i in order]
        figure = draw_roles(found, order, titles)
        means = ", ".join(
            "{} {:+.2f} [{:+.2f}, {:+.2f}]".format(
                role, *(float(found[f"excess_{end}"].sel(role=role)) for end in ENDS)
            )
            for role in found["role"].values
        )
        words = (
            f"the same noise; doubled: scales x 2 below t = {LATE}; samples with the most limbs at calibrated scales"
        )
        figure.suptitle(f"{words}\nlimbs beyond the training images of the class: {means}", fontsize=8)
        return figure


def _usual(dataset: DataSet, labels: np.ndarray) -> np.ndarray:
    """Mean number of limbs of the training images of each label's class; of all where it is -1."""
    limbs = bright_runs(dataset.images.cpu().numpy())
    if dataset.labels is None:
        return np.full(len(labels), limbs.mean())
    kinds = dataset.labels.cpu().numpy()
    return np.array([limbs[kinds == label].mean() if label >= 0 else limbs.mean() for label in labels.tolist()])
