"""From a configuration to a plan: names resolved, data loaded, everything checked, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from mosaic.device import chosen_device, standard_torch
from mosaic.errors import DataError, UsageError, no_exit
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.function_model import FunctionModel
from mosaic.interfaces.images import extremes_of
from mosaic.interfaces.options import Options
from mosaic.interfaces.sampler import Sampler, levels_at
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.memory import NotEnoughMemory, Size, access_within, threads_within
from mosaic.run.plan import Plan
from mosaic.run.samples import Init, samples_of
from mosaic.run.saved import resolve_save
from mosaic.sampling.scales import coarse_to_fine, preset_boundary, preset_names, resolve_scales
from mosaic.storage.output import Output

__all__ = ["EpsFunction", "ScoreLike", "prepare"]

EpsFunction = Callable[[Tensor, Tensor], Tensor]
ScoreLike = str | ScoreModel | EpsFunction


@standard_torch()
@no_exit("A plugin that the run uses")
def prepare(
    config: RunConfig,
    access: DataAccess,
    *,
    score: ScoreModel | EpsFunction | None = None,
    dataset: DataSet | None = None,
    init: Init | None = None,
    memory: str | float | None = None,
    output: Output | None = None,
    is_stored: bool | None = None,
) -> Plan:
    """Resolve a configuration.

    Parameters
    ----------
    config : RunConfig
        What is asked for.
    access : DataAccess
        Where data may be found.
    score, dataset, init
        Objects to use in place of `config.score`, `config.dataset` and `config.init`.
    memory : str or number, optional
        What the run may take, such as 2G, or a number of bytes; by default a quarter of what the machine has.
    output : Output, optional
        Where the run is to be kept; refused here if it cannot be.
    is_stored : bool, optional
        Whether it will be kept in a file, which takes less memory; by default if there is an `output`.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    if output is not None:
        output.check()
    arguments: dict[str, Any] = {"score": score, "init": init, "memory": memory, "output": output}
    arguments["is_stored"] = output is not None if is_stored is None else is_stored
    try:
        return _prepared(config, access_within(access, memory), dataset=dataset, **arguments)
    except NotEnoughMemory as error:
        if dataset is not None:
            raise
        try:  # the data fit, but not beside the work
            return _prepared(config, replace(access_within(access, memory), pieces=True), dataset=None, **arguments)
        except DataError:  # not all data can be read in pieces
            raise error from None


def _prepared(
    config: RunConfig,
    access: DataAccess,
    *,
    score: ScoreModel | EpsFunction | None,
    dataset: DataSet | None,
    init: Init | None,
    memory: str | float | None,
    output: Output | None,
    is_stored: bool,
) -> Plan:
    device, names = _device(config, score, dataset), registry()
    is_named = score is None and init is None and (dataset is None or dataset.is_as_loaded)
    schedule: NoiseSchedule = names.make("schedule", config.schedule, config.schedule_options)
    sampler: Sampler = names.make("sampler", config.sampler, config.sampler_options)
    # Options are checked before the data are read, which can take long.
    options = names.parse("score", config.score, config.score_options) if score is None else None
    if dataset is None:
        dataset = load_dataset(config.dataset, config.dataset_options, access)
    dataset = dataset.to(device)
    times = tuple(sampler.times(schedule, config.steps))
    levels = tuple(levels_at(schedule, times))
    model = _model(config, score, options, dataset, schedule)
    _check_schedule(config.score, model, schedule)
    scales, notes = _scales(config, model, dataset, levels, times)
    start, seeds, labels, odd = samples_of(config, dataset, init, is_stochastic=sampler.is_stochastic)
    notes += [*odd, *dataset.notes, *_oddities(dataset, scales), *model.check(levels, scales, labels)]
    save, save_steps = resolve_save(config, model)
    size = _size(config, save, labels, max(scales), is_stored)
    threads = threads_within(memory, model, size, config.score)
    resolved = {
        "dataset_options": dict(dataset.options) or config.dataset_options,
        "score_options": model.options.model_dump(mode="json"),
        "schedule_options": schedule.options.model_dump(mode="json"),
        "sampler_options": sampler.options.model_dump(mode="json"),
        "samples": len(labels),
        "save": ",".join(save) or "none",
        "device": str(device),
    }
    return Plan(
        config=config.model_copy(update=resolved),
        dataset=dataset,
        schedule=schedule,
        sampler=sampler,
        model=model,
        times=times,
        levels=levels,
        scales=scales,
        labels=labels,
        seeds=seeds,
        start=start,
        device=device,
        size=size,
        save=save,
        save_steps=save_steps,
        threads=threads,
        memory=memory,
        output=output,
        notes=tuple(notes),
        access=access if is_named else None,
    )


def _size(
    config: RunConfig, save: tuple[str, ...], labels: tuple[int, ...], largest_scale: float, is_stored: bool
) -> Size:
    """What the run's memory depends on."""
    samples = len(labels)
    return Size(
        samples=samples,
        steps=config.steps,
        batch=min(config.batch_size, samples),
        largest_scale=largest_scale,
        dtype=torch.float64 if config.dtype == "float64" else torch.float32,
        save=save,
        labels=labels,
        is_stored=is_stored,
    )


def _model(
    config: RunConfig,
    score: ScoreModel | EpsFunction | None,
    options: Options | None,
    dataset: DataSet,
    schedule: NoiseSchedule,
) -> ScoreModel:
    """Make the score model: the registered one with its options, or that of the object given."""
    if score is None:
        return cast(ScoreModel, registry().get("score", config.score)(options, dataset))
    return score if isinstance(score, ScoreModel) else FunctionModel(score, dataset, schedule)


def _check_schedule(name: str, model: ScoreModel, schedule: NoiseSchedule) -> None:
    """Refuse a schedule other than the one the model requires."""
    wanted = model.traits.schedule()
    if wanted is None or (wanted.name, wanted.options) == (schedule.name, schedule.options):
        return
    choice = registry().chosen_text("schedule", wanted.name, wanted.options.model_dump(mode="json"))
    raise UsageError(
        f"Score model '{name}' was trained with the schedule '{wanted.name}', not with '{schedule.name}' as it is set "
        f"here; use {choice}."
    )


def _device(config: RunConfig, score: ScoreModel | EpsFunction | None, dataset: DataSet | None) -> torch.device:
    """The device of the images or the model given, if `device` is auto; refuses one that the model is not on."""
    given = dataset.images.device if dataset is not None else torch.device("cpu") if score is not None else None
    device = chosen_device(config.device, config.dtype, given)
    if config.device != "auto" and isinstance(score, ScoreModel) and score.dataset.images.device != device:
        raise UsageError(
            f"The score model's data are on {score.dataset.images.device}; use `device` auto, or move them."
        )
    return device


def _scales(
    config: RunConfig, model: ScoreModel, dataset: DataSet, levels: Sequence[Level], times: Sequence[float]
) -> tuple[tuple[float, ...], list[str]]:
    """Scale of each step, from noise to data, and notes for the user."""
    if not model.traits.has_scale:
        note = [f"Score model '{config.score}' has no locality scale; `scales` is not used."] if config.scales else []
        return (0,) * len(levels), note
    rising = levels[::-1]
    spec = config.scales or dataset.scales
    if spec is not None:
        return resolve_scales(spec, rising, model.traits.has_continuous_scale)[::-1], _boundary_note(spec, model)
    side = min(dataset.shape[1:])
    return coarse_to_fine(side, times[::-1], rising).scales[::-1], []


def _boundary_note(spec: str, model: ScoreModel) -> list[str]:
    """Say that a preset was made for another boundary than the model has."""
    preset, boundary = spec.strip(), getattr(model.options, "boundary", None)
    made_for = preset_boundary(preset) if preset in preset_names() else None
    if boundary is None or made_for in (None, boundary):
        return []
    return [
        f"The scales {preset} were made for boundary {made_for}, not {boundary}; use `score.boundary={made_for}` where "
        f"the score model has it, or scales calibrated with boundary {boundary}."
    ]


def _oddities(dataset: DataSet, scales: Sequence[float]) -> list[str]:
    """Notes on scales and data that are allowed but probably unintended."""
    notes, side = [], min(dataset.shape[1:])
    if dataset.range[0] < 0 <= extremes_of(dataset.images)[0]:
        notes.append(
            f"Data set '{dataset.name}' has no pixel below 0 in the range {dataset.range}; if 0 is meant to be black, "
            f"say so (`dataset.range=0,1`, where the data set has this option)."
        )
    if max(scales) > side:
        notes.append(f"Scales up to {max(scales):g} exceed the images' {side} pixels.")
    return notes
