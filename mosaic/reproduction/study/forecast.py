"""The steps of a reproduction, what of them is done, and how long the machines' steps will take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mosaic.progress import Progress, silent
from mosaic.storage.job import Job
from mosaic.storage.made_by import code_changed, stored_code
from mosaic.train.checkpoint import load_checkpoint

__all__ = ["Forecast", "Step", "forecast"]


def _not_predicted() -> float | None:
    return None


@dataclass(frozen=True)
class Step:
    """A step of a reproduction.

    Attributes
    ----------
    name : str
        Its name.
    job : callable
        Gives its job; called only when the steps it depends on are done.
    rests_on : Step, optional
        The last step that must be done before.
    seconds : callable
        Predicts how long it takes; None where that is not predicted.
    """

    name: str
    job: Callable[[], Job]
    rests_on: Step | None = None
    seconds: Callable[[], float | None] = _not_predicted


@dataclass(frozen=True)
class Forecast:
    """State of a step before it is executed.

    Attributes
    ----------
    name : str
        The step's name.
    done : bool
        Whether it is done.
    other_code : bool
        Whether it was done by other code of mosaic than the code running now.
    seconds : float or None
        How long it will take; None where it is done, or that was not predicted.
    """

    name: str
    done: bool
    other_code: bool = False
    seconds: float | None = None


def forecast(steps: Callable[[], Iterable[Step]], measure: bool, progress: Progress = silent) -> list[Forecast]:
    """Forecast steps, in their order, each once; computes nothing that is kept.

    Parameters
    ----------
    steps : callable
        Gives the steps, one after the other. None is kept: a step may hold its data in memory.
    measure : bool
        Whether to predict, by short measurements, how long those take that are not done.
    progress : Progress
        Called as steps are measured.

    Raises
    ------
    ConfigMismatch
        If a step was done, or started, with other settings.
    """
    places: dict[str, Path | None] = {}  # where each finished step is stored; None if it is not finished

    def place_of(step: Step) -> Path | None:
        if step.name not in places:
            job = step.job() if step.rests_on is None or place_of(step.rests_on) is not None else None
            places[step.name] = job.place if job is not None and job.is_done() else None
        return places[step.name]

    count = len({step.name for step in steps()})
    forecasts: dict[str, Forecast] = {}
    for step in steps():
        if step.name in forecasts:
            continue
        place = place_of(step)
        if place is not None:
            forecasts[step.name] = Forecast(step.name, True, code_changed(_code_of(place)))
            continue
        if measure:
            progress(len(forecasts), count, "measurement", f"{step.name}, measuring how long it will take")
        forecasts[step.name] = Forecast(step.name, False, seconds=step.seconds() if measure else None)
    return list(forecasts.values())


def _code_of(place: Path) -> object:
    """Read the digest of the code that made a stored file, or a checkpoint."""
    return load_checkpoint(place).description.get("code") if place.is_dir() else stored_code(place)
