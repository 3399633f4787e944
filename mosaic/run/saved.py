"""What a run keeps of its posteriors, apart from their means, and at which steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mosaic.errors import UsageError, did_you_mean
from mosaic.interfaces.attribution import Attribution, Source
from mosaic.interfaces.estimate import Estimate
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import ScoreModel, score_from_denoised
from mosaic.run.config import RunConfig
from mosaic.run.settings import refuse_unused
from mosaic.storage.schema import SAVED, SAVED_WITH_IMAGE

__all__ = ["NEEDS_POSTERIOR", "estimated_arrays", "record_step", "resolve_save", "saved_arrays", "saved_bytes"]

NEEDS_POSTERIOR = ("provenance", "entropy", "n_eff")


def resolve_save(config: RunConfig, model: ScoreModel) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Resolve `save` and `save_steps`: items of the schema's `SAVED`, and step numbers, rising.

    Raises
    ------
    UsageError
        If an item or step does not exist, or the score model has no posterior to take it from; or if steps are given,
        and nothing is saved at them.
    """
    items, steps = _items(config, model), _steps(config)
    if not items:
        refuse_unused({"save_steps": config.save_steps != "last"}, "nothing is saved at these steps")
    return items, steps


def _items(config: RunConfig, model: ScoreModel) -> tuple[str, ...]:
    can_attribute = model.traits.has_attribution
    if config.save is None:
        return ("provenance",) if can_attribute else ()
    items = tuple(dict.fromkeys(item.strip() for item in config.save.split(",")))
    if items == ("none",):
        return ()
    if "none" in items:
        raise UsageError(f"`save` '{config.save}': 'none' stands alone.")
    for item in items:
        if item not in SAVED:
            raise UsageError(
                f"`save` '{config.save}': there is no '{item}'.{did_you_mean(item, SAVED)} Known: none, "
                f"{', '.join(SAVED)}."
            )
        if item in NEEDS_POSTERIOR and not model.traits.is_exact:
            raise UsageError(
                f"`save` {item}: score model '{config.score}' is not exact as it is set here: it compares only part of "
                f"the candidates; leave it out, or have all compared (`score.tolerance=0`)."
            )
        if item in NEEDS_POSTERIOR and not can_attribute:
            raise UsageError(
                f"`save` {item}: score model '{config.score}' has no posterior over candidates to take it from; leave "
                f"it out."
            )
    return tuple(item for item in SAVED if item in items)


def _steps(config: RunConfig) -> tuple[int, ...]:
    if config.save_steps in ("last", "all"):
        return tuple(range(config.steps)) if config.save_steps == "all" else (config.steps - 1,)
    try:
        steps = sorted({int(item) for item in config.save_steps.split(",")})
    except ValueError:
        steps = [-1]
    if not (steps[0] >= 0 and steps[-1] < config.steps):
        raise UsageError(
            f"`save_steps` '{config.save_steps}' must be last, all, or a list of steps from 0 to {config.steps - 1}."
        )
    return tuple(steps)


def saved_bytes(items: Sequence[str], shape: tuple[int, int, int], element: int) -> int:
    """Bytes that the items take for each sample and step, of images (C, H, W) and states of `element` bytes."""
    channels, height, width = shape
    dtypes = [variable.dtype for item in items for variable in SAVED[item].values()]
    return height * width * sum(np.dtype(dtype).itemsize if dtype else channels * element for dtype in dtypes)


def record_step(
    items: Sequence[str], x: Tensor, denoised: Tensor, level: Level, attribution: Attribution | None
) -> dict[str, np.ndarray]:
    """Arrays of the items' variables at one step: (B, H, W), the score (B, C, H, W)."""
    values: dict[str, Tensor] = {}
    if "score" in items:
        values["score"] = score_from_denoised(x, denoised, level)
    if attribution is not None:
        source, entropy = attribution.source, attribution.entropy
        values |= {"candidate_image": source.image, "candidate_row": source.row, "candidate_column": source.column}
        values |= {"candidate_weight": attribution.weight, "candidate_multiplicity": source.multiplicity}
        values |= {"entropy": entropy, "n_eff": torch.exp(entropy)}
    wanted = {name: variable.dtype for item in items for name, variable in SAVED[item].items()}
    return {name: values[name].cpu().numpy().astype(kind or x.cpu().numpy().dtype) for name, kind in wanted.items()}


def estimated_arrays(estimates: Sequence[Sequence[Estimate]]) -> dict[str, np.ndarray]:
    """Arrays (sample, step) of how good x0hat is, from the estimates of each step's evaluations; none where exact.

    Shares are means over pixels and over a step's evaluations, the error is the largest.
    """
    if not all(estimates):
        return {}

    def by_step(of: Callable[[Estimate], Tensor], reduce: Callable[..., np.ndarray]) -> np.ndarray:
        return np.stack([reduce([of(each).numpy() for each in step], axis=0) for step in estimates], axis=1)

    return {
        "compared_share": by_step(lambda each: each.compared, np.mean),
        "stopped_share": by_step(lambda each: each.stopped.double().mean((1, 2)), np.mean),
        "estimated_error": by_step(lambda each: each.error.amax((1, 2)), np.max),
    }


def saved_arrays(
    recorded: Mapping[int, Mapping[str, np.ndarray]], steps: int, source: Source | None
) -> dict[str, np.ndarray]:
    """Arrays (sample, step, ...) of what was recorded at some steps, and (sample, ...) of the final images' sources."""
    fills = {name: variable.fill for item in SAVED.values() for name, variable in item.items()}
    arrays: dict[str, np.ndarray] = {}
    for name, first in next(iter(recorded.values()), {}).items():
        arrays[name] = np.full((len(first), steps, *first.shape[1:]), fills[name], first.dtype)
        for step, values in recorded.items():
            arrays[name][:, step] = values[name]
    if source is not None:
        parts = (source.image, source.row, source.column, source.multiplicity)
        for (name, variable), tensor in zip(SAVED_WITH_IMAGE.items(), parts, strict=True):
            arrays[name] = tensor.cpu().numpy().astype(variable.dtype)
    return arrays
