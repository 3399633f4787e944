"""Figure 6: a UNet with self-attention beside ELS, from the same noise.

References: Kamb & Ganguli 2025, fig. 6 and sec. 6.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.reproduction.paper.pictures import draw_roles
from mosaic.reproduction.paper.table2 import MEASURES
from mosaic.reproduction.study.agreement import ENDS
from mosaic.reproduction.study.experiment import NETWORK
from mosaic.reproduction.study.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Fig6"]

THEORIES = ("ELS", "LS", "IS")
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
        experiment = self.experiment(self.rows[0])
        comparisons = experiment.compare()
        images = []
        for score in (NETWORK, "els", "ls", "is"):
            with experiment.run(score) as run:
                images.append(run["image"].values)
                labels = run["label"].values
                attrs = {key: run.attrs[key] for key in ("dataset_range", "dataset_classes")}
        measured = xr.Dataset(
            {"image": (("role", "sample", "channel", "height", "width"), np.stack(images))},
            {"role": ["network", *THEORIES], "label": ("sample", labels)},
            {**attrs, "title_of_row": experiment.row.title},
        )
        els, ls, ideal = (
            comparisons[theory].sel(compared=role)
            for theory, role in (("els", "run"), ("ls", "run"), ("els", "baseline"))
        )
        for name in MEASURES:
            values = [np.full(len(labels), np.nan), *(theory[name].values for theory in (els, ls, ideal))]
            measured[name] = (("role", "sample"), np.stack(values))
            for end in ENDS:
                ends = [float(theory[f"{name}_{end}"]) for theory in (els, ls, ideal)]
                measured[f"{name}_{end}"] = ("role", [np.nan, *ends])
        return measured

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say the agreement of each theory with the network, and how many of its pixels no image could have."""
        ends = [measured[f"pearson_r_{end}"] for end in ENDS]
        low, high = json.loads(measured.attrs["dataset_range"])
        network = measured["image"].sel(role="network")
        outside = float(((network < low) | (network > high)).mean())
        return [
            "median pearson_r of {}: {:.3f} [{:.3f}, {:.3f}]".format(role, *(float(end.sel(role=role)) for end in ends))
            for role in THEORIES
        ] + [f"pixels of the network outside the range of the data: {outside:.2f}"]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw up to `SHOWN` samples, named by class: the network, and each theory with its median correlation."""
        classes = json.loads(measured.attrs["dataset_classes"])
        count = min(SHOWN, measured.sizes["sample"])
        titles = [str(classes[label]) if label >= 0 else "" for label in measured["label"].values[:count].tolist()]
        medians = ", ".join(f"{role} {measured['pearson_r_median'].sel(role=role):.2f}" for role in THEORIES)
        title = (
            f"{measured.attrs['title_of_row']} and the theories from the same noise; "
            f"median r over {measured.sizes['sample']} samples: {medians}"
        )
        return draw_roles(measured, range(count), titles, title)
