"""From a configuration to a plan of a calibration: names resolved, data loaded, everything checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.plan import CalibrationPlan
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.loading import registry
from mosaic.run.memory import NotEnoughMemory, threads_within
from mosaic.run.prepare import prepare
from mosaic.run.score import Score
from mosaic.sampling.scales import LARGEST, as_scale
from mosaic.storage.output import Output
from mosaic.train.runs import network_runs

__all__ = ["all_sizes", "parse_sizes", "prepare_calibration"]

RATIO = 1.2  # of neighbouring scales in a range, if the scale is continuous; a parabola finds those between


def parse_sizes(text: str, continuous: bool = False) -> tuple[float, ...]:
    """Read scales to choose from: `3-17` or `3,5,9`.

    A range goes up by 2, or of a `continuous` scale by about a fifth each. The score model's `check` says which numbers
    its scale may be.

    Raises
    ------
    UsageError
        If they are not numbers that a scale may be, rising.
    """
    number: Callable[[str], float] = float if continuous else int
    try:
        parts = [number(part) for part in text.split("-" if "-" in text else ",")]
        sizes = tuple(map(as_scale, _range(*parts, continuous=continuous) if "-" in text else parts))
    except (TypeError, ValueError, OverflowError):
        sizes = ()
    if not sizes or list(sizes) != sorted(set(sizes)) or not 0 < sizes[0] <= sizes[-1] <= LARGEST:
        numbers = "positive numbers" if continuous else "whole numbers from 1 on"
        raise UsageError(f"`sizes` '{text}' must be {numbers}: a range 3-17, or a rising list 3,5,9.")
    return sizes


def _range(first: float, last: float, *, continuous: bool) -> Iterable[float]:
    if not continuous:
        return range(int(first), int(min(last, LARGEST)) + 1, 2)
    if not 0 < first <= last:
        return []
    count = round(math.log(min(last, LARGEST) / first) / math.log(RATIO)) + 1
    numbers = [first] if first == last else np.geomspace(first, min(last, LARGEST), max(2, count)).tolist()
    return [round(number, 6) for number in numbers]


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
    given, given_config = config.dataset if dataset is None else dataset, config
    runs = network_runs(
        config.checkpoint if network is None else network, access, dataset=given, dataset_options=config.dataset_options
    )
    options = {**runs.boundary_for(config.score), **config.score_options}
    options = registry().parse("score", config.score, options)  # before the data are read
    if config.sizes is not None:
        parse_sizes(config.sizes, continuous=True)  # before the data are read, which can take long
    images = runs.model.dataset if dataset is None and runs.model is not None else dataset
    plan = prepare(runs.own(**_shared(config)), access, score=runs.model, dataset=images, memory=memory)
    machine: ScoreModel = registry().get("score", config.score)(options, plan.dataset)
    if not machine.traits.has_scale:
        raise UsageError(f"Score model '{config.score}' has no locality scale to calibrate; name one that has.")
    continuous = machine.traits.has_continuous_scale
    sizes = parse_sizes(config.sizes or all_sizes(plan.dataset.shape, runs.receptive_field, continuous), continuous)
    notes = [*plan.notes, *machine.check(plan.levels, sizes, plan.labels)]
    config = config.model_copy(
        update={
            "dataset": plan.config.dataset,
            "dataset_options": plan.config.dataset_options,
            "labels": plan.config.labels,
            "score_options": options.model_dump(mode="json"),
            "sizes": ",".join(map(str, sizes)),
            "device": plan.config.device,
        }
    )
    size = replace(plan.size, largest_scale=max(sizes))
    try:
        threads = threads_within(memory, machine, size, config.score)
    except NotEnoughMemory:
        if images is not None or access.pieces:
            raise
        return prepare_calibration(
            given_config, replace(access, pieces=True), memory=memory, network=network, output=output
        )
    named = network is None and (dataset is None or dataset.is_as_loaded)
    return CalibrationPlan(config, plan, machine, sizes, threads, output, tuple(notes), access if named else None)


def all_sizes(shape: tuple[int, int, int], receptive_field: int | None, continuous: bool = False) -> str:
    """Give the setting `sizes` that tries all that are worth it.

    That is from 3 (1 if the scale is `continuous`) up to the network's receptive field, or to the side of its images
    (C, H, W), rounded down to an odd number.
    """
    side = (min(shape[1:]) - 1) | 1
    return f"{1 if continuous else 3}-{max(3, side if receptive_field is None else min(side, receptive_field))}"


def _shared(config: CalibrationConfig) -> dict[str, Any]:
    """Settings of the network's run that are the calibration's own."""
    names = ("steps", "samples", "batch_size", "seed", "device", "labels", "dataset", "dataset_options")
    return {name: getattr(config, name) for name in names}
