"""Scores that are evaluated side by side, by their names: on one training set, and at the levels of one schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from mosaic.errors import UsageError, warn_of
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.configuration import as_text
from mosaic.run.score import Score, name_of
from mosaic.run.settings import refuse_unused
from mosaic.sampling.scales import Scales
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.runs import NetworkRuns, network_runs
from mosaic.train.score import score

__all__ = ["TIMES", "Subject", "Subjects", "is_network", "levels_of", "records_of", "resolve_subjects"]

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which scores are compared, unless a caller says others

Subject = str | PathLike[str] | Score | ScoreModel | Checkpoint
Subjects = Subject | Sequence[Any] | Mapping[str, Any]


def resolve_subjects(
    scores: Subjects,
    dataset: str | DataSet | None,
    access: DataAccess,
    *,
    dataset_options: Mapping[str, Any],
    scales: Scales | None,
    score_options: Mapping[str, Mapping[str, Any]],
) -> dict[str, Score]:
    """Give the scores by name, in their order.

    A score that is named has the data, the schedule and the padding (as its boundary) of the first that is more than a
    name: of a network, in most cases. Of schedules, that of a network goes before.

    Raises
    ------
    UsageError
        If there are none, their images differ in shape, or something given would not be used.
    """
    given = _named(scores)
    names = {name for name in given.values() if isinstance(name, str) and name in registry().names("score")}
    refuse_unused(
        {f"score_options of '{name}'": options for name, options in score_options.items() if name not in names},
        f"the scores given by name are: {', '.join(sorted(names)) or 'none'}",
    )
    if all(isinstance(each, (Score, ScoreModel)) for each in given.values()):
        unused = {"dataset": dataset, "dataset_options": dataset_options}
        refuse_unused(unused, "every score has data of its own")
    if isinstance(dataset, DataSet):
        refuse_unused({"dataset_options": dataset_options}, "the data set is not a name")
    for name in names:  # before data are read, which can take long
        registry().parse("score", name, score_options.get(name, {}))
    made: dict[str, Score] = {}
    for name, each in given.items():
        if not (isinstance(each, str) and each in names):
            made[name] = _made(each, dataset, dataset_options, access)
    data = _data_of(list(made.values()), dataset, dataset_options, access) if names else None
    schedule = _schedule_of(list(made.values()))
    runs = next((each for each in (_network(own, access) for own in made.values()) if each is not None), None)
    resolved = {}
    for name, each in given.items():
        if name in made:
            resolved[name] = made[name]
        else:
            options = {**({} if runs is None else runs.boundary_for(each)), **score_options.get(each, {})}
            own = score(each, data, schedule=schedule, **options)
            text = as_text(RunConfig, "scales", scales) if own.model.traits.has_scale else None
            resolved[name] = replace(own, scales=text)
    has_use = any(resolved[name].model.traits.has_scale for name in given.keys() - made.keys())
    refuse_unused({"scales": None if has_use else scales}, "no score that is given by its name has scales")
    _check_data(resolved)
    return resolved


def levels_of(scores: Mapping[str, Score], times: Sequence[float]) -> dict[float, Level]:
    """Give the noise levels at times of the schedule of the first network, or else of the first score.

    Raises
    ------
    UsageError
        If there are none, or one is not from 0 to 1.
    """
    if not times:
        raise UsageError(f"`times` is empty; leave it out for {', '.join(map(str, TIMES))}.")
    first = next(iter(scores.values()))
    scheduled = next((own for own in scores.values() if own.model.traits.schedule() is not None), first)
    return {float(t): scheduled.level_at(t) for t in times}


def records_of(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """Record what each score is, for the configuration of a stored result."""
    return {
        name: {
            "score": name_of(own.model),
            "score_options": own.model.options.model_dump(mode="json"),
            "fingerprint": own.model.traits.fingerprint(),
            **own.settings(),
        }
        for name, own in scores.items()
    }


def is_network(own: Score) -> bool:
    """Whether a score is a checkpoint's network."""
    return bool(own.model.name == registry().checkpoint_score())


def _made(each: Subject, dataset: str | DataSet | None, options: Mapping[str, Any], access: DataAccess) -> Score:
    """Make a score of what is more than a name; a model has its own data."""
    if isinstance(each, (Score, ScoreModel)):
        return each if isinstance(each, Score) else score(each)
    if isinstance(dataset, DataSet):
        return score(each, dataset)
    return score(each, dataset, dataset_options=options, data_dir=access.root)


def _named(scores: Subjects) -> dict[str, Any]:
    """Name scores; those of the same name are numbered."""
    if isinstance(scores, Mapping):
        given = dict(scores)
    else:
        given = {}
        for each in scores if isinstance(scores, (list, tuple)) else [scores]:
            name = _name_of(each)
            count = sum(known == name or known.startswith(f"{name} ") for known in given)
            given[f"{name} {count + 1}" if count else name] = each
    if not given:
        raise UsageError("`scores` is empty; name a score model, or give a network.")
    for name, each in given.items():
        if not isinstance(each, (str, PathLike, Score, ScoreModel, Checkpoint)):
            raise UsageError(
                f"`scores`: '{name}' is a {type(each).__name__}; give the name of a score model, the folder of a "
                "network, or what mosaic.score makes."
            )
    return given


def _name_of(each: Any) -> str:
    if isinstance(each, Score):
        return name_of(each.model)
    if isinstance(each, ScoreModel):
        return name_of(each)
    if isinstance(each, str) and each in registry().names("score"):
        return each
    return registry().checkpoint_score()


def _data_of(
    made: Sequence[Score], dataset: str | DataSet | None, options: Mapping[str, Any], access: DataAccess
) -> DataSet:
    if isinstance(dataset, DataSet):
        return dataset
    if made and dataset is None:
        return made[0].model.dataset
    return load_dataset(dataset or "digits", options, access)


def _schedule_of(made: Sequence[Score]) -> NoiseSchedule | None:
    """Schedule of the first network that has one of its own, or else of the first score; None for the usual one."""
    own = next((each for each in made if each.model.traits.schedule() is not None), next(iter(made), None))
    return None if own is None else own.schedule


def _network(own: Score, access: DataAccess) -> NetworkRuns | None:
    return network_runs(own, access) if is_network(own) else None


def _check_data(scores: Mapping[str, Score]) -> None:
    """Refuse images of several shapes; warn of several training sets."""
    first, *others = scores.values()
    data = first.model.dataset
    for own in others:
        if own.model.dataset.shape != data.shape:
            raise UsageError(
                f"{own!r} has images of shape {own.model.dataset.shape}, and {first!r} of {data.shape}; compare "
                "scores of one data set."
            )
    if any(own.model.dataset is not data and own.model.dataset.fingerprint() != data.fingerprint() for own in others):
        warn_of([f"The scores have different training sets; x are noisy images of the first one's, {first!r}."])
