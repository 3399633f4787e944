"""Locality scales k(t): the one free hyperparameter of the local machines.

The noise-to-signal ratio s / a decides a scale, so a `ScaleSchedule` is a table of k against s / a. Runs of any
schedule and number of steps look up their steps in it. `ScoreModel.check` says what numbers k may be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import BaseModel, Field, ValidationError

from mosaic.containers.access import ENDINGS, is_there, open_container
from mosaic.errors import DataError, UsageError, did_you_mean, shown
from mosaic.interfaces.schedule import Level

__all__ = [
    "LARGEST",
    "PAPER_SCALES",
    "PSPC_SQUARE_CIFAR10",
    "SOFT_SCALES",
    "ScaleSchedule",
    "Scales",
    "as_scale",
    "coarse_to_fine",
    "nearest_window",
    "paper_scales",
    "preset_boundary",
    "preset_names",
    "preset_origin",
    "preset_scales",
    "resolve_scales",
    "scales_as_text",
]

# Kamb & Ganguli 2025, published with the paper: entry i, from 1, was calibrated at t = i / 20, cosine schedule.
PAPER_SCALES = {
    "mnist-resnet-zeros": (3, 3, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 11, 11, 13, 15, 15, 15, 15, 15),
    "mnist-resnet-circular": (3, 3, 5, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 11, 9, 9, 7, 7, 3, 3),
    "mnist-unet-zeros": (3, 3, 3, 5, 5, 7, 7, 7, 9, 9, 9, 11, 13, 15, 17, 21, 23, 23, 25, 27),
    "fashion-resnet-zeros": (3, 3, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 13, 13, 13, 15, 15, 15, 17, 17),
    "fashion-unet-zeros": (3, 3, 5, 5, 7, 7, 7, 9, 11, 11, 11, 13, 15, 15, 21, 23, 25, 25, 25, 25),
    "cifar10-resnet-zeros": (3, 3, 3, 3, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 11, 13, 15, 17, 17, 17),
    "cifar10-resnet-circular": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15, 15),
    "cifar10-unet-zeros": (3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 9, 9, 11, 13, 13, 15, 17, 25),
    "celeba-resnet-zeros": (3, 3, 3, 5, 5, 5, 5, 5, 7, 7, 9, 9, 9, 11, 11, 11, 13, 15, 19, 19),
    "celeba-unet-zeros": (3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 7, 7, 9, 9, 9, 13, 19, 27),
}

# Ours, for soft-els: entry i, from 1, at t = i / 20, cosine schedule. `mosaic reproduce table2 --rows NAME` calibrates
# them on networks of its preset `cpu` and keeps them in `scales-soft-els.nc` (README). All were made with the options
# that `preset_origin` names.
SOFT_SCALES = {
    "mnist-resnet-zeros": (
        *(1.4, 2.4, 2.9, 3.2, 3.5, 3.8, 4.2, 4.9, 5.3, 5.6),
        *(6.1, 6.7, 7.2, 7.5, 7.8, 8.5, 9.8, 10.2, 14.8, 17.0),
    ),
    "fashion-resnet-zeros": (
        *(1.6, 2.3, 2.8, 3.2, 3.6, 4.2, 4.6, 5.2, 5.7, 6.3),
        *(6.7, 7.3, 7.8, 8.3, 9.0, 9.6, 9.9, 10.5, 13.9, 17.0),
    ),
    "cifar10-resnet-zeros": (
        *(2.5, 2.5, 2.8, 3.2, 3.5, 3.9, 4.3, 4.7, 5.0, 5.5),
        *(5.8, 6.2, 6.7, 7.4, 8.0, 8.9, 9.8, 11.9, 16.2, 17.0),
    ),
}

# Niedoba et al. 2024, side of the square patches on CIFAR10: from the lowest to the highest of the 18 levels of Karras
# et al. 2022, eq. 5, with sigma^(1/7) equidistant from 0.002 to 80.
PSPC_SQUARE_CIFAR10 = (3, 3, 3, 3, 3, 3, 5, 7, 11, 15, 23, 32, 32, 32, 32, 32, 32, 32)
LARGEST = 9999  # more than any image needs


@dataclass(frozen=True)
class ScaleSchedule:
    """A table of locality scales.

    Attributes
    ----------
    scales : tuple of float
        Positive numbers, from the lowest noise level to the highest: odd window sizes, or for a model whose scale is
        continuous any.
    ratios : tuple of float
        Noise-to-signal ratio s / a of each entry, positive; empty if one scale serves all levels.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, number in (("scales", as_scale), ("ratios", float)):
            try:
                object.__setattr__(self, name, tuple(map(number, getattr(self, name))))
            except (TypeError, ValueError):
                raise UsageError(
                    f"`{name}` of a scale schedule are numbers, not {shown(getattr(self, name))}."
                ) from None
        if not self.scales:
            raise UsageError("There must be at least one scale.")
        for scale in self.scales:
            if not 0 < scale <= LARGEST:
                raise UsageError(f"Scale {scale} is not valid: scales are above 0 and at most {LARGEST}.")
        if len(self.ratios) != len(self.scales) and not (len(self.scales) == 1 and not self.ratios):
            raise UsageError(f"{len(self.scales)} scales need as many noise-to-signal ratios, not {len(self.ratios)}.")
        if not all(0 < ratio < math.inf for ratio in self.ratios):
            raise UsageError(f"Noise-to-signal ratios must be positive and finite, not {self.ratios}.")

    def at(self, level: Level, continuous: bool = False) -> float:
        """Give the scale of the entry nearest in log(s / a); of two equally near ones the lower-noise one.

        A `continuous` scale is interpolated: log k is piecewise linear in log(s / a), and constant beyond the entries.
        """
        if not self.ratios:
            return self.scales[0]
        if continuous:
            entries = sorted(zip(self.ratios, self.scales, strict=True))
            ratios, scales = np.log(np.array(entries, dtype=float)).T
            # Rounded, so that an entry's own level has the entry: exp(log(3)) is not 3.
            return as_scale(round(math.exp(np.interp(math.log(level.ratio), ratios, scales)), 9))
        distances = [abs(math.log(ratio / level.ratio)) for ratio in self.ratios]
        return self.scales[distances.index(min(distances))]


def as_scale(number: float) -> float:
    """Give a number as a scale: an int where it is one, so that window sizes are.

    Raises
    ------
    TypeError
        If it is not a number.
    """
    if isinstance(number, (str, bytes)):
        raise TypeError(f"{number!r} is not a number")
    value = float(number)
    return int(value) if value.is_integer() else value


Scales = str | float | PathLike[str] | Collection[float] | ScaleSchedule | xr.DataArray | xr.Dataset
"""What scales may be given as: what `resolve_scales` and `scales_as_text` take."""


def preset_names() -> list[str]:
    """Presets that `resolve_scales` takes: the paper's as paper/NAME, ours for soft-els as soft-els/NAME, others'."""
    ours = (f"soft-els/{name}" for name in SOFT_SCALES)
    return [*(f"paper/{name}" for name in PAPER_SCALES), *ours, "niedoba/cifar10-square"]


def preset_scales(name: str) -> ScaleSchedule:
    """The preset of a name in `preset_names`, with the s / a at which it was published or measured."""
    if name.startswith("paper/"):
        return paper_scales(name.removeprefix("paper/"))
    if name.startswith("soft-els/"):
        return _at_twentieths(SOFT_SCALES[name.removeprefix("soft-els/")])
    low, high = (sigma ** (1 / 7) for sigma in (0.002, 80))
    last = len(PSPC_SQUARE_CIFAR10) - 1
    return ScaleSchedule(PSPC_SQUARE_CIFAR10, tuple((low + i / last * (high - low)) ** 7 for i in range(last + 1)))


def preset_boundary(name: str) -> str | None:
    """Boundary that a preset's scales were calibrated with; None where the preset is not tied to one.

    The padding of the network is the last word of its name. The authors' machine for circular networks pads x
    circularly and cuts candidates without padding: that is ELS with boundary `valid`.
    """
    return {"zeros": "zeros", "circular": "valid"}.get(name.rpartition("-")[2])


def preset_origin(name: str) -> str:
    """Say where a preset's scales are from, in a sentence: on what network they were chosen, for what machine."""
    if name.startswith("paper/"):
        return "Calibrated by Kamb & Ganguli (2025) on their network of this name."
    if name.startswith("soft-els/"):
        row = name.removeprefix("soft-els/")
        return (
            f"Calibrated for soft-els with cutoff 2.5, border 1, border_limit 5 and temperature 0.85, on the network "
            f"of `mosaic reproduce table2 --rows {row}` (preset cpu). The largest scale tried was "
            f"{max(SOFT_SCALES[row]):g}, the network's receptive field; a better one may lie beyond."
        )
    return "Published by Niedoba et al. (2024) for patch-posterior on CIFAR10."


def paper_scales(name: str) -> ScaleSchedule:
    """One of the paper's scale schedules, with s / a of its cosine schedule at t = i / 20."""
    return _at_twentieths(PAPER_SCALES[name])


def _at_twentieths(scales: Sequence[float]) -> ScaleSchedule:
    """Scales at t = 1/20, 2/20, ... 1 of the cosine schedule."""
    angles = [math.pi / 2 / 1.008 * i / len(scales) for i in range(1, len(scales) + 1)]
    return ScaleSchedule(tuple(scales), tuple(math.tan(angle) for angle in angles))


def nearest_window(k: float) -> int:
    """Round a scale to the nearest window size, an odd number; up if two are equally near: 4 gives 5."""
    return 2 * math.floor(k / 2) + 1


def coarse_to_fine(size: int, times: Sequence[float], levels: Sequence[Level]) -> ScaleSchedule:
    """Default scales if none are calibrated: k from about half the image at t = 1 down to 3 at t = 0.

    Parameters
    ----------
    size : int
        The image's shorter side.
    times, levels
        The run's steps, in rising order of noise.
    """
    half = max(3.0, size / 2)
    scales = [nearest_window(3 + (half - 3) * t) for t in times]
    return ScaleSchedule(tuple(min(k, 2 * size - 1) for k in scales), tuple(level.ratio for level in levels))


def resolve_scales(spec: str, levels: Sequence[Level], continuous: bool = False) -> tuple[float, ...]:
    """Turn what `scales` was given into one scale a step.

    Parameters
    ----------
    spec : str
        A preset (`paper/mnist-resnet-zeros`), one number, a list `3,3,5,...` of exactly one entry a step (from
        the lowest noise level to the highest), JSON `{"scales": [...], "noise_to_signal": [...]}`, or a file: of this
        JSON, or netCDF with `scale`, `signal` and `noise` along `step`.
    levels : sequence of Level
        The run's levels, from the lowest noise to the highest.
    continuous : bool
        Whether to interpolate tables (`ScaleSchedule.at`).

    Returns
    -------
    tuple of float
        From the lowest noise level to the highest.

    Raises
    ------
    UsageError
        For an unknown preset, a list of another length, a scale that is not positive, or an unreadable file.
    """
    spec = spec.strip()
    try:
        scales = tuple(float(item) for item in spec.split(","))
    except ValueError:
        scales = ()
    if scales and all(map(math.isfinite, scales)):
        if len(scales) > 1 and len(scales) != len(levels):
            raise UsageError(
                f"`scales` lists {len(scales)} scales for {len(levels)} steps; list exactly {len(levels)}, from the "
                f"lowest noise level to the highest, or give one number or a preset."
            )
        if len(scales) == 1:
            scales *= len(levels)
        return ScaleSchedule(scales, tuple(level.ratio for level in levels)).scales
    if spec in preset_names():
        table = preset_scales(spec)
    elif spec.startswith("{"):
        with _usable("`scales`"):
            table = _table_in_json(spec)
    elif Path(spec).suffix in (".json", *ENDINGS):
        table = _read_scales(Path(spec))
    else:
        presets = preset_names()
        raise UsageError(
            f"`scales` {shown(spec)} is not a preset, number, list or file (.json, .nc, .zarr)."
            f"{did_you_mean(spec, presets)} Presets: {', '.join(presets)}."
        )
    return tuple(table.at(level, continuous) for level in levels)


class _Table(BaseModel):
    """What a file of scales holds: numbers, not texts of them."""

    scales: list[Annotated[float, Field(strict=True)]]
    noise_to_signal: list[Annotated[float, Field(strict=True)]]

    def schedule(self) -> ScaleSchedule:
        return ScaleSchedule(tuple(self.scales), tuple(self.noise_to_signal))


def _table_in_json(text: str) -> ScaleSchedule:
    return _Table.model_validate_json(text).schedule()


def _table_of(stored: xr.Dataset | xr.DataArray) -> ScaleSchedule:
    """Table of a calibration or a run, or of the `scale` of one with its coordinates."""
    scale = stored["scale"] if isinstance(stored, xr.Dataset) else stored
    ratios = (stored["noise"] / stored["signal"]).values.tolist()
    return _Table(scales=scale.values.tolist(), noise_to_signal=ratios).schedule()


@contextmanager
def _usable(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise UsageError(
            f"{what} cannot be used ({reason}); it must hold 'scales' and 'noise_to_signal' lists (JSON) or 'scale', "
            f"'signal' and 'noise' along 'step' (netCDF)."
        ) from None


def _read_scales(path: Path) -> ScaleSchedule:
    if not is_there(path):
        raise UsageError(f"There is no scales file '{path}'.")
    with _usable(f"Scales file '{path}'"):
        if path.suffix == ".json":
            return _table_in_json(path.read_text(encoding="utf-8-sig"))
        with open_container(path) as stored:
            return _table_of(stored)


def scales_as_text(given: Any) -> Any:
    """Write an object that says at what noise its scales are as `resolve_scales` takes it; others stay as they are.

    That is a `ScaleSchedule`, a calibration or a run, or the `scale` of one, as xarray or pandas holds it. Where levels
    are missing, its times or steps decide the order.

    Raises
    ------
    UsageError
        If it lacks what is needed.
    """
    if hasattr(given, "to_xarray"):  # of pandas
        given = given.to_xarray()
    if isinstance(given, xr.DataArray) and (given.ndim != 1 or not {"signal", "noise"} <= given.coords.keys()):
        return _from_low_noise(given)
    if isinstance(given, (xr.DataArray, xr.Dataset)):
        with _usable("`scales`"):
            given = _table_of(given)
    if not isinstance(given, ScaleSchedule):
        return given
    if not given.ratios:
        return str(given.scales[0])
    return json.dumps({"scales": given.scales, "noise_to_signal": given.ratios})


def _from_low_noise(scale: xr.DataArray) -> xr.DataArray:
    """Order the scales of a run from its lowest noise to its highest."""
    for name, is_rising in (("noise", True), ("time", True), ("step", False)):
        if name in scale.coords and scale.ndim == 1:
            return scale.sortby(name, ascending=is_rising)
    if scale.dims == ("step",):
        raise UsageError(
            "`scales` lie along 'step' without coordinates, which say in what order; give a list from the lowest noise "
            "level to the highest."
        )
    return scale
