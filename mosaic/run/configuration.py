"""Base class of configurations: what is a text on a command line may be a list, a number or an array in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import model_validator

from mosaic.errors import UsageError
from mosaic.interfaces.options import Options

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from torch import Tensor

    from mosaic.sampling.scales import ScaleSchedule

    # What a setting that is stored as a text takes beside one.
    Values = (
        float
        | PathLike[str]
        | Sequence[str]
        | Sequence[float]
        | np.ndarray[Any, Any]
        | Tensor
        | xr.DataArray
        | xr.Dataset
        | ScaleSchedule
    )

__all__ = ["OTHERS", "Configuration", "as_text"]

OTHERS = "*"
"""Stands for all that a setting which is given by names does not name."""


class Configuration(Options):
    """Base class of configurations. Lists, numbers and arrays become the text that a setting is stored as."""

    @model_validator(mode="before")
    @classmethod
    def _written_as_text(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {key: as_text(cls, key, value) for key, value in values.items()}

    @classmethod
    def accepts(cls, name: str) -> str:
        """Write what a setting takes as an annotation; `Values` are numbers, paths, lists and arrays."""
        text = super().accepts(name).replace("Mapping[str, str]", "Mapping[str, str | Values]")
        if f"{name}_options" in cls.model_fields:  # the name of a plugin
            return text
        if name in ("device", "dtype"):
            return f"{text} | torch.{name}"
        return text.replace("str", "str | Values", 1) if _takes_text(cls, name) else text


def as_text(model: type[Options], key: str, value: Any) -> Any:
    """Write a value as the text that a setting takes: a list as `1,2,3`, a number, a path or a torch device as itself.

    Where a setting takes texts by names, so does each value of a mapping. What is neither stays as it is, for the model
    to refuse.
    """
    if key == "dtype":
        return _name_of_type(value)
    if value is None or not _takes_text(model, key):
        return value
    if isinstance(value, Mapping) and not hasattr(value, "data_vars"):  # a data set of xarray is a mapping, too
        by_name = dict[str, str] in get_args(model.model_fields[key].annotation)
        return {name: as_text(model, key, each) for name, each in value.items()} if by_name else value
    if key == "scales" and not isinstance(value, (str, Real, PathLike, list, tuple)):
        from mosaic.sampling.scales import scales_as_text  # it loads torch, which commands do later

        value = scales_as_text(value)
    plain = value.to_numpy() if hasattr(value, "to_numpy") else value  # of xarray or pandas
    plain = plain.tolist() if hasattr(plain, "tolist") else plain  # an array or a tensor, or a number of one
    items = plain if isinstance(plain, (list, tuple, range)) else [plain]
    if not all(isinstance(item, (str, Real, PathLike)) or _is_of_torch(item, "device") for item in items):
        return value
    try:
        text = ",".join(map(_item_as_text, items))
    except ValueError:  # a number of more digits than Python prints
        return value
    if not text.strip():
        raise UsageError(f"`{key}` is empty; leave it out, or say what it is.")
    return text


def _takes_text(model: type[Options], key: str) -> bool:
    annotation = model.model_fields[key].annotation if key in model.model_fields else None
    return annotation is str or (get_origin(annotation) is UnionType and str in get_args(annotation))


def _item_as_text(item: Any) -> str:
    """Write an item of a list; floating-point numbers that are whole as integers."""
    is_whole = isinstance(item, Real) and not isinstance(item, Integral) and float(item).is_integer()
    return str(int(item) if is_whole else item)


def _name_of_type(value: Any) -> Any:
    """Name of a type of torch, numpy or Python, such as float64; anything else as it is."""
    if _is_of_torch(value, "dtype"):
        return str(value).removeprefix("torch.")
    import numpy as np  # commands load it later

    return np.dtype(value).name if isinstance(value, (type, np.dtype)) else value


def _is_of_torch(value: Any, kind: str) -> bool:
    return (type(value).__module__, type(value).__name__) == ("torch", kind)
