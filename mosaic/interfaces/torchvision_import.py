"""The one place that imports torchvision, for data sets and for libraries that import it themselves."""

from __future__ import annotations

import importlib
import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any

import torch

from mosaic.errors import DataError

__all__ = ["import_torchvision"]

# Kept for good: torch.library removes definitions when the object that made them is collected.
_schemas: list[Any] = []


@cache
def import_torchvision() -> ModuleType:
    """Import `torchvision` with its data sets, even if its compiled operators do not fit the installed torch.

    A CUDA build of torchvision beside a CPU-only torch cannot load its operators. Its import then fails, because it
    describes two operators that were never defined. Nothing here uses them, so defining them is enough.

    Raises
    ------
    DataError
        If torchvision cannot be imported even so.
    """
    try:
        return _import()
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _define_operators()
    except ImportError as error:
        raise DataError(f"This needs torchvision, but {error}; install torchvision.") from error
    try:
        return _import()
    except Exception as error:
        raise DataError(
            f"torchvision cannot be imported beside torch {torch.__version__} ({error}); install the one "
            "that belongs to this torch."
        ) from error


def _import() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about compiled image readers, which no data set here uses
        importlib.import_module("torchvision.datasets")
        return importlib.import_module("torchvision")


def _define_operators() -> None:
    make: Any = torch.library.Library  # has no annotations
    library = make("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _schemas.append(library)
