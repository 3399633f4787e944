"""Circular networks beside ELS with both boundaries: which one the paper's scales, and its .77 on MNIST, belong to.

References: Kamb & Ganguli 2025, table 2 and app. C; that its machine is `valid` is read in the authors' released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.errors import UsageError
from mosaic.reproduction.circular.boundaries import Boundaries
from mosaic.reproduction.circular.ideal import IdealNetwork
from mosaic.reproduction.circular.picture import draw_boundaries
from mosaic.reproduction.study.agreement import ends_text
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import ROWS
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.study.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Circular"]

CIRCULAR = tuple(name for name, row in ROWS.items() if row.padding == "circular")


class Circular(Target):
    """Circular networks beside ELS with boundary circular and with the paper's machine, boundary valid."""

    name = "circular"
    default_rows = ("mnist-resnet-circular",)

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        others = [name for name in self.rows if name not in CIRCULAR]
        if others:
            raise UsageError(f"'{self.name}' takes rows of circular networks ({', '.join(CIRCULAR)}), not {others[0]}.")

    def steps(self) -> list[Step]:
        """Give the steps of each row's network, and those of the ideal network."""
        experiments = [self.experiment(row) for row in self.rows]
        return [step for own in experiments for step in (*Boundaries(own).steps(), *IdealNetwork(own).steps())]

    def measure(self) -> xr.Dataset:
        """Measure the rows.

        Returns
        -------
        xarray.Dataset
            What `Boundaries.measure` and `IdealNetwork.measure` give, along `row` too; and how many scales equal the
            published ones: `scales_equal` (row, boundary) of those calibrated on the network, `ideal_scales_equal`
            (row) of those of `valid` calibrated on the ideal network.
        """
        experiments = [self.experiment(row) for row in self.rows]
        parts = [xr.merge([Boundaries(own).measure(), IdealNetwork(own).measure()]) for own in experiments]
        measured = xr.concat(parts, "row", combine_attrs="drop").assign_coords(row=list(self.rows))
        return measured.assign(
            scales_equal=(measured["scale"] == measured["paper"]).sum("step"),
            ideal_scales_equal=(measured["ideal_scale"] == measured["paper"]).sum("step"),
        )

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say what each boundary reaches, at which scales, and how many of these are the published ones."""
        return [f"{name}: {line}" for name in self.rows for line in _lines(measured.sel(row=name))]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw scales and agreement, by `draw_boundaries`."""
        return draw_boundaries(measured)


def _lines(row: xr.Dataset) -> list[str]:
    steps = row.sizes["step"]
    lines = []
    for machine in row["machine"].values.tolist():
        at = row.sel(machine=machine)
        each = [f"{boundary} {_of(at, 'pearson_r', boundary)}" for boundary in row["boundary"].values.tolist()]
        gain = ends_text(at["valid_gain"].values)
        lines.append(f"pearson_r with the network at {machine} scales: {', '.join(each)}; valid minus circular {gain}")
    for boundary in row["boundary"].values.tolist():
        own = row.sel(boundary=boundary)
        lines.append(
            f"scales calibrated with {boundary}: {_listed(own['scale'].values)}; {int(own['scales_equal'])} of {steps} "
            "equal the published ones"
        )
    each = [f"{boundary} {_of(row, 'ideal_pearson_r', boundary)}" for boundary in row["boundary"].values.tolist()]
    return [
        *lines,
        f"exact circular ELS in the network's place: scales calibrated with valid: "
        f"{_listed(row['ideal_scale'].values)}; {int(row['ideal_scales_equal'])} of {steps} equal the published ones",
        f"pearson_r with that ideal network at these scales: {', '.join(each)}; valid minus circular "
        f"{ends_text(row['ideal_valid_gain'].values)}",
    ]


def _of(row: xr.Dataset, name: str, boundary: str) -> str:
    return ends_text([float(row[f"{name}_{end}"].sel(boundary=boundary)) for end in row["end"].values.tolist()])


def _listed(scales: np.ndarray) -> str:
    return " ".join(f"{scale:g}" for scale in scales)
