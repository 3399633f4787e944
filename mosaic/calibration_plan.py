"""From settings to a calibration ready to start: names resolved, data loaded, everything checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mosaic.calibration_config import CalibrationConfig
from mosaic.checkpoint import Checkpoint, load_checkpoint
from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess, DataSet
from mosaic.errors import UsageError
from mosaic.memory import fit
from mosaic.plan import Plan, prepare
from mosaic.plugins import registry
from mosaic.score import ScoreModel
from mosaic.train_config import TrainConfig
from mosaic.windows import check_window_size

__all__ = ["CalibrationPlan", "parse_sizes", "prepare_calibration"]

LARGEST = 9999  # what a range of scales may reach: more than any image needs


@dataclass(frozen=True)
class CalibrationPlan:
    """A calibration, resolved and checked.

    Attributes
    ----------
    network : Plan
        The network's run.
    machine : ScoreModel
        The score model whose scales are chosen, on the same data.
    sizes : tuple of int
        The scales to choose from, rising.
    """

    config: CalibrationConfig
    network: Plan
    machine: ScoreModel
    sizes: tuple[int, ...]


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
        raise UsageError(f"--sizes '{text}' must be odd numbers: a range 3-17, or a rising list 3,5,9.")
    for size in sizes:
        check_window_size(size)
    return sizes


def prepare_calibration(
    layers: Sequence[Mapping[str, Any]],
    access: DataAccess,
    memory: str | None = None,
    dataset: DataSet | None = None,
) -> CalibrationPlan:
    """Resolve settings, given in rising order of precedence; what they leave open is as the network was trained.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    config = layered(CalibrationConfig, *layers)
    checkpoint = load_checkpoint(Path(config.checkpoint).expanduser())
    trained = checkpoint.config
    if config.dataset is None:
        options = {**trained.dataset_options, **config.dataset_options}
        config = config.model_copy(update={"dataset": trained.dataset, "dataset_options": options})
    kind = registry().get("score", config.score)
    options = kind.Options.parse({**_boundary(kind, checkpoint), **config.score_options}, f"score.{config.score}")
    if not kind.has_scale:
        raise UsageError(f"Score model '{config.score}' has no locality scale to calibrate; els and ls have one.")
    config = config.model_copy(update={"labels": config.labels or ("random" if checkpoint.is_conditional else "none")})
    sizes = parse_sizes(config.sizes or f"3-{max(3, _largest(checkpoint))}")
    network = _network_plan(config, trained, access, dataset)
    machine = kind(options, network.dataset)
    machine.check(network.levels, sizes, network.labels)
    machine = fit(replace(network, model=machine, scales=(sizes[-1],) * len(network.levels)), memory).model
    config = config.model_copy(
        update={
            "dataset_options": network.config.dataset_options,
            "score_options": options.model_dump(mode="json"),
            "sizes": ",".join(map(str, sizes)),
            "device": network.config.device,
        }
    )
    return CalibrationPlan(config, network, machine, sizes)


def _boundary(kind: type[ScoreModel], checkpoint: Checkpoint) -> dict[str, str]:
    """The machine's boundary, by default the network's padding, where both have one."""
    padding = checkpoint.config.network_options.get("padding")
    return {"boundary": padding} if padding is not None and "boundary" in kind.Options.model_fields else {}


def _largest(checkpoint: Checkpoint) -> int:
    """Largest scale worth trying: the network's receptive field, or the image's side, to the odd number below."""
    side = (min(checkpoint.shape[1:]) - 1) | 1
    return side if checkpoint.receptive_field is None else min(side, checkpoint.receptive_field)


def _network_plan(config: CalibrationConfig, trained: TrainConfig, access: DataAccess, dataset: DataSet | None) -> Plan:
    """The run of the network that the machine is compared along."""
    run = RunConfig(
        score="network",
        score_options={"checkpoint": config.checkpoint},
        dataset=config.dataset or trained.dataset,
        dataset_options=config.dataset_options,
        schedule=trained.schedule,
        schedule_options=trained.schedule_options,
        **{name: getattr(config, name) for name in ("steps", "samples", "batch_size", "seed", "device", "labels")},
    )
    return prepare(run, access, dataset=dataset)
