"""What a training set may be given as, and how it becomes tensors that compute and can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, FiniteFloat, InstanceOf, StrictStr, ValidationError
from torch import Tensor

from mosaic.errors import DataError, shown
from mosaic.interfaces.file_images import ArrayImages
from mosaic.interfaces.image_source import ImageSource
from mosaic.interfaces.images import Images
from mosaic.interfaces.rule import Rule

__all__ = ["LARGEST", "as_facts", "as_images", "as_labels", "check_text"]

LARGEST = float(np.finfo(np.float32).max)  # larger numbers become infinity when they are computed with


class _Facts(BaseModel):
    """Fields of a data set apart from its arrays and texts."""

    classes: tuple[Any, ...]
    range: tuple[FiniteFloat, FiniteFloat]
    scales: StrictStr | None
    training: dict[StrictStr, Any]
    networks: dict[StrictStr, dict[StrictStr, Any]]  # of `training`
    rule: InstanceOf[Rule] | None
    metadata: dict[StrictStr, StrictStr]
    notes: tuple[StrictStr, ...]
    names: tuple[StrictStr, ...]
    options: dict[StrictStr, Any]


def as_facts(owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a data set but its arrays and texts, lists as tuples, numbers of the range as floats.

    Raises
    ------
    DataError
        If one is of another kind, or the range is not two rising numbers to compute with.
    """
    training = given["training"]
    networks = training.get("networks", {}) if isinstance(training, Mapping) else {}
    try:
        facts = _Facts.model_validate({**given, "networks": networks})
    except ValidationError as error:
        first = error.errors()[0]
        path = ("training", *first["loc"]) if first["loc"][0] == "networks" else first["loc"]
        name = ".".join(map(str, path))
        raise DataError(f"Data set '{owner}': {name} cannot be {shown(first['input'])}: {first['msg']}.") from None
    low, high = facts.range
    if not -LARGEST <= low < high <= LARGEST:
        raise DataError(
            f"Data set '{owner}': range ({low:g}, {high:g}) must be the lowest and the highest value that a pixel may "
            f"have, within {LARGEST:g}; rescale the images where they go further."
        )
    return {name: getattr(facts, name) for name in given}


def as_images(owner: str, images: Any) -> Images:
    """Give images as a dense tensor of its own history, float32 or float64, or as a source that is read in pieces.

    Parameters
    ----------
    owner : str
        Name of the data set, for errors.
    images : Tensor or ndarray (N, C, H, W), floating point; or a list of tensors or arrays (C, H, W)
        Half precision becomes float32, which holds its values exactly. A tensor is not copied unless it has to be. A
        memory-mapped array, of floats, uint8 or uint16, becomes a source.

    Raises
    ------
    DataError
        If they are of another kind, shape or type, or have no pixels.
    """
    if isinstance(images, ImageSource):
        return images
    if isinstance(images, np.memmap):
        return _as_source(owner, images)
    tensor = _as_tensor(owner, "images", _joined(owner, "images", images))
    if tensor.ndim != 4 or not tensor.is_floating_point() or tensor.numel() == 0:
        raise DataError(
            f"Data set '{owner}': images must be a non-empty floating-point array (N, C, H, W), "
            f"not {tensor.dtype} of shape {tuple(tensor.shape)}."
        )
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)


def _as_source(owner: str, images: np.memmap[Any, Any]) -> ImageSource:
    try:
        return ArrayImages(images)
    except DataError as error:
        raise DataError(f"Data set '{owner}': {error}") from None


def as_labels(owner: str, labels: Any, count: int) -> Tensor:
    """Give labels as an int64 tensor; they may be integers of any type, a list of them, or a pandas or xarray column.

    Raises
    ------
    DataError
        If they are of another kind or type, or not one for each of `count` images.
    """
    labels = labels.to_numpy() if hasattr(labels, "to_numpy") else _joined(owner, "labels", labels)  # of a table
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and not np.ma.isMaskedArray(labels):
        labels = labels.astype(np.int64)  # torch cannot compute in unsigned integers of more than 8 bits
    tensor = _as_tensor(owner, "labels", labels)
    is_integer = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if tensor.shape != (count,) or not is_integer:
        raise DataError(
            f"Data set '{owner}': labels must be {count} integers, not {tensor.dtype} of shape {tuple(tensor.shape)}."
        )
    return tensor.to(torch.int64)


def check_text(owner: str, what: str, text: Any) -> None:
    """Refuse what cannot be stored beside the results as UTF-8: other objects, and names in another encoding.

    Raises
    ------
    DataError
        With the text, escaped.
    """
    if not isinstance(text, str):
        raise DataError(f"Data set '{owner}': {what} must be a string, not {text!r}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"Data set {owner!a}: {what} {text!a} is not valid UTF-8; rename it.") from None


def _joined(owner: str, what: str, values: Any) -> Any:
    """Join a list of tensors or arrays, one for each image, and of integers; all else stays as it is."""
    if not isinstance(values, (list, tuple)) or not values:
        return values
    if all(isinstance(value, Integral) for value in values):
        return np.array(values)
    for kind, stack in ((Tensor, torch.stack), (np.ndarray, np.ma.stack)):
        if all(isinstance(value, kind) for value in values):
            if len(shapes := {tuple(value.shape) for value in values}) > 1:
                first, second = sorted(shapes)[:2]
                raise DataError(f"Data set '{owner}': {what} must be of one shape, not {first} and {second}.")
            return stack(values)
    return values


def _as_tensor(owner: str, what: str, values: Any) -> Tensor:
    if isinstance(values, np.ndarray):
        return _from_numpy(owner, what, values)
    if not isinstance(values, Tensor):
        raise DataError(
            f"Data set '{owner}': {what} must be a torch tensor or a numpy array, not a {type(values).__name__}."
        )
    if values.layout is not torch.strided or values.is_quantized or values.device.type == "meta":
        kind = "quantized" if values.is_quantized else "meta" if values.device.type == "meta" else str(values.layout)
        raise DataError(f"Data set '{owner}': {what} are a {kind} tensor; make it a dense one, with `to_dense()`.")
    return values.detach() if values.requires_grad else values


def _from_numpy(owner: str, what: str, values: Any) -> Tensor:
    """Copy an array, so that what its owner does with it later changes no result."""
    if np.ma.is_masked(values):
        raise DataError(f"Data set '{owner}': {what} have masked entries; fill them, or leave these images out.")
    if values.dtype.kind not in "biuf":
        raise DataError(f"Data set '{owner}': {what} must be numbers, not {values.dtype}.")
    # Torch has neither other byte orders nor long doubles.
    kept = np.float64 if values.dtype.kind == "f" and values.itemsize > 8 else values.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # becomes infinity, which is refused
        return torch.from_numpy(np.array(values, dtype=kept, order="C", subok=False))
