"""What a report shows of a run, as a mapping that JSON can hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.storage.indexes import evenly_spread
from mosaic.storage.requirements import (
    attribute_of,
    check_steps,
    exactness_of,
    known_values,
    require,
    setting_of,
    title_of,
)
from mosaic.view.images import class_of
from mosaic.view.report.encoding import picture_of
from mosaic.view.report.sources import Training, keeps_provenance, provenance_of, steps_kept, training_of

__all__ = ["NEEDED", "contents_of"]

NEEDED = ("state", "denoised", "image", "time", "scale", "sample", "label")
FACTS = (
    "score",
    "dataset",
    "schedule",
    "sampler",
    "steps",
    "seed",
    "score_options",
    "dataset_options",
    "sampler_options",
    "scales",
)


def contents_of(
    run: xr.Dataset, name: str, samples: list[int], training: Training | None, frames: int
) -> dict[str, Any]:
    """Collect what a report shows of a run.

    Parameters
    ----------
    run : xarray.Dataset
        A trajectory.
    name : str
        What it is called.
    samples : list of int
        Positions along `sample`.
    training : Training, optional
        Its training set; without it no training images are shown.
    frames : int
        Steps of the flow shown, at most.

    Raises
    ------
    DataError
        If the run does not hold what is shown.
    """
    low, high = attribute_of(run, "dataset_range")
    run = require(run, NEEDED)
    check_steps(run)
    chosen = run.isel(sample=samples)
    steps = _frames(chosen, frames)
    states, denoised = (known_values(chosen.isel(step=steps), variable).values for variable in ("state", "denoised"))
    times, scales = known_values(run, "time").values, known_values(run, "scale").values.round(2)
    numbers = known_values(run, "step").values + 1
    images = known_values(chosen, "image").values
    # All frames beside each other, what was denoised below.
    films = [
        np.concatenate([np.concatenate(list(row), 2) for row in pair], 1) for pair in zip(states, denoised, strict=True)
    ]
    contents = {
        "name": name,
        "title": title_of(run),
        "facts": _facts(run),
        "shape": [run.sizes[axis] for axis in ("channel", "height", "width")],
        "samples": known_values(chosen, "sample").values.tolist(),
        "labels": [class_of(run, label) for label in known_values(chosen, "label").values.tolist()],
        "span": high - low,
        "steps": [len(steps), run.sizes["step"]],
        "last_scale": float(scales[-1]),
        "total": setting_of(run, "steps"),
        "numbers": numbers[steps].tolist(),
        "times": times[steps].round(4).tolist(),
        "scales": scales[steps].tolist(),
        "course": {"numbers": numbers.tolist(), "scales": scales.tolist()},
        "boundary": setting_of(run, "score_options").get("boundary"),
        "films": [picture_of(film, low, high) for film in films],
        "finals": [picture_of(image, low, high) for image in images],
    }
    if training is not None:
        contents["training"] = training_of(chosen, steps, training, low, high)
    if keeps_provenance(run):
        contents["provenance"] = provenance_of(chosen, steps, training.dataset if training else None, high - low)
    return contents


def _frames(run: xr.Dataset, count: int) -> NDArray[np.int64]:
    """Steps to show: first, last, and of those at which candidates are kept (else of all) as many as there is room."""
    total = run.sizes["step"]
    held = steps_kept(run)
    wanted = held if len(held) > 1 else list(range(total))
    spread = np.array(wanted)[evenly_spread(len(wanted), count)]
    return np.unique([0, total - 1, *held[:1], *spread]).astype(np.int64)


def _facts(run: xr.Dataset) -> list[list[str]]:
    """Where the run came from, as pairs of name and value."""
    configuration = attribute_of(run, "configuration")
    pairs = [[key, configuration[key]] for key in FACTS if configuration.get(key) not in (None, {})]
    made_by = ("created", "mosaic_version", "torch_version", "device", "command_line")
    pairs += [[key, str(run.attrs[key])] for key in made_by if key in run.attrs]
    pairs += [["exactness", exactness_of(run)]] if exactness_of(run) else []
    pairs += [["dataset_fingerprint", attribute_of(run, "dataset_fingerprint")]]
    return [[key, value if isinstance(value, str) else json.dumps(value)] for key, value in pairs]
