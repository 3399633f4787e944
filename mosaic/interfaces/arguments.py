"""Arguments of public functions, checked against their annotations before anything is done with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from mosaic.errors import UsageError, did_you_mean, of_system, shown
from mosaic.interfaces.options import Options
from mosaic.interfaces.signatures import docstring_of, own_settings, signature_of

__all__ = ["checked"]

P = ParamSpec("P")
R = TypeVar("R")

WORDS: dict[Any, str] = {
    str: "a string",
    bool: "True or False",
    int: "an integer",
    float: "a number",
    NoneType: "None",
    PathLike: "a path",
    Callable: "a callable",
}


def checked(settings: type[Options] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function refuse arguments that it does not have, or that are not what it is annotated to take.

    Parameters
    ----------
    settings : type[Options], optional
        What the function's `**settings` are fields of; their values are the model's to validate. Its signature and its
        docstring show them.

    Returns
    -------
    callable
        The decorator. A missing argument stays Python's TypeError.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters.values()
        names = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
        known = [*names, *(own_settings(function, settings) if settings else ())]
        takes_any = settings is None and len(names) < len(parameters)  # what it does with them is its own affair
        hints = cache(lambda: _hints(function))  # evaluated at the first call: they may name what comes later

        @wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> R:
            for name in keywords:
                if name not in known and not takes_any:
                    raise UsageError(
                        f"{function.__name__} has no argument '{name}'.{did_you_mean(name, known)} "
                        f"It has: {', '.join(each for each in known if each != 'self')}."
                    )
            placed = [_listed(value, hints().get(name)) for name, value in zip(names, arguments, strict=False)]
            placed += arguments[len(names) :]  # too many are Python's TypeError
            named = {name: _listed(value, hints().get(name)) for name, value in keywords.items()}
            for name, value in (*zip(names, placed, strict=False), *named.items()):
                hint = hints().get(name, Any)
                if not _fits(value, hint):
                    raise UsageError(
                        f"{function.__name__}: `{name}` takes {_in_words(hint)}, not {shown(value)} "
                        f"({type(value).__name__})."
                    )
                if PathLike in map(_kind, get_args(hint)) and isinstance(value, (str, PathLike)):
                    _check_path(name, value)
            try:
                return function(*placed, **named)
            except OSError as error:  # a name too long, in most cases
                raise of_system(error) from error

        if settings is not None:
            call.__signature__ = signature_of(function, settings)  # type: ignore[attr-defined]
            call.__doc__ = function.__doc__ and docstring_of(function, settings)  # python -OO leaves none
        return call

    return decorate


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Evaluate the annotations of arguments; what a function gives may be of a type that is not imported."""
    given = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    return get_type_hints(SimpleNamespace(__annotations__=given), inspect.unwrap(function).__globals__)


def _fits(value: Any, hint: Any) -> bool:
    kind, inner = _kind(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if kind is Any:
        return True
    if kind is Callable:
        return callable(value) and not isinstance(value, type)
    if kind in (Sequence, Collection):
        is_other = isinstance(value, (str, Mapping)) or getattr(value, "ndim", 1) != 1  # arrays are collections
        return not is_other and isinstance(value, kind) and all(_fits(each, inner[0]) for each in value)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(key, inner[0]) and _fits(each, inner[1]) for key, each in value.items()
        )
    if kind in (int, float):
        number = value.item() if getattr(value, "ndim", 1) == 0 else value  # of an array or a tensor
        return isinstance(number, Integral if kind is int else Real) and not isinstance(number, bool)
    return isinstance(value, (bool, np.bool_) if kind is bool else kind)


def _listed(value: Any, hint: Any) -> Any:
    """Give an array or a tensor in one dimension as a list where a sequence is wanted; anything else as it is."""
    allowed = [_kind(each) for each in (hint, *get_args(hint))]
    is_sequence = any(each in (Sequence, Collection) for each in allowed)
    if not is_sequence or getattr(value, "ndim", 0) != 1 or type(value) in allowed:
        return value
    return value.tolist()


def _check_path(name: str, value: Any) -> None:
    """Refuse a text that no file system takes for a path, and none at all, which would be the current folder."""
    if not fspath(value):
        raise UsageError(f"`{name}` is empty; leave it out, or say what it is.")
    try:
        Path(value).expanduser().stat()
    except OSError:
        return  # to be made, or said where it is opened
    except (RuntimeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise UsageError(f"`{name}` {shown(fspath(value))} is not a valid path: {reason}.") from None


def _in_words(hint: Any) -> str:
    """Say what an annotation allows."""
    kind, inner = _kind(hint), get_args(hint)
    if kind in (Union, UnionType):
        words = list(dict.fromkeys(map(_in_words, inner)))
        return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    if kind in (Sequence, Collection, Mapping):
        return f"a {kind.__name__.lower()} ({str(hint).replace('collections.abc.', '').replace('typing.', '')})"
    maker = f" ({kind.maker} makes one)" if hasattr(kind, "maker") else ""  # how to come by what is asked for
    return WORDS.get(kind) or f"a {kind.__module__.partition('.')[0]}.{kind.__name__}{maker}"


def _kind(hint: Any) -> Any:
    """Class of an annotation; a protocol is a function of its kind."""
    kind = get_origin(hint) or hint
    return Callable if kind is get_origin(Callable[[], Any]) or getattr(kind, "_is_protocol", False) else kind
