"""Trajectories: the fixed schema of a stored run, as a plain `xarray.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

import mosaic.accessor  # noqa: F401 - adds `run.mosaic`
from mosaic.errors import DataError
from mosaic.schedule import Level

__all__ = ["SCHEMA", "assemble", "levels_of", "open_stored", "open_trajectory"]

SCHEMA = "mosaic-trajectory/1"

_VARIABLES = {
    "state": (
        ("sample", "step", "channel", "height", "width"),
        "noisy image x_t where the score was evaluated",
    ),
    "denoised": (("sample", "step", "channel", "height", "width"), "posterior mean x0hat at that state"),
    "image": (("sample", "channel", "height", "width"), "final image at t = 0"),
}
_COORDINATES = {
    "seed": ("sample", "seed of the sample's initial noise"),
    "label": ("sample", "class the sample was conditioned on, -1 for none"),
    "time": ("step", "time t of the schedule, 1 at pure noise"),
    "signal": ("step", "signal a of the forward process x_t = a x_0 + s eps"),
    "noise": ("step", "noise s of the forward process x_t = a x_0 + s eps"),
    "scale": ("step", "locality scale k, window size in pixels, 0 where the model has none"),
}


def assemble(
    states: Sequence[Tensor],
    denoised: Sequence[Tensor],
    sample: Mapping[str, Sequence[int]],
    steps: Mapping[str, Sequence[float] | Sequence[int]],
    saved: Mapping[str, tuple[Any, ...]] | None = None,
) -> xr.Dataset:
    """Make the data set of one batch.

    Parameters
    ----------
    states, denoised : sequences of Tensor (B, C, H, W)
        One entry a step, from noise to data; float32, or float64 where the run computed in it.
    sample : mapping
        `sample` (index in the run), `seed` and `label` of each sample.
    steps : mapping
        `time`, `signal`, `noise` and `scale` of each step.
    saved : mapping, optional
        More variables, ready made.
    """
    arrays = {
        "state": np.stack([x.cpu().numpy() for x in states], axis=1),
        "denoised": np.stack([x.cpu().numpy() for x in denoised], axis=1),
        "image": denoised[-1].cpu().numpy(),
    }
    data = {
        name: (dims, arrays[name], {"long_name": long_name, "units": "1"})
        for name, (dims, long_name) in _VARIABLES.items()
    }
    values: dict[str, Any] = {**sample, **steps}
    coords: dict[str, Any] = {
        name: (
            dim,
            _column(values[name]),
            {"long_name": long_name, "units": "pixel" if name == "scale" else "1"},
        )
        for name, (dim, long_name) in _COORDINATES.items()
    }
    coords["sample"] = (
        "sample",
        _column(sample["sample"]),
        {"long_name": "index of the sample in the run", "units": "1"},
    )
    coords["step"] = (
        "step",
        np.arange(len(states)),
        {"long_name": "step of the reverse flow, 0 at noise", "units": "1"},
    )
    return xr.Dataset({**data, **(saved or {})}, coords=coords)


def _column(values: Sequence[float] | Sequence[int]) -> Any:
    array = np.asarray(values)
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def levels_of(trajectory: xr.Dataset) -> list[Level]:
    """Noise levels of a trajectory's steps, from noise to data."""
    pairs = zip(trajectory["signal"].values, trajectory["noise"].values, strict=True)
    return [Level(float(signal), float(noise)) for signal, noise in pairs]


def open_trajectory(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored run, lazily; `xarray.open_dataset` does as well, but this checks that it is one.

    Raises
    ------
    DataError
        If there is no such file, or it is no trajectory of a schema known here.
    """
    stored = open_stored(Path(path), (SCHEMA,), "a stored run")
    if any(name not in stored for name in _VARIABLES):
        stored.close()
        raise DataError(f"'{path}' is not a stored run: it lacks one of {', '.join(_VARIABLES)}.")
    return stored


def open_stored(path: Path, schemas: Sequence[str], what: str) -> xr.Dataset:
    """Open a netCDF file that `mosaic` wrote, lazily.

    Raises
    ------
    DataError
        If there is no such file, or its root has none of `schemas`: then it is not `what` was asked for.
    """
    if path.is_dir():
        raise DataError(f"'{path}' is a folder, not {what}.")
    if not path.is_file():
        parts = path.with_name(path.name + ".parts")
        begun = (
            f"; '{parts}' holds unfinished work: repeat the command that began it with --resume"
            if parts.exists()
            else ""
        )
        raise DataError(f"There is no file '{path}'{begun}.")
    try:
        stored = xr.open_dataset(path, engine="netcdf4")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"'{path}' is not a readable netCDF file ({reason}).") from None
    found = str(stored.attrs.get("schema", ""))
    if found not in schemas:
        stored.close()
        raise DataError(f"'{path}' is not {what}: its schema is '{found}', not {' or '.join(map(repr, schemas))}.")
    return stored
