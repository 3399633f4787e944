"""Table 2: how well ELS, LS and IS predict, image by image, what trained networks generate.

References: Kamb & Ganguli 2025, table 2.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.errors import DataError
from mosaic.reproduction.duration import Forecast, forecast
from mosaic.reproduction.kept import record_of
from mosaic.reproduction.rows import ROWS, THEORIES
from mosaic.reproduction.target import Target
from mosaic.run_comparison import open_comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Table2", "table_of"]

MEASURES = ("pearson_r", "r2", "R2")
ENDS = ("median", "low", "high")
COLORS = {"els": "#0072b2", "ls": "#009e73", "is": "#d55e00"}


def table_of(root: Path) -> xr.Dataset:
    """Gather the comparisons of all rows under a folder; rows that are not there are NaN.

    Returns
    -------
    xarray.Dataset
        `pearson_r`, `r2` and `R2` (row, theory, sample) of each theory against the network; their `_median`, `_low` and
        `_high` (row, theory), with the bootstrap interval; `gain` (row, end) of ELS on IS in pearson_r; `paper` (row,
        theory), the paper's medians; `done` (row).
    """
    found = {name: rows for name in ROWS if (rows := _comparisons(root / name))}
    samples = max((rows["els"].sizes["sample"] for rows in found.values()), default=0)
    shape = (len(ROWS), len(THEORIES))
    values = {name: np.full((*shape, samples), np.nan) for name in MEASURES}
    ends = {f"{name}_{end}": np.full(shape, np.nan) for name in MEASURES for end in ENDS}
    gain, recipes = np.full((len(ROWS), len(ENDS)), np.nan), {}
    for number, name in enumerate(ROWS):
        if name not in found:
            continue
        rows = found[name]
        for column, theory in enumerate(THEORIES):
            one = rows["els" if theory == "is" else theory].sel(compared="baseline" if theory == "is" else "run")
            for measure in MEASURES:
                values[measure][number, column, : one.sizes["sample"]] = one[measure].values
                for end in ENDS:
                    ends[f"{measure}_{end}"][number, column] = float(one[f"{measure}_{end}"])
        gain[number] = [float(rows["els"][f"pearson_r_gain{end}"]) for end in ("", "_low", "_high")]
        recipes[name] = {key: json.loads(rows["els"].attrs[key]) for key in ("training", "runs")}
        recipes[name]["runs"]["ls"] = json.loads(rows["ls"].attrs["runs"])["run"]
        scales = root / ROWS[name].scales_of / "scales.nc"
        if scales.is_file():
            with xr.open_dataset(scales) as calibration:
                recipes[name]["calibration"] = record_of(calibration)
    variables: dict[str, tuple[Any, ...]] = {
        **{name: (("row", "theory", "sample"), array) for name, array in values.items()},
        **{name: (("row", "theory"), array) for name, array in ends.items()},
        "gain": (("row", "end"), gain),
        "paper": (("row", "theory"), np.array([row.paper for row in ROWS.values()])),
        "done": ("row", [name in found for name in ROWS]),
    }
    coords = {
        "row": list(ROWS),
        "title": ("row", [row.title for row in ROWS.values()]),
        "theory": list(THEORIES),
        "end": list(ENDS),
    }
    return xr.Dataset(variables, coords, {"recipes": json.dumps(recipes)})


def _comparisons(folder: Path) -> dict[str, xr.Dataset]:
    """Comparisons of a row's ELS and LS; empty where they are not all there."""
    paths = {theory: folder / f"comparison-{theory}.nc" for theory in ("els", "ls")}
    if not all(path.is_file() for path in paths.values()):
        return {}
    return {theory: open_comparison(path).load() for theory, path in paths.items()}


class Table2(Target):
    """Table 2: medians of pearson_r of ELS, LS and IS with trained networks, beside the paper's."""

    name = "table2"
    default_rows = tuple(ROWS)

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why each row cannot be run; empty where it can.

        Raises
        ------
        DataError
            If a row that was asked for, or every row, lacks its data.
        """
        found = {}
        for row in self.rows:
            try:
                _ = self.study.experiment(row).dataset
                found[row] = ""
            except DataError as error:
                if self.asked:
                    raise
                found[row] = str(error)
        if all(found.values()):
            raise DataError(next(iter(found.values())))
        return found

    def notes(self) -> list[str]:
        """Tell the rows that are left out."""
        return [f"{row} is left out. {reason}" for row, reason in self.reasons.items() if reason]

    def forecast(self) -> list[Forecast]:
        """Tell the steps of the rows whose data are there."""
        return [step for row in self._runnable() for step in forecast(self.study.experiment(row))]

    def _runnable(self) -> list[str]:
        return [row for row, reason in self.reasons.items() if not reason]

    def measure(self) -> xr.Dataset:
        """Run the rows whose data are there, and gather all that have been run."""
        for row in self._runnable():
            self.study.experiment(row).compare()
        return table_of(self.study.folder)

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw the medians."""
        return draw_table(found)


def draw_table(table: xr.Dataset) -> Figure:
    """Draw the medians of pearson_r with their intervals, and the paper's as crosses, a line for each row done."""
    from matplotlib.figure import Figure

    shown = table.isel(row=np.flatnonzero(table["done"].values))
    count = shown.sizes["row"]
    figure = Figure(figsize=(6.8, 1.4 + 0.5 * max(count, 1)), dpi=110, layout="constrained")
    axis = figure.subplots()
    for column, theory in enumerate(THEORIES):
        one = shown.sel(theory=theory)
        y = np.arange(count) + 0.2 * (column - 1)
        median, low, high = (one[f"pearson_r_{end}"].values for end in ENDS)
        axis.errorbar(
            median,
            y,
            xerr=np.stack([median - low, high - median]),
            fmt="o",
            color=COLORS[theory],
            markersize=5,
            label=theory.upper(),
        )
        axis.plot(one["paper"].values, y, "x", color=COLORS[theory], markersize=7)
    axis.plot([], [], "x", color="black", label="the paper's")
    axis.set_yticks(np.arange(count), shown["title"].values.tolist())
    axis.set_ylim(count - 0.5, -0.5)
    axis.set_xlim(min(0.0, float(np.nanmin(shown["pearson_r_low"].values, initial=0.0))), 1)
    axis.grid(axis="x", color="#dddddd")
    axis.set_xlabel("pearson_r with the network: median over samples, 95 % interval")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
