"""Which windows predict a network best: kinds of windows, each at its best scale, at states of the network's own flow.

Hard windows are those of Kamb & Ganguli 2025; all others are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.evaluate.statistics import ratio_of_means
from mosaic.reproduction.study.agreement import ends_text
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.steps import training_step
from mosaic.reproduction.study.target import Target
from mosaic.reproduction.windows.picture import draw_ratios
from mosaic.reproduction.windows.search import CALIBRATION, JUDGING, WindowSearch
from mosaic.reproduction.windows.variants import BASELINE, VARIANTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Windows", "at_an_end", "chosen", "with_ratios"]

ENDS = ("", "_low", "_high")


class Windows(Target):
    """Which windows predict a network best, at states of its own flow."""

    name = "windows"
    default_rows = (
        "mnist-resnet-zeros",
        "fashion-resnet-zeros",
        "cifar10-resnet-zeros",
        "mnist-unet-zeros",
        "mnist-resnet-circular",
    )

    def steps(self) -> Iterator[Step]:
        """Give the training of each row, the network's flows, and the search of each variant."""
        return (step for row in self.rows for step in _steps_of(self.experiment(row)))

    def measure(self) -> xr.Dataset:
        """Search each variant's scales by the calibration noise, and judge them on other noise.

        Returns
        -------
        xarray.Dataset
            What `search` gives, along (row, variant) too, and what `with_ratios` and `chosen` add.
        """
        rows = [_searched(self.experiment(row)) for row in self.rows]
        errors = xr.concat(rows, "row", join="outer", combine_attrs="drop").assign_coords(row=list(self.rows))
        return with_ratios(errors).assign(chosen=chosen(errors))

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Give each row's table of ratios, at each time and over all, its choice, and scales at an end."""
        widest = max(map(len, VARIANTS))
        times = [f"{time:.2f}" for time in measured["time"].values]
        lines = []
        for name in measured["row"].values.tolist():
            row = measured.sel(row=name)
            lines += [f"{name}: error of x0hat over that of hard windows, at each time t and over all"]
            lines += ["  ".join([" " * widest, *(f"{time:>5}" for time in times), f"{'all':20}", "inner pixels"])]
            for variant in row["variant"].values.tolist():
                ratios = row["ratio"].sel(variant=variant).values
                if not np.isnan(ratios).all():
                    own = row.sel(variant=variant)
                    overall, inner = (
                        ends_text([float(own[f"{name}_overall{end}"]) for end in ENDS])
                        for name in ("ratio", "inner_ratio")
                    )
                    cells = [f"{ratio:5.3f}" for ratio in ratios]
                    lines += ["  ".join([f"{variant:{widest}}", *cells, overall, inner])]
            best = row.sel(variant=row["chosen"].item())
            ratio = ends_text([float(best[f"ratio_overall{end}"]) for end in ENDS])
            lines += [f"{name}: least error on the calibration noise: {row['chosen'].item()}, {ratio} on other noise"]
            for variant, ends in at_an_end(row).items():
                places = ", ".join(f"{scale:.4g} at t = {time:.2f}" for time, scale in ends.items())
                lines += [f"{name}, {variant}: the best scale tried is at an end: {places}"]
        return lines

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw the ratio over time of each variant, by `draw_ratios`."""
        return draw_ratios(measured)


def _steps_of(experiment: Experiment) -> list[Step]:
    search, train = WindowSearch(experiment), training_step(experiment)
    calibration = Step(experiment.step(CALIBRATION), partial(search.flow_job, CALIBRATION), train)
    judging = Step(experiment.step(JUDGING), partial(search.flow_job, JUDGING), calibration)
    steps: list[Step] = []
    for name in search.names:
        before, seconds = steps[0] if steps else judging, partial(search.variant_seconds, name)
        steps.append(Step(experiment.step(f"windows {name}"), partial(search.variant_job, name), before, seconds))
    return [train, calibration, judging, *steps]


def _searched(experiment: Experiment) -> xr.Dataset:
    """Run the search of a row; variants that it does not have are NaN."""
    search = WindowSearch(experiment)
    search.run_flows()
    variants = [search.run_variant(name) for name in search.names]
    found = xr.concat(variants, "variant", join="outer", combine_attrs="drop").assign_coords(variant=search.names)
    return found.reindex(variant=list(VARIANTS))


def with_ratios(errors: xr.Dataset) -> xr.Dataset:
    """Add the ratios of mean errors (row, variant, time, sample) to those of hard windows, with paired intervals.

    Returns
    -------
    xarray.Dataset
        `errors` with `ratio`, `ratio_low`, `ratio_high` (row, variant, time) and `ratio_overall` with its ends (row,
        variant), the geometric mean over times; and `inner_ratio_overall` with its ends, of inner pixels. NaN where a
        row does not have a variant. Intervals cover the samples judged, not the training, and not the choice of the
        scale.
    """
    values, inner = (
        errors[name].transpose("row", "variant", "time", "sample").values for name in ("error", "inner_error")
    )
    hard = errors["variant"].values.tolist().index(BASELINE)
    ratios = np.full((3, *values.shape[:3]), np.nan)
    overall, inner_overall = np.full((2, 3, *values.shape[:2]), np.nan)
    for row, variant in np.argwhere(~np.isnan(values).all((2, 3))).tolist():
        own, baseline = values[row, variant], values[row, hard]
        overall[:, row, variant] = ratio_of_means(own, baseline)
        inner_overall[:, row, variant] = ratio_of_means(inner[row, variant], inner[row, hard])
        for time in range(len(own)):
            ratios[:, row, variant, time] = ratio_of_means(own[time], baseline[time])
    added: dict[str, tuple[Any, ...]] = {}
    for number, end in enumerate(ENDS):
        added[f"ratio{end}"] = (("row", "variant", "time"), ratios[number])
        added[f"ratio_overall{end}"] = (("row", "variant"), overall[number])
        added[f"inner_ratio_overall{end}"] = (("row", "variant"), inner_overall[number])
    return errors.assign(added)


def chosen(errors: xr.Dataset) -> xr.DataArray:
    """Name the variant of each row that has the least error on the calibration noise, so that other noise can judge it.

    That is the geometric mean over times of `calibration_error` (row, variant, time, trial), at the best of its scales.
    """
    product = errors["calibration_error"].min("trial").prod("time", skipna=False)
    return product.idxmin("variant").astype(str)


def at_an_end(row: xr.Dataset) -> dict[str, dict[float, float]]:
    """Give a row's scales, by variant and time, that are the first or last tried, so that a better one may be beyond.

    No window is smaller than a pixel.
    """
    found: dict[str, dict[float, float]] = {}
    for variant, time in np.argwhere(row["scale"].transpose("variant", "time").notnull().values).tolist():
        chosen = row.isel(variant=variant, time=time)
        scale, tried = float(chosen["scale"]), chosen["tried"].dropna("trial").values
        if (scale == tried[0] and scale > 1) or scale == tried[-1]:
            found.setdefault(str(chosen["variant"].item()), {})[float(chosen["time"])] = scale
    return found
