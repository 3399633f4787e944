"""From a configuration to a plan of a calibration: names resolved, data loaded, everything checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mosaic.device import standard_torch
from mosaic.engine.windows import check_window_size
from mosaic.errors import UsageError
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.plan import CalibrationPlan
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.memory import threads_within
from mosaic.run.prepare import prepare
from mosaic.run.score import Score
from mosaic.storage.output import Output
from mosaic.train.checkpoint import Checkpoint, load_checkpoint
from mosaic.train.runs import boundary_of, labels_of, network_run

__all__ = ["all_sizes", "parse_sizes", "prepare_calibration"]

LARGEST = 9999  # largest scale allowed in a range, more than any image needs


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read scales to choose from: `3-17` or `3,5,9`.

    Raises
    ------
    UsageError
        If they are not odd, positive and rising.
    """
    try:
        if "-" in text:
            first, last = (int(part) for part in text.split("-"))
            sizes = tuple(range(first, min(last, LARGEST) + 1, 2))
        else:
            sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or list(sizes) != sorted(set(sizes)):
        raise UsageError(f"`sizes` '{text}' must be odd numbers: a range 3-17, or a rising list 3,5,9.")
    for size in sizes:
        check_window_size(size)
    return sizes


@standard_torch()
def prepare_calibration(
    config: CalibrationConfig,
    access: DataAccess,
    *,
    memory: str | float | None = None,
    network: Score | None = None,
    dataset: DataSet | None = None,
    output: Output | None = None,
) -> CalibrationPlan:
    """Resolve a configuration; what it leaves open is as the network was trained.

    Parameters
    ----------
    config : CalibrationConfig
        What is asked for.
    access : DataAccess
        Where data may be found.
    memory : str, optional
        Memory the machine may use, such as 2G; by default a quarter of the total.
    network : Score, optional
        Network to use in place of `config.checkpoint`, with its data.
    dataset : DataSet, optional
        Object to use in place of `config.dataset`.
    output : Output, optional
        Where the calibration is to be kept; refused here if it cannot be.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    if output is not None:
        output.check()
    if network is None:
        checkpoint = load_checkpoint(Path(config.checkpoint).expanduser())
        config, model = _with_defaults(config, checkpoint), None
        run = network_run(checkpoint.config, config.checkpoint, **_shared(config))
    else:
        model, dataset = network.model, network.model.dataset
        defaults = {"labels": config.labels or "none", "sizes": config.sizes or all_sizes(dataset.shape, None)}
        config = config.model_copy(update={"dataset": dataset.name, **defaults})
        run = RunConfig(score=config.checkpoint, **{**_shared(config), **network.settings()})
    options = registry().parse("score", config.score, config.score_options)  # before the data are read
    sizes = parse_sizes(str(config.sizes))
    plan = prepare(run, access, score=model, dataset=dataset, memory=memory)
    machine: ScoreModel = registry().get("score", config.score)(options, plan.dataset)
    if not machine.traits.has_scale:
        raise UsageError(f"Score model '{config.score}' has no locality scale to calibrate; name one that has.")
    notes = [*plan.notes, *machine.check(plan.levels, sizes, plan.labels)]
    config = config.model_copy(
        update={
            "dataset_options": plan.config.dataset_options,
            "score_options": options.model_dump(mode="json"),
            "sizes": ",".join(map(str, sizes)),
            "device": plan.config.device,
        }
    )
    size = replace(plan.size, largest_scale=max(sizes))
    threads = threads_within(memory, machine, size, config.score)
    return CalibrationPlan(config, plan, machine, sizes, threads, output, tuple(notes))


def _with_defaults(config: CalibrationConfig, checkpoint: Checkpoint) -> CalibrationConfig:
    """Fill in the settings not given from the training: data, boundary, labels and sizes."""
    trained = checkpoint.config
    boundary = boundary_of(trained, registry().get("score", config.score))
    changes = {
        "score_options": {**boundary, **config.score_options},
        "labels": config.labels or labels_of(trained),
        "sizes": config.sizes or all_sizes(checkpoint.shape, checkpoint.receptive_field()),
    }
    if config.dataset is None:
        options = {**trained.dataset_options, **config.dataset_options}
        changes |= {"dataset": trained.dataset, "dataset_options": options}
    return config.model_copy(update=changes)


def all_sizes(shape: tuple[int, int, int], receptive_field: int | None) -> str:
    """Give the setting `sizes` that tries all that are worth it.

    That is up to the network's receptive field, or to the side of its images (C, H, W), rounded down to an odd number.
    """
    side = (min(shape[1:]) - 1) | 1
    return f"3-{max(3, side if receptive_field is None else min(side, receptive_field))}"


def _shared(config: CalibrationConfig) -> dict[str, Any]:
    """Settings of the network's run that are the calibration's own."""
    names = ("steps", "samples", "batch_size", "seed", "device", "labels", "dataset", "dataset_options")
    return {name: getattr(config, name) for name in names}
