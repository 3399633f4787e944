"""What a training set may be given as, and how it becomes tensors that compute and can be stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic.errors import DataError

__all__ = ["LARGEST", "as_images", "as_labels", "check_text"]

LARGEST = 1e15  # of numbers to compute with: float32 holds the sum of their squares over a million pixels


def as_images(owner: str, images: Any) -> Tensor:
    """Give images as a dense tensor of its own history: float32 or float64.

    Parameters
    ----------
    owner : str
        Name of the data set, for errors.
    images : Tensor or ndarray (N, C, H, W), floating point
        Half precision becomes float32, which holds its values exactly. A tensor is not copied unless it has to be.

    Raises
    ------
    DataError
        If they are of another kind, shape or type, or have no pixels.
    """
    tensor = _as_tensor(owner, "images", images)
    if tensor.ndim != 4 or not tensor.is_floating_point() or tensor.numel() == 0:
        raise DataError(
            f"Data set '{owner}': images must be a non-empty floating-point array (N, C, H, W), "
            f"not {tensor.dtype} of shape {tuple(tensor.shape)}."
        )
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)


def as_labels(owner: str, labels: Any, count: int) -> Tensor:
    """Give labels as an int64 tensor; they may be integers of any type.

    Raises
    ------
    DataError
        If they are of another kind or type, or not one for each of `count` images.
    """
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
    return torch.from_numpy(np.array(values, dtype=kept, order="C", subok=False))
