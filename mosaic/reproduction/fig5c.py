"""Figure 5c: late locality makes excess limbs.

From the same noise, ELS at its calibrated scales and at scales that are doubled late in the flow, beside the network.

References: Kamb & Ganguli 2025, fig. 5c.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from mosaic.plugins import registry
from mosaic.reproduction.duration import Forecast, forecast
from mosaic.reproduction.memorization import multiplied
from mosaic.reproduction.pictures import draw_roles
from mosaic.reproduction.target import Target
from mosaic.statistics import interval_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LATE", "Fig5c", "bright_runs"]

LATE = 0.3  # scales are doubled below this time
STEM = "els-late-doubled"
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
    default_rows = ("fashion-resnet-zeros",)

    def forecast(self) -> list[Forecast]:
        """Tell the row's steps, and the second run of ELS."""
        experiment = self.study.experiment(self.rows[0])
        steps = forecast(experiment)
        done = (experiment.folder / f"{STEM}.nc").exists()
        again = next(step.seconds for step in steps if step.step.endswith(": els"))
        return [*steps, Forecast(f"{experiment.row.name}: {STEM}", 0.0 if done else again, done)]

    def measure(self) -> xr.Dataset:
        """Run ELS both ways.

        Returns
        -------
        xarray.Dataset
            `image` (role, sample, channel, height, width) with the roles network, calibrated and doubled; `pearson_r`
            (role, sample) with the network, `pearson_r_median`, `_low` and `_high` (role); `limbs` (role, sample),
            `excess` (role, sample): whether there are more than 95 % of the training images of the class have;
            `training_excess`: the share of training images that do.
        """
        experiment = self.study.experiment(self.rows[0])
        with xr.open_dataset(experiment.scales) as calibrated:
            rising = calibrated.sortby("time")
            scales, times = rising["scale"].values.tolist(), rising["time"].values.tolist()
        late = [two if t < LATE else k for k, two, t in zip(scales, multiplied(scales, 2.0), times, strict=True)]
        runs = {
            "network": experiment.run("network"),
            "calibrated": experiment.run("els"),
            "doubled": experiment.execute(STEM, experiment.run_config("els", ",".join(map(str, late)))),
        }
        labels = runs["network"]["label"].values
        images = np.stack([run["image"].values for run in runs.values()])
        pearson = registry().get("metric", "pearson_r")()
        agreement = [pearson(torch.from_numpy(one), torch.from_numpy(images[0])).numpy() for one in images[1:]]
        most, share = self._usual(experiment.dataset.images.cpu().numpy(), experiment.dataset.labels)
        limbs = np.stack([bright_runs(one) for one in images])
        variables = {
            "image": (("role", "sample", "channel", "height", "width"), images),
            "pearson_r": (("role", "sample"), np.stack([np.full(len(labels), np.nan), *agreement])),
            "limbs": (("role", "sample"), limbs, {"long_name": "most separate bright runs in any row"}),
            "excess": (("role", "sample"), limbs > most[np.maximum(labels, 0)]),
            "training_excess": ((), share, {"long_name": "share of training images above their class's 95 %"}),
            "scale": (("machine", "step"), np.array([scales, late]), {"units": "pixel"}),
        }
        coords = {"role": list(runs), "machine": list(runs)[1:], "label": ("sample", labels), "time": ("step", times)}
        found = xr.Dataset(
            variables,
            coords,
            {key: runs["network"].attrs[key] for key in ("dataset_range", "dataset_classes")},
        )
        ends = [interval_of(row, "median") for row in agreement]
        for place, end in enumerate(("median", "low", "high")):
            found[f"pearson_r_{end}"] = ("role", [np.nan, *(row[place] for row in ends)])
        for run in runs.values():
            run.close()
        return found

    def _usual(self, images: np.ndarray, labels: torch.Tensor | None) -> tuple[np.ndarray, float]:
        """Give the number of limbs that 95 % of each class have at most, and the share of images above it."""
        limbs = bright_runs(images)
        kinds = np.zeros(len(limbs), int) if labels is None else labels.cpu().numpy()
        most = np.array([np.percentile(limbs[kinds == kind], 95, method="higher") for kind in range(kinds.max() + 1)])
        return most, float((limbs > most[kinds]).mean())

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw the samples with the most limbs at calibrated scales."""
        order = np.argsort(-found["limbs"].sel(role="calibrated").values, kind="stable")[:SHOWN].tolist()
        classes = json.loads(found.attrs["dataset_classes"])
        labels = found["label"].values.tolist()
        titles = [str(classes[labels[i]]) if labels[i] >= 0 else f"sample {i}" for i in order]
        figure = draw_roles(found, order, titles)
        shares = ", ".join(
            f"{role} {100 * float(found['excess'].sel(role=role).mean()):.0f} %" for role in found["role"].values
        )
        words = (
            f"the same noise; doubled: scales x 2 below t = {LATE}; samples with the most limbs at calibrated scales"
        )
        figure.suptitle(f"{words}\nmore limbs than 95 % of the class have: {shares}", fontsize=8)
        return figure
