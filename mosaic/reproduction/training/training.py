"""What more passes and more images do to a network: does it leave ELS for LS and IS, and lose its equivariance?

An experiment of ours. The expectation that it can refute: with more training LS and IS predict the network better, and
its equivariance error in the interior rises with them, as it learns where it is in the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.errors import UsageError
from mosaic.reproduction.study.agreement import ends_text
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.study.target import Target
from mosaic.reproduction.training.networks import ALL, POINTS
from mosaic.reproduction.training.picture import draw_training
from mosaic.reproduction.training.row import COMMUTES_NOT, THEORIES, TrainingRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Training"]


class Training(Target):
    """Networks after more passes and of more images, beside the theories, with their equivariance errors."""

    name = "training"
    default_rows = ("mnist-resnet-zeros",)

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        for name in self.rows:
            if (scales_of := row_named(name).scales_of) != name:
                raise UsageError(f"'{self.name}' calibrates scales on a row's own network; {name} has {scales_of}'s.")

    def steps(self) -> Iterator[Step]:
        """Give the steps of each row's networks."""
        return (step for name in self.rows for step in TrainingRow(self.experiment(name)).steps())

    def measure(self) -> xr.Dataset:
        """Measure the rows, one after the other.

        Returns
        -------
        xarray.Dataset
            What `TrainingRow.measure` gives, along `row` too.
        """
        parts = [TrainingRow(self.experiment(name)).measure() for name in self.rows]
        return xr.concat(parts, "row", join="outer", combine_attrs="drop").assign_coords(row=list(self.rows))

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Give a line for each network, then what changed from the least training to the row's own, with intervals."""
        return [f"{name}, {line}" for name in self.rows for line in _lines(measured.sel(row=name))]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw pearson_r and errors against passes and against images, by `draw_training`."""
        return draw_training(measured)


def _lines(row: xr.Dataset) -> list[str]:
    lines = []
    for point in POINTS:
        own = row.sel(network=point.name)
        r = [f"{title} {_text(own.sel(theory=theory), 'pearson_r', 'median')}" for theory, title in THEORIES.items()]
        made = f"passes {int(own['epochs'])}, images {int(own['images'])}"
        lines.append(f"{point.name} ({made}): pearson_r {', '.join(r)}")
    for theory in ("ls", "is"):
        own = row.sel(network=ALL.name, theory=theory)
        lines.append(
            f"{THEORIES[theory]}: pearson_r with ELS itself {_text(own, 'pearson_r_with_els', 'median')}; that minus "
            f"pearson_r with the network of all {ends_text(own['pearson_r_excess'].values)}"
        )
    for point in POINTS:
        errors = _at_times(row.sel(network=point.name), "equivariance_error_interior")
        lines.append(f"{point.name}: equivariance error of eps in the interior {errors}")
    for theory in COMMUTES_NOT:
        lines.append(f"{THEORIES[theory]} itself: {_at_times(row.sel(theory=theory), 'theory_error_interior')}")
    return lines + [_change(row.sel(network=point.name), point.name) for point in POINTS if point != ALL]


def _change(own: xr.Dataset, name: str) -> str:
    """What changes from a network to that of all, and whether the interval says so."""
    changes = {THEORIES[theory]: own["rise"].sel(theory=theory).values for theory in ("els", "ls", "is")}
    changes |= {f"error at t = {t:.2f}": own["equivariance_rise"].sel(time=t).values for t in own["time"].values}
    said = []
    for what, ends in changes.items():
        _, low, high = np.round(ends, 3)  # as they are said: rounding errors are no change
        verdict = "rises" if low > 0 else "falls" if high < 0 else "neither rises nor falls"
        said.append(f"{what} {verdict}, {ends_text(ends)}")
    return f"from {name} to all: {'; '.join(said)}"


def _text(own: xr.Dataset, name: str, middle: str) -> str:
    return ends_text([float(own[f"{name}_{end}"]) for end in (middle, "low", "high")])


def _at_times(own: xr.Dataset, name: str) -> str:
    return ", ".join(f"{_text(own.sel(time=t), name, 'mean')} at t = {t:.2f}" for t in own["time"].values.tolist())
