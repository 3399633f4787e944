"""What identifies an object whose numbers a result depends on: its weights, its settings and its code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache, partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic.interfaces.image_source import ImageSource

__all__ = ["fingerprint_of"]

OWN = ("mosaic", "mosaic_plugins", "mosaic_data")

PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    torch.dtype,
    torch.device,
    np.generic,
    np.dtype,
    PurePath,
    Enum,
)


def fingerprint_of(thing: object) -> str | None:
    """Give a SHA-256 of all that decides what an object computes, as far as Python shows it.

    That is the values of tensors and attributes, and the compiled code of functions and classes, with the globals and
    the enclosing variables that they name. Installed libraries count with their version. Two objects of one fingerprint
    compute the same, but for what they read from files, the clock or a random generator.

    Returns
    -------
    str or None
        None if something that it refers to shows neither values nor code.
    """
    digest = _Digest()
    try:
        digest.add(thing)
    except _Unknown:
        return None
    return digest.sha256.hexdigest()


class _Unknown(Exception):
    """Something that shows neither values nor code."""


class _Digest:
    """A digest of objects, each of which is looked at once."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256(platform.python_version().encode())  # its compiled code is of this version
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # so that no other object gets the identity of one that was seen

    def add(self, thing: Any) -> None:
        """Add an object, and what it refers to."""
        if isinstance(thing, PLAIN):
            self._tag("plain", type(thing).__qualname__, repr(thing))
        elif id(thing) in self._seen:
            self._tag("seen", str(self._seen[id(thing)]))
        else:
            self._seen[id(thing)] = len(self._seen)
            self._kept.append(thing)
            self._add_new(thing)

    def _tag(self, *words: str) -> None:
        for word in words:
            encoded = word.encode("utf-8", "surrogatepass")
            self.sha256.update(len(encoded).to_bytes(8, "little") + encoded)

    def _add_new(self, thing: Any) -> None:
        match thing:
            case Tensor():
                self._add_values(thing.detach().cpu())
            case ImageSource():  # as the tensor of all its images
                self._tag("tensor", str(thing.dtype), str(tuple(thing.shape)))
                thing.update(self.sha256)
            case np.ndarray():
                self._add_array(thing)
            case Mapping():
                self._tag("mapping", str(len(thing)))
                self._add_all(part for pair in thing.items() for part in pair)
            case set() | frozenset():
                self._tag("set", *sorted(map(repr, thing)))
            case Sequence():
                self._tag(type(thing).__qualname__, str(len(thing)))
                self._add_all(thing)
            case ModuleType():
                self._add_module(thing)
            case CodeType():
                self._add_code(thing)
            case FunctionType():
                self._add_function(thing)
            case MethodType():
                self._add_all((thing.__func__, thing.__self__))
            case partial():
                self._tag("partial")
                self._add_all((thing.func, thing.args, thing.keywords))
            case BuiltinFunctionType():
                self._tag("builtin", str(thing.__module__), thing.__qualname__)
            case type():
                self._add_class(thing)
            case _:
                self._add_object(thing)

    def _add_all(self, things: Any) -> None:
        for thing in things:
            self.add(thing)

    def _add_values(self, tensor: Tensor) -> None:
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise _Unknown
        bits = tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor
        self._tag("tensor", str(tensor.dtype), str(tuple(tensor.shape)))
        self.sha256.update(bits.numpy().tobytes())

    def _add_array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            raise _Unknown
        self._tag("array", str(array.dtype), str(array.shape))
        self.sha256.update(np.ascontiguousarray(array).tobytes())

    def _add_module(self, module: ModuleType) -> None:
        version = _version(module.__name__)
        if version is None:  # which of its code is used, the names do not show
            raise _Unknown
        self._tag("module", module.__name__, version)

    def _add_code(self, code: CodeType) -> None:
        self._tag("code", code.co_code.hex(), *code.co_names, *code.co_varnames, *code.co_freevars)
        self._add_all(code.co_consts)

    def _add_function(self, function: FunctionType) -> None:
        version = _version(function.__module__)
        self._tag("function", str(function.__module__), function.__qualname__, version or "")
        self._add_all((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not bound yet
                self._tag("unbound")
        if version is not None:
            return
        self.add(function.__code__)
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                self._tag("global", name)
                self.add(function.__globals__[name])

    def _add_class(self, cls: type) -> None:
        version = _version(cls.__module__)
        self._tag("class", cls.__module__, cls.__qualname__, version or "")
        if version is not None:
            return
        self._add_all(cls.__bases__)
        for name, value in sorted(vars(cls).items()):
            match value:
                case staticmethod() | classmethod():
                    self._tag(name)
                    self.add(value.__func__)
                case property():
                    self._tag(name)
                    self._add_all(value_of for value_of in (value.fget, value.fset) if value_of is not None)
                case FunctionType() | Tensor() | bool() | int() | float() | str() | tuple() | list() | dict():
                    if name not in ("__module__", "__doc__", "__dict__", "__annotations__", "__firstlineno__"):
                        self._tag(name)
                        self.add(value)

    def _add_object(self, thing: Any) -> None:
        """Add an object by its class and its attributes; one without any is of C, and shows nothing."""
        if not hasattr(thing, "__dict__"):
            raise _Unknown
        self._tag("object")
        self.add(type(thing))
        for name in sorted({slot for cls in type(thing).__mro__ for slot in _slots(cls)} - {"__dict__", "__weakref__"}):
            if hasattr(thing, name):
                self._tag(name)
                self.add(getattr(thing, name))
        for name, value in sorted(vars(thing).items()):
            if not (isinstance(thing, torch.nn.Module) and name == "training"):  # networks are evaluated in eval mode
                self._tag(name)
                self.add(value)


def _slots(cls: type) -> tuple[str, ...]:
    """Names of attributes that instances hold outside their `__dict__`."""
    slots = vars(cls).get("__slots__", ())
    return tuple({slots} if isinstance(slots, str) else set(slots)) if cls.__module__ != "builtins" else ()


def _names(code: CodeType) -> set[str]:
    """Names that code refers to, that of functions inside it too."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


@cache
def _version(module: str | None) -> str | None:
    """Version of the installed library that a module is part of; None for code that may change as it is."""
    top = str(module).partition(".")[0]
    if top in OWN:
        return importlib.metadata.version("mosaic-diffusion")  # whose code a run records besides
    if top in sys.stdlib_module_names and top != "__main__":
        return platform.python_version()
    file = getattr(sys.modules.get(top), "__file__", None)
    libraries = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")]
    if file is None or not any(Path(file).resolve().is_relative_to(folder) for folder in libraries):
        return None
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules[top], "__version__", "")) or None
