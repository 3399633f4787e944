"""Table 2: how well ELS, LS and IS predict, image by image, what trained networks generate; and soft ELS beside them.

References: Kamb & Ganguli 2025, table 2. Soft ELS is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.errors import DataError
from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.evaluate.compare import open_comparison
from mosaic.evaluate.statistics import interval_of
from mosaic.reproduction.paper.els_machine import compare_with_els, sentence_of
from mosaic.reproduction.study.agreement import ENDS
from mosaic.reproduction.study.experiment import CALIBRATED, PAPER_SCALED, Experiment, scales_name
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import PAPER_THEORIES, ROWS, THEORIES, Row
from mosaic.reproduction.study.steps import steps_of
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.study.target import Target
from mosaic.storage.files import as_attribute
from mosaic.storage.made_by import record
from mosaic.view.colours import BLUE, GREEN, ORANGE, SKY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Table2", "table_of"]

MEASURES = ("pearson_r", "r2", "R2")
WITH_ELS = "_with_els"  # ends the names of what is measured against the run of ELS
# What each gain is of, on its baseline, and by what it is measured.
GAINS = {"gain": ("els", "pearson_r"), "soft_gain": ("soft-els", "pearson_r"), "soft_gain_mse": ("soft-els", "mse")}
COLORS = {"els": BLUE, "soft-els": SKY, "ls": GREEN, "is": ORANGE}


def table_of(root: Path) -> xr.Dataset:
    """Gather the comparisons of all rows under a folder; rows that are not there are NaN, and so is what they lack.

    Returns
    -------
    xarray.Dataset
        `pearson_r`, `r2` and `R2` (row, theory, sample) of each theory against the network; their `_median`, `_low` and
        `_high` (row, theory), with the bootstrap interval; `gain` (row, end) of ELS on IS in pearson_r; `soft_gain` and
        `soft_gain_mse` (row, end) of soft ELS on ELS in pearson_r and in the mean squared error; `paper` (row, theory),
        the paper's medians, NaN for soft ELS; `done` (row), whether ELS, LS and IS have been compared. And of the other
        theories against the run of ELS itself, in place of the network: `pearson_r_with_els` (row, theory, sample) with
        its `_median`, `_low` and `_high`, and likewise `r2_with_els` and `R2_with_els`; `pearson_r_excess`, `r2_excess`
        and `R2_excess` (row, theory, end), the median of that with ELS minus that with the network, sample by sample.
    """
    rows = {name: comparisons for name in ROWS if (comparisons := _comparisons(root / name))}
    samples = max((comparisons["els"].sizes["sample"] for comparisons in rows.values()), default=0)
    shape = (len(ROWS), len(THEORIES))
    values = {f"{name}{tail}": np.full((*shape, samples), np.nan) for name in MEASURES for tail in ("", WITH_ELS)}
    ends = {f"{name}_{end}": np.full(shape, np.nan) for name in values for end in ENDS}
    excess = {f"{name}_excess": np.full((*shape, len(ENDS)), np.nan) for name in MEASURES}
    gains = {name: np.full((len(ROWS), len(ENDS)), np.nan) for name in GAINS}
    for number, name in enumerate(ROWS):
        if name not in rows:
            continue
        with_els = compare_with_els(root / name, MEASURES)
        for column, theory in enumerate(THEORIES):
            for tail, compared in (("", _of_theory(rows[name], theory)), (WITH_ELS, with_els.get(theory))):
                if compared is None:
                    continue
                for measure in MEASURES:
                    values[f"{measure}{tail}"][number, column, : compared.sizes["sample"]] = compared[measure].values
                    for end in ENDS:
                        ends[f"{measure}{tail}_{end}"][number, column] = float(compared[f"{measure}_{end}"])
        for measure in MEASURES:
            pairs = zip(values[f"{measure}{WITH_ELS}"][number], values[measure][number], strict=True)
            excess[f"{measure}_excess"][number] = [interval_of(own - network) for own, network in pairs]
        for gain, (theory, measure) in GAINS.items():
            compared = rows[name].get(theory)
            if compared is not None:
                gains[gain][number] = [float(compared[f"{measure}_gain{end}"]) for end in ("", "_low", "_high")]
    variables: dict[str, tuple[Any, ...]] = {
        **{name: (("row", "theory", "sample"), array) for name, array in values.items()},
        **{name: (("row", "theory"), array) for name, array in ends.items()},
        **{name: (("row", "theory", "end"), array) for name, array in excess.items()},
        **{name: (("row", "end"), array) for name, array in gains.items()},
        "paper": (("row", "theory"), np.array([_papers(row) for row in ROWS.values()])),
        "done": ("row", [name in rows for name in ROWS]),
    }
    coords = {
        "row": list(ROWS),
        "title": ("row", [row.title for row in ROWS.values()]),
        "theory": list(THEORIES),
        "end": list(ENDS),
    }
    recipes = {name: _recipe(root, name, comparisons) for name, comparisons in rows.items()}
    return xr.Dataset(variables, coords, {"recipes": as_attribute(recipes)})


def _papers(row: Row) -> list[float]:
    """The paper's medians of a row, in the order of `THEORIES`."""
    medians = dict(zip(PAPER_THEORIES, row.paper, strict=True))
    return [medians.get(theory, np.nan) for theory in THEORIES]


def _comparisons(folder: Path) -> dict[str, xr.Dataset]:
    """Comparisons of a row's theories that are there; empty where ELS or LS is not."""
    paths = {theory: folder / f"comparison-{theory}.nc" for theory in CALIBRATED}
    there = {theory: path for theory, path in paths.items() if path.is_file()}
    if not there.keys() >= set(PAPER_SCALED):
        return {}
    return {theory: open_comparison(path).load() for theory, path in there.items()}


def _of_theory(comparisons: Mapping[str, xr.Dataset], theory: str) -> xr.Dataset | None:
    """Select one theory from the comparisons; IS is the baseline of ELS. None if it is not there."""
    if theory == "is":
        return comparisons["els"].sel(compared="baseline")
    return comparisons[theory].sel(compared="run") if theory in comparisons else None


def _recipe(root: Path, name: str, comparisons: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Collect how a row was made: its training, runs and calibration."""
    els = comparisons["els"].attrs
    others = {theory: json.loads(each.attrs["runs"])["run"] for theory, each in comparisons.items() if theory != "els"}
    recipe = {"training": json.loads(els["training"]), "runs": {**json.loads(els["runs"]), **others}}
    for key, theory in (("calibration", "els"), ("soft_calibration", "soft-els")):
        scales = root / ROWS[name].scales_of / scales_name(theory)
        if scales.is_file():
            with open_calibration(scales) as calibration:
                recipe[key] = record(calibration.attrs)
    return recipe


class Table2(Target):
    """Table 2: medians of pearson_r of ELS, soft ELS, LS and IS with trained networks, beside the paper's."""

    name = "table2"
    default_rows = tuple(ROWS)

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self._obstacles: dict[str, str] | None = None

    def check_data(self) -> dict[str, str]:
        """Read each row's data, once, and say why it cannot be run; empty where it can.

        Raises
        ------
        DataError
            If a row that was asked for, or every row, lacks its data.
        """
        if self._obstacles is None:
            self._obstacles = {row: self._obstacle(row) for row in self.rows}
        if all(self._obstacles.values()):
            raise DataError(next(iter(self._obstacles.values())))
        return self._obstacles

    def _obstacle(self, row: str) -> str:
        try:
            self.experiment(row).load_dataset()
        except DataError as error:
            if self.asked:
                raise
            return str(error)
        return ""

    def notes(self) -> list[str]:
        """Say which rows are left out."""
        return [f"{row} is left out. {reason}" for row, reason in self.check_data().items() if reason]

    def _experiments(self) -> Iterator[Experiment]:
        """Experiments of the rows whose data are there, one at a time, as each holds its data in memory."""
        return (self.experiment(row) for row, reason in self.check_data().items() if not reason)

    def steps(self) -> Iterator[Step]:
        """Give the steps of the rows whose data are there."""
        return (step for experiment in self._experiments() for step in steps_of(experiment, tuple(CALIBRATED)))

    def measure(self) -> xr.Dataset:
        """Run the rows whose data are there, and gather all that have been run."""
        for experiment in self._experiments():
            experiment.compare(tuple(CALIBRATED))
        return table_of(self.study.folder)

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say by how much the error of soft ELS is less than that of ELS; and what others reach against ELS itself."""
        gains = measured["soft_gain_mse"].sel(row=list(self.rows)).dropna("row")
        lines = [
            "{}: mean squared error of soft ELS minus that of ELS: {:.3g} [{:.3g}, {:.3g}]".format(row, *gain)
            for row, gain in zip(gains["row"].values.tolist(), gains.values.tolist(), strict=True)
        ]
        sentences = {row: sentence_of(measured.sel(row=row)) for row in self.rows}
        return lines + [f"{row}: {sentence}" for row, sentence in sentences.items() if sentence]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw the rows that are done, by `draw_table`."""
        return draw_table(measured)


def draw_table(table: xr.Dataset) -> Figure:
    """Draw the medians of pearson_r with their intervals, and the paper's as crosses, a line for each row done."""
    from mosaic.view.figure import Picture

    shown = table.isel(row=np.flatnonzero(table["done"].values))
    count = shown.sizes["row"]
    figure = Picture(6.8, 1.4 + 0.5 * max(count, 1))
    axis = figure.subplots()
    for column, (theory, label) in enumerate(THEORIES.items()):
        medians = shown.sel(theory=theory)
        y = np.arange(count) + 0.17 * (column - 1.5)
        median, low, high = (medians[f"pearson_r_{end}"].values for end in ENDS)
        axis.errorbar(
            median,
            y,
            xerr=np.stack([median - low, high - median]),
            fmt="o",
            color=COLORS[theory],
            markersize=5,
            label=label,
        )
        if theory in PAPER_THEORIES:
            axis.plot(medians["paper"].values, y, "x", color=COLORS[theory], markersize=7)
    axis.plot([], [], "x", color="black", label="the paper's")
    axis.set_yticks(np.arange(count), shown["title"].values.tolist())
    axis.set_ylim(max(count, 1) - 0.5, -0.5)
    axis.set_xlim(min(0.0, float(np.nanmin(shown["pearson_r_low"].values, initial=0.0))), 1)
    axis.grid(axis="x", color="#dddddd")
    axis.set_xlabel("pearson_r with the network: median over samples, 95 % interval")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
