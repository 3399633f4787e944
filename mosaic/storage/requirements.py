"""What a use needs of a stored run: found by name, in the form of the schema, or refused in one sentence.

A run may have been changed with xarray since it was stored: axes turned, samples or steps selected, variables,
coordinates and attributes dropped or replaced. Whoever reads a run asks for it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from mosaic.errors import DataError, UsageError
from mosaic.storage.schema import (
    ATTRIBUTES,
    ESTIMATED,
    SAVED,
    SAVED_WITH_IMAGE,
    SETTINGS,
    TABLES,
    TRAJECTORY_SCHEMA,
    decoded,
    with_own_axes,
)

__all__ = [
    "as_run",
    "attribute_of",
    "check_samples",
    "check_steps",
    "exactness_of",
    "known_values",
    "require",
    "setting_of",
    "tensor_of",
    "title_of",
]

TABLE = TABLES[TRAJECTORY_SCHEMA]
EXACT = 2**53  # up to it every whole number is a float64


def as_run(dataset: xr.Dataset) -> xr.Dataset:
    """Give a data set the axes of a run by their names, in the schema's order; a selected sample is a run of one.

    What is not a variable of a run stays as it is.
    """
    dataset = with_own_axes(dataset, TABLE)
    if "sample" in dataset.coords and "sample" not in dataset.dims:
        single = {
            name: ("sample", [dataset[name].item()])
            for name in ("seed", "label")
            if name in dataset.coords and dataset[name].ndim == 0
        }
        dataset = dataset.drop_vars(single).expand_dims("sample").assign_coords(single)
    turned = {
        name: variable.transpose(*_dims_of(str(name)))
        for name, variable in dataset.data_vars.items()
        if variable.dims != _dims_of(str(name)) and set(variable.dims) == set(_dims_of(str(name)))
    }
    return dataset.assign(turned) if turned else dataset


def _dims_of(name: str) -> tuple[str, ...]:
    variable = TABLE.get(name)
    return () if variable is None else variable.dims


def require(run: xr.Dataset, names: Sequence[str], what: str = "run") -> xr.Dataset:
    """Refuse a run that lacks variables or coordinates, or has them in another form; reads no values.

    Parameters
    ----------
    run : xarray.Dataset
        A trajectory, or one that was changed.
    names : sequence of str
        What is needed, by the names of the schema.
    what : str
        What to call the run in a message.

    Returns
    -------
    xarray.Dataset
        The run, as `as_run` gives it.

    Raises
    ------
    DataError
        With what is lacking or odd, and what to do.
    """
    if not isinstance(run, xr.Dataset):
        raise UsageError(f"The {what} must be a stored run (mosaic.open reads one), not a {type(run).__name__}.")
    who, run = _named(run, what), as_run(run)
    for name in names:
        variable = TABLE[name]
        if name not in run.variables:  # xarray gives numbers from 0 on for an axis without a coordinate
            raise DataError(f"{who} lacks '{name}' ({variable.description}); {_remedy(name)}.")
        given = run[name]
        if set(given.dims) != set(variable.dims):
            raise DataError(
                f"{who} has '{name}' along ({', '.join(map(str, given.dims))}), not ({', '.join(variable.dims)}); "
                f"select with lists, as in run.isel(step=[0]), and give axes their names again."
            )
        if given.dtype.kind not in "iuf":
            raise DataError(f"{who} has '{name}' of type {given.dtype}, not numbers; {_remedy(name)}.")
        for axis, size in given.sizes.items():
            if size == 0:
                raise DataError(f"{who} holds nothing along '{axis}'; select at least one.")
    return run


def known_values(run: xr.Dataset, name: str, what: str = "run") -> xr.DataArray:
    """Read a variable or coordinate of a run: in the schema's order of axes, as numbers to compute with, all known.

    Arguments as for `require`.

    Raises
    ------
    DataError
        As `require`; also if a value is missing, or is one that the variable cannot have.
    """
    given, variable = require(run, [name], what)[name], TABLE[name]
    whole: NDArray[Any] = np.asarray(given.values)
    if whole.dtype.kind == "f" and whole.dtype not in (np.float32, np.float64):
        whole = whole.astype(np.float64)
    values, bad = whole, np.zeros(whole.shape, bool)
    if variable.dtype is None or np.dtype(variable.dtype).kind == "f":
        whole = whole if whole.dtype.kind == "f" else whole.astype(np.float64)
        bad = ~np.isfinite(whole)
    elif whole.dtype.kind == "f":  # as xarray makes integers where it fills in NaN
        bad = ~((abs(whole) <= EXACT) & (whole == np.floor(whole)))
        whole = np.where(bad, 0, whole).astype(np.int64)
    bad = bad | (whole < variable.least) | (whole > variable.most)
    if bad.any():
        first = values[bad].ravel()[0]
        raise DataError(
            f"{_named(run, what)} holds {int(bad.sum())} values of '{name}' that are missing or odd, the first {first} "
            f"({variable.description}); {_remedy(name)}."
        )
    return given.copy(data=whole)


def tensor_of(run: xr.Dataset, name: str, what: str = "run") -> torch.Tensor:
    """Give `known_values` as a tensor, in whatever way the run was sliced."""
    return torch.from_numpy(np.require(known_values(run, name, what).values, requirements=["C", "W"]))


def attribute_of(run: xr.Dataset, name: str, what: str = "run") -> Any:
    """Read a root attribute of a run, JSON decoded.

    Raises
    ------
    DataError
        If it is not there, or not what the schema says.
    """
    if name not in run.attrs:
        raise DataError(
            f"{_named(run, what)} lacks the attribute '{name}' ({_described(name)}): it is not a run of mosaic, or "
            f"not all of one; copy the attributes of the stored run (`run.assign_attrs`)."
        )
    try:
        return decoded(name, run.attrs[name])
    except ValueError as error:
        raise DataError(f"{_named(run, what)} is damaged: {error}.") from None


def setting_of(run: xr.Dataset, name: str, what: str = "run") -> Any:
    """Read a setting of a run's configuration, one of the schema's `SETTINGS`; errors as for `attribute_of`."""
    configuration = attribute_of(run, "configuration", what)
    try:
        return TypeAdapter(SETTINGS[name]).validate_python(configuration.get(name), strict=True)
    except ValidationError:
        raise DataError(
            f"{_named(run, what)} is damaged: its attribute 'configuration' has {configuration.get(name)!r} as "
            f"'{name}'; copy the attributes of the stored run."
        ) from None


def exactness_of(run: xr.Dataset) -> str:
    """Say that the x0hat of a run are not exact; empty where they are. No values are read."""
    estimated = all(name in run for name in ESTIMATED)
    return (
        "not exact: x0hat estimated from part of the training images; see compared_share, by step" if estimated else ""
    )


def title_of(run: xr.Dataset) -> str:
    """What a run is of, for people: score and data; empty where it does not say."""
    title = str(run.attrs.get("title", ""))
    return title.rpartition(": ")[0] or title  # names may hold colons


def check_samples(run: xr.Dataset, samples: Sequence[int]) -> None:
    """Refuse samples that are not in the run, and none at all.

    Raises
    ------
    UsageError
        With the samples that the run has.
    """
    available = require(run, ("image",)).sizes["sample"]
    if not samples:
        raise UsageError(f"No sample is chosen; the run has samples 0 to {available - 1}.")
    for sample in samples:
        if not 0 <= sample < available:
            raise UsageError(f"There is no sample {sample}; the run has samples 0 to {available - 1}.")


def check_steps(run: xr.Dataset, *, all_steps: bool = False) -> None:
    """Refuse a run whose last step is not the flow's last one; or which does not hold all of them, in order.

    Raises
    ------
    DataError
        Also if this is not a run.
    """
    total, steps = setting_of(run, "steps"), known_values(run, "step").values.tolist()
    if steps[-1] != total - 1 or (all_steps and steps != list(range(total))):
        needed = f"all steps of the run, 0 to {total - 1}" if all_steps else f"the run to its end, step {total - 1}"
        raise DataError(f"{_named(run, 'run')} has steps {_listed(steps)}; this needs {needed}, in order.")


def _named(run: xr.Dataset, what: str) -> str:
    file = run.encoding.get("source")
    return f"The {what} from '{file}'" if file else f"The {what}"


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:8])) + ", ..." * (len(steps) > 8)


def _described(name: str) -> str:
    return ATTRIBUTES[name].removesuffix(", JSON")


def _remedy(name: str) -> str:
    """What to do about a variable that is lacking, or whose values are."""
    items = [item for item, variables in SAVED.items() if name in variables]
    if name in SAVED_WITH_IMAGE:
        return "run with `save` provenance, which needs a score model with a posterior over candidates"
    if items:
        return f"run with `save` {items[0]} and `save_steps` all"
    return "use the run as it was stored"
