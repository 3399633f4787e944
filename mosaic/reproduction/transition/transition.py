"""From memorisation to generalisation: networks and theories of two disjoint halves, by the number of images.

References: Kadkhodaie, Guth, Simoncelli & Mallat 2024 (arXiv 2310.02557), sec. 2 and fig. 2; Yoon et al. 2023 (copies).
The paper's: two networks trained on disjoint sets, and images of both from the same noise.
Ours: networks, data and numbers of images; the theories of the same halves; copies; the map of effective candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from mosaic.engine.nearest import nearest_images
from mosaic.evaluate.statistics import interval_of
from mosaic.interfaces.dataset import DataSet
from mosaic.registry.loading import registry
from mosaic.reproduction.study.agreement import ENDS, ends_text
from mosaic.reproduction.study.experiment import NETWORK
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.target import Target
from mosaic.reproduction.transition.halves import HALVES
from mosaic.reproduction.transition.makers import MAKERS, Halves
from mosaic.reproduction.transition.picture import draw_transition
from mosaic.storage.files import as_attribute

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Transition", "judged"]

SHOWN = 2  # samples of the picture


class Transition(Target):
    """From memorisation to generalisation: networks and theories of two disjoint halves of the data."""

    name = "transition"
    most_rows = 1
    default_rows = ("mnist-unet-zeros",)

    def halves(self) -> Halves:
        """Give the experiments of the row, by half and number of images."""
        return Halves(self.experiment(self.rows[0]))

    def steps(self) -> list[Step]:
        """List trainings, calibrations, runs and maps, at every number of images."""
        return self.halves().steps()

    def measure(self) -> xr.Dataset:
        """Train a network on each half, run networks and theories from the same noise, and compare their images.

        Returns
        -------
        xarray.Dataset
            Along (count, ...), the number of images of each half: what `judged` gives; `scale` (count, step), the
            calibrated scales, and `step_time` (step) of them; `n_eff_pixel` (count, time, k, sample) of
            `count_candidates`, with `n_eff_pixel_median` over samples; `image` (count, maker, half, shown, channel,
            height, width), of the first samples.
        """
        halves, parts = self.halves(), []
        for count in halves.counts:
            images: dict[str, NDArray[np.float32]] = {}
            own = {half: halves.experiments[half, count] for half in HALVES}
            for maker in MAKERS:
                made = []
                for half in HALVES:
                    with halves.run(maker, own[half]) as run:
                        made.append(run["image"].values)
                        scale, times = run["scale"].values, run["time"].values
                images[maker] = np.stack(made)
                if maker == "els":
                    scales = scale
            part = judged(images, {half: experiment.load_dataset() for half, experiment in own.items()})
            part["scale"] = ("step", scales)
            part["step_time"] = ("step", times)
            counted = halves.count_candidates(count).rename(sample="held_out")
            part["n_eff_pixel"] = counted["n_eff_pixel"]
            part["n_eff_pixel_median"] = counted["n_eff_pixel"].median("held_out")
            shown = np.stack([images[maker][:, :SHOWN] for maker in MAKERS])
            part["image"] = (("maker", "half", "shown", "channel", "height", "width"), shown)
            parts.append(part)
        measured = xr.concat(parts, "count", combine_attrs="drop").assign_coords(count=list(halves.counts))
        return measured.assign_attrs(
            title_of_row=self.experiment(self.rows[0]).row.title, dataset_range=as_attribute(list(halves.whole.range))
        )

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say copies, agreement of the halves and agreement with the network, by number of images; and what follows."""
        lines = []
        for what, name, end in (
            ("share of copies", "copy", "share"),
            ("median r of the two halves' images", "halves_r", "median"),
            ("median r with the network of the half", "pearson_r", "median"),
        ):
            lines += [f"{what}, by images N of each half"]
            lines += ["  ".join([f"{'N':>28}", *(f"{count:^20}" for count in measured["count"].values.tolist())])]
            for maker in measured["maker"].values.tolist():
                if name == "pearson_r" and maker == NETWORK:
                    continue
                cells = [_cell(measured.sel(maker=maker, count=count), name, end) for count in measured["count"].values]
                lines += ["  ".join([f"{MAKERS[maker]:>28}", *cells])]
        for count in measured["count"].values.tolist():
            at = measured["pearson_r_median"].sel(count=count).drop_sel(maker=NETWORK)
            best = str(at["maker"].values[int(at.values.argmax())])
            lines += [f"N = {count}: the highest r with the network is that of {MAKERS[best]}, {float(at.max()):.3f}"]
        return lines

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw copies and agreement over the number of images, images, and maps of effective candidates."""
        return draw_transition(measured)


def judged(images: Mapping[str, NDArray[Any]], data: Mapping[str, DataSet]) -> xr.Dataset:
    """Compare final images of two halves from the same noise, with each other, the data, and the networks'.

    Parameters
    ----------
    images : mapping
        Of each maker, NETWORK among them, (half, sample, C, H, W).
    data : mapping
        The training set of each half.

    Returns
    -------
    xarray.Dataset
        `halves_r` (maker, sample): Pearson correlation of the images of the two halves. `own_distance` and
        `other_distance` (maker, half, sample): L2 distance to the nearest training image of the half, and of the other
        one. `copy` (maker, half, sample): 1 where the image is a copy of one of its half, by the metric `memorized`.
        `pearson_r` (maker, half, sample) with the network of the half. Of correlations medians over samples, of their
        means over halves, and intervals; of copies the share among all samples of both halves, and its interval.
    """
    pearson_r = registry().make("metric", "pearson_r", {})
    columns: dict[str, list[Any]] = {
        name: [] for name in ("halves_r", "own_distance", "other_distance", "copy", "pearson_r")
    }
    networks = [torch.from_numpy(batch) for batch in images[NETWORK]]
    training = [each.to("cpu") for each in data.values()]
    memorized = [registry().get("metric", "memorized")(None, each) for each in training]
    for made in images.values():
        batches = [torch.from_numpy(batch) for batch in made]
        columns["halves_r"].append(pearson_r(*batches).numpy())
        for name, order in (("own_distance", training), ("other_distance", training[::-1])):
            pairs = zip(batches, order, strict=True)
            columns[name].append([nearest_images(batch, each.images)[0][:, 0].numpy() for batch, each in pairs])
        columns["copy"].append([metric(batch).numpy() for metric, batch in zip(memorized, batches, strict=True)])
        pairs_of = zip(batches, networks, strict=True)
        columns["pearson_r"].append([pearson_r(batch, network).numpy() for batch, network in pairs_of])
    arrays = {name: np.array(values) for name, values in columns.items()}
    dims = ("maker", "half", "sample")
    variables: dict[str, tuple[Any, ...]] = {
        name: (dims if values.ndim == 3 else ("maker", "sample"), values) for name, values in arrays.items()
    }
    ends = {
        "halves_r": [interval_of(row) for row in arrays["halves_r"]],
        "pearson_r": [interval_of(row.mean(0)) for row in arrays["pearson_r"]],
        "copy": [interval_of(row.ravel(), "share") for row in arrays["copy"]],
    }
    for name, rows in ends.items():
        for end, column in zip((("share" if name == "copy" else "median"), *ENDS[1:]), np.array(rows).T, strict=True):
            variables[f"{name}_{end}"] = ("maker", column)
    return xr.Dataset(variables, {"maker": list(images), "half": list(data)})


def _cell(own: xr.Dataset, name: str, end: str) -> str:
    return ends_text([float(own[f"{name}_{each}"]) for each in (end, *ENDS[1:])])
