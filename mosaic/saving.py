"""What a run keeps of its posteriors beside their means, and at which steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic.config import RunConfig
from mosaic.diagnosis import Diagnosis
from mosaic.errors import UsageError, did_you_mean
from mosaic.schedule import Level
from mosaic.score import ScoreModel, score_from_denoised
from mosaic.ties import Source

__all__ = ["NEEDS_POSTERIOR", "SAVED", "kept_of", "saved_arrays", "saved_bytes", "what_to_save"]

# Of final images, where the provenance is kept.
SOURCE: dict[str, tuple[type, str]] = {
    "source_image": (np.int32, "training image of the window nearest to the pixel's; of equal ones the first"),
    "source_row": (np.int16, "row of its centre in that image"),
    "source_column": (np.int16, "column of its centre in that image"),
    "multiplicity": (np.int32, "number of candidates equal to it, itself included; 0 if not counted"),
}
# Name of an item: its variables at the steps asked for, with type and description; -1 or NaN at others.
SAVED: dict[str, dict[str, tuple[type | None, str]]] = {
    "provenance": {
        "candidate_image": (np.int32, "training image of the most probable candidate; of equal ones the first"),
        "candidate_row": (np.int16, "row of its centre in that image"),
        "candidate_column": (np.int16, "column of its centre in that image"),
        "candidate_weight": (np.float32, "posterior probability of that candidate; its equals have as much each"),
        "candidate_multiplicity": (np.int32, "number of candidates equal to it, itself included; 0 if not counted"),
    },
    "entropy": {"entropy": (np.float32, "entropy of the posterior")},
    "n_eff": {"n_eff": (np.float32, "effective number of candidates, exp of the entropy")},
    "score": {"score": (None, "score, grad log p_t(x_t)")},  # as precise as the states
}
UNITS = {"entropy": "nat"} | dict.fromkeys(
    ("source_row", "source_column", "candidate_row", "candidate_column"), "pixel"
)
NEEDS_POSTERIOR = ("provenance", "entropy", "n_eff")


def what_to_save(config: RunConfig, model: ScoreModel) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Resolve `save` and `save_steps`: items of `SAVED`, and step numbers, rising.

    Raises
    ------
    UsageError
        If an item or step does not exist, or the score model cannot tell it.
    """
    if config.save is None:
        return (("provenance",) if model.tells else ()), _steps(config)
    items = tuple(dict.fromkeys(item.strip() for item in config.save.split(",")))
    if items == ("none",):
        return (), _steps(config)
    if "none" in items:
        raise UsageError(f"--save '{config.save}': 'none' stands alone.")
    for item in items:
        if item not in SAVED:
            raise UsageError(
                f"--save '{config.save}': there is no '{item}'.{did_you_mean(item, SAVED)} Known: none, "
                f"{', '.join(SAVED)}."
            )
        if item in NEEDS_POSTERIOR and not model.tells:
            raise UsageError(
                f"--save {item}: score model '{config.score}' has no posterior over candidates that could tell it; "
                f"leave it out."
            )
    return tuple(item for item in SAVED if item in items), _steps(config)


def _steps(config: RunConfig) -> tuple[int, ...]:
    if config.save_steps in ("last", "all"):
        return tuple(range(config.steps)) if config.save_steps == "all" else (config.steps - 1,)
    try:
        steps = sorted({int(item) for item in config.save_steps.split(",")})
    except ValueError:
        steps = [-1]
    if not (steps[0] >= 0 and steps[-1] < config.steps):
        raise UsageError(
            f"--save-steps '{config.save_steps}' must be last, all, or a list of steps from 0 to {config.steps - 1}."
        )
    return tuple(steps)


def saved_bytes(items: Sequence[str], shape: tuple[int, int, int], element: int) -> int:
    """Bytes that the items take for each sample and step, of images (C, H, W) and states of `element` bytes."""
    channels, height, width = shape
    kinds = [kind for item in items for kind, _ in SAVED[item].values()]
    return height * width * sum(np.dtype(kind).itemsize if kind else channels * element for kind in kinds)


def kept_of(
    items: Sequence[str], x: Tensor, denoised: Tensor, level: Level, found: Diagnosis | None
) -> dict[str, np.ndarray]:
    """Arrays of the items' variables at one step: (B, H, W), the score (B, C, H, W)."""
    values: dict[str, Tensor] = {}
    if "score" in items:
        values["score"] = score_from_denoised(x, denoised, level)
    if found is not None:
        source, entropy = found.source, found.entropy
        values |= {"candidate_image": source.image, "candidate_row": source.row, "candidate_column": source.column}
        values |= {"candidate_weight": found.weight, "candidate_multiplicity": source.multiplicity}
        values |= {"entropy": entropy, "n_eff": torch.exp(entropy)}
    wanted = {name: kind for item in items for name, (kind, _) in SAVED[item].items()}
    return {name: values[name].cpu().numpy().astype(kind or x.cpu().numpy().dtype) for name, kind in wanted.items()}


def saved_arrays(
    kept: Mapping[int, Mapping[str, np.ndarray]], steps: int, source: Source | None
) -> dict[str, tuple[Any, ...]]:
    """Variables along (sample, step, ...) of what was kept at some steps, and along (sample, ...) of final images."""
    found: dict[str, tuple[Any, ...]] = {}
    words = {name: words for item in SAVED.values() for name, (_, words) in item.items()}
    for name, first in next(iter(kept.values()), {}).items():
        fill = np.nan if first.dtype.kind == "f" else -1
        array = np.full((len(first), steps, *first.shape[1:]), fill, first.dtype)
        for step, values in kept.items():
            array[:, step] = values[name]
        dims = ("sample", "step", *(("channel",) if first.ndim == 4 else ()), "height", "width")
        found[name] = (dims, array, {"long_name": words[name], "units": UNITS.get(name, "1")})
    if source is not None:
        places = (source.image, source.row, source.column, source.multiplicity)
        for (name, (kind, text)), tensor in zip(SOURCE.items(), places, strict=True):
            attrs = {"long_name": text, "units": UNITS.get(name, "1")}
            found[name] = (("sample", "height", "width"), tensor.cpu().numpy().astype(kind), attrs)
    return found
