"""Figure 6: a UNet with self-attention beside ELS, from the same noise.

References: Kamb & Ganguli 2025, fig. 6 and sec. 6.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.reproduction.pictures import draw_roles
from mosaic.reproduction.table2 import MEASURES
from mosaic.reproduction.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Fig6"]

SHOWN = 10


class Fig6(Target):
    """Figure 6: images of a UNet with self-attention, and what ELS, LS and IS make of the same noise."""

    name = "fig6"
    most_rows = 1
    default_rows = ("cifar10-unet-attention",)

    def measure(self) -> xr.Dataset:
        """Run the row's experiment.

        Returns
        -------
        xarray.Dataset
            `image` (role, sample, channel, height, width) with the roles network, ELS, LS and IS; `pearson_r`, `r2` and
            `R2` (role, sample) with the network, and their `_median`, `_low` and `_high` (role).
        """
        experiment = self.study.experiment(self.rows[0])
        compared = experiment.compare()
        images = []
        for score in ("network", "els", "ls", "is"):
            with experiment.run(score) as run:
                images.append(run["image"].values)
                dataset_range, classes, labels = (
                    run.attrs["dataset_range"],
                    run.attrs["dataset_classes"],
                    run["label"].values,
                )
        found = xr.Dataset(
            {"image": (("role", "sample", "channel", "height", "width"), np.stack(images))},
            {"role": ["network", "ELS", "LS", "IS"], "label": ("sample", labels)},
            {"dataset_range": dataset_range, "dataset_classes": classes, "title_of_row": experiment.row.title},
        )
        sources = [compared["els"].sel(compared="run"), compared["ls"].sel(compared="run")]
        sources.append(compared["els"].sel(compared="baseline"))
        for name in MEASURES:
            values = np.stack([np.full(len(labels), np.nan), *(one[name].values for one in sources)])
            found[name] = (("role", "sample"), values)
            for end in ("median", "low", "high"):
                found[f"{name}_{end}"] = ("role", [np.nan, *(float(one[f"{name}_{end}"]) for one in sources)])
        return found

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the agreement of each theory with the network, and how many of its pixels no image could have."""
        ends = [found[f"pearson_r_{end}"] for end in ("median", "low", "high")]
        low, high = json.loads(found.attrs["dataset_range"])
        network = found["image"].sel(role="network")
        outside = float(((network < low) | (network > high)).mean())
        return [
            "median pearson_r of {}: {:.3f} [{:.3f}, {:.3f}]".format(role, *(float(end.sel(role=role)) for end in ends))
            for role in ("ELS", "LS", "IS")
        ] + [f"pixels of the network outside the range of the data: {outside:.2f}"]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw the first samples."""
        classes = json.loads(found.attrs["dataset_classes"])
        count = min(SHOWN, found.sizes["sample"])
        titles = [str(classes[label]) if label >= 0 else "" for label in found["label"].values[:count].tolist()]
        figure = draw_roles(found, range(count), titles)
        medians = ", ".join(f"{role} {found['pearson_r_median'].sel(role=role):.2f}" for role in ("ELS", "LS", "IS"))
        words = f"{found.attrs['title_of_row']} and the theories from the same noise"
        figure.suptitle(f"{words}; median r over {found.sizes['sample']} samples: {medians}", fontsize=8)
        return figure
