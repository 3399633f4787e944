"""How a theory's parameters were chosen: on noise that the board does not use, by hand, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import xarray as xr

from mosaic.errors import DataError
from mosaic.interfaces.options import Options, chosen_on
from mosaic.storage.files import open_stored
from mosaic.storage.requirements import attribute_of
from mosaic.storage.schema import CALIBRATION_SCHEMA

__all__ = ["ON_THIS_NOISE", "Origin", "how_tuned", "origin_of", "parameters_of"]

ON_THIS_NOISE = " on this noise"


@dataclass(frozen=True)
class Origin:
    """Where scales that a calibration wrote come from.

    Attributes
    ----------
    score : str
        Score model that was calibrated.
    seeds : tuple of int
        Of its samples' noise.
    """

    score: str
    seeds: tuple[int, ...]


def origin_of(scales: str | None) -> Origin | None:
    """Read what a calibration says of its scales; None where they are from none, or from something else."""
    if scales is None or Path(scales).suffix != ".nc":
        return None
    try:
        with open_stored(Path(scales), (CALIBRATION_SCHEMA,), "a calibration") as stored:
            return Origin(_score_of(stored), tuple(stored["seed"].values.tolist()))
    except DataError:  # of a run, or of another program
        return None


def _score_of(calibration: xr.Dataset) -> str:
    return str(attribute_of(calibration, "configuration", "calibration").get("score"))


def parameters_of(options: type[Options]) -> list[str]:
    """Name the options that are free parameters of a theory.

    Those are the ones that may be any number, whole numbers that may be left open, and what says on what its default
    was chosen. Other whole numbers are seeds, counts of draws and the like; words choose a variant or how it is
    computed, and so do numbers that `json_schema_extra` marks with `is_numerical`, such as a tolerance.
    """
    chosen = chosen_on(options)
    return [
        name
        for name, field in options.model_fields.items()
        for kinds in [(field.annotation, *get_args(field.annotation))]
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("is_numerical"))
        if name in chosen or float in kinds or {int, type(None)} <= set(kinds)
    ]


def how_tuned(
    name: str,
    parameters: Collection[str],
    *,
    has_scale: bool,
    origin: Origin | None,
    seeds: Collection[int],
    by_hand: Collection[str],
    chosen: Collection[str],
    defaults: Mapping[str, str],
) -> str:
    """Say how the parameters of a theory were chosen, in a few words.

    Parameters
    ----------
    name : str
        Of its score model.
    parameters : collection of str
        Its options that are parameters.
    has_scale : bool
        Whether it has a locality scale, too.
    origin : Origin or None
        Where its scales come from.
    seeds : collection of int
        Those of the board's noise.
    by_hand, chosen : collection of str
        Options that the user set, and options that were chosen on other noise.
    defaults : mapping
        On what the defaults of parameters were chosen, where that is known.
    """
    words: list[str] = []
    left = [each for each in parameters if each not in {*by_hand, *chosen}]
    if has_scale and origin is not None:
        noise = ON_THIS_NOISE if not set(seeds).isdisjoint(origin.seeds) else ""
        words.append(f"calibrated{noise}" if origin.score == name else f"scales of {origin.score}{noise}")
    if chosen:
        words.append(f"tuned {' '.join(chosen)}")
    if set(by_hand) & set(parameters):
        words.append("set by hand")
    for where in dict.fromkeys(defaults[each] for each in left if each in defaults):
        words.append(f"{' '.join(each for each in left if defaults.get(each) == where)} chosen on {where}")
    if any(each not in defaults for each in left) or (has_scale and origin is None):
        words.append("rest untuned" if words else "untuned")
    return ", ".join(words) or "no parameters"
