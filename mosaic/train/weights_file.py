"""Weights that another program saved: tensors by name, read without running anything that a file holds."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from mosaic.errors import DataError, shown
from mosaic.train.checkpoint import load_tensors

__all__ = ["read_weights"]

# Under which name programs keep weights beside other things: averages first, which are what is used.
ENTRIES = (
    "ema",
    "ema_model",
    "model_ema",
    "model_state_dict",
    "state_dict",
    "model",
    "net",
    "net_model",
    "backbone",
    "weights",
)

# What wrappers put before every name: DataParallel, torch.compile, and modules that hold the network.
PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.", "net.", "network.")

COUNT = "n_averaged"  # of torch's AveragedModel

DEEPEST = 3  # entries in entries; a file may hold itself

SHOWN = 4  # items in a message

ADVICE = (
    "save the weights alone, where the file can be loaded and is trusted: torch.save(network.state_dict(), "
    "'weights.pt') of a network, torch.save(content['state_dict'], 'weights.pt') of a file with such an entry"
)


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read a file of weights: safetensors, or what torch.save writes of a `state_dict`.

    Parameters
    ----------
    path : Path
        The file. Of an entry such as `ema` or `state_dict`, the weights are taken; what wrappers put before every name
        is left out.

    Returns
    -------
    weights : dict
        Tensors by name, on the CPU.
    entry : str
        The entry that they were in; empty if they were in none.

    Raises
    ------
    DataError
        If the file cannot be read, holds Python objects, or holds no weights.
    """
    if not path.is_file():
        raise DataError(f"There is no file '{path}'.")
    content: Any = load_tensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    for weights, entries in _candidates(content, ()):
        if _are_weights(weights):
            return _without_prefixes(dict(weights)), ".".join(entries)
    if not isinstance(content, Mapping):
        raise DataError(f"'{path}' holds {shown(type(content).__name__)}, not tensors by name; {ADVICE}.")
    raise DataError(
        f"'{path}' holds no weights, which are tensors by name and nothing else: neither itself ({_listed(content)}) "
        f"nor in an entry {', '.join(ENTRIES)}; {ADVICE}."
    )


def _candidates(content: Any, entries: tuple[str, ...]) -> Iterator[tuple[Mapping[Any, Any], tuple[str, ...]]]:
    """Yield each mapping in which weights may be, with the entries that lead to it, in the order of `ENTRIES`."""
    if isinstance(content, Mapping) and len(entries) <= DEEPEST:
        yield content, entries
        for name in ENTRIES:
            yield from _candidates(content.get(name), (*entries, name))


def _are_weights(content: Mapping[Any, Any]) -> bool:
    """Whether it is tensors by name; numbers alone are counts and rates."""
    named = all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    return named and any(value.ndim for name, value in content.items() if name != COUNT)


def _listed(content: Mapping[Any, Any]) -> str:
    """Say what a mapping holds."""
    items = [f"{shown(name)}: {type(value).__name__}" for name, value in content.items()]
    return ", ".join(items[:SHOWN]) + (", ..." if len(items) > SHOWN else "") or "empty"


def _unpickled(path: Path) -> Any:
    """Read what torch.save wrote: tensors and containers only, so that no code of the file runs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the format of what is then refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"'{path}' holds more than tensors{_objects(path)}: Python objects can run any code, and are never loaded; "
            f"{ADVICE}."
        ) from None
    except Exception as error:  # a damaged file fails in any way
        reason = shown(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise DataError(f"'{path}' cannot be read ({reason}); it may be truncated.") from None


def _objects(path: Path) -> str:
    """Name what a file would import, where torch can say so without doing it."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # it knows one of the formats that torch.load reads
        names = []
    items = [shown(name) for name in sorted(names)]
    return f" ({', '.join(items[:SHOWN])}{', ...' if len(items) > SHOWN else ''})" if items else ""


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = {name: value for name, value in weights.items() if name != COUNT}
    while prefix := next((each for each in PREFIXES if all(name.startswith(each) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights
