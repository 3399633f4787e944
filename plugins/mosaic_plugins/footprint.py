"""What memory a network takes to evaluate a batch, found without evaluating it."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mosaic

__all__ = ["network_memory"]

# Windows of a 3 x 3 convolution and its input: torch unfolds a whole batch where no library has a faster way.
UNFOLDED = 10

# What torch loads to follow a network on the device "meta", symbolic algebra for the most part (measured: 72 MiB).
TRACING = 80 * 2**20


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, at most, while operations run; and those of the largest one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0
        self.total: int = 0
        self.peak: int = 0
        self.largest: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        return result

    def _add(self, count: int) -> None:
        self.bytes += count
        self.total += count
        self.peak, self.largest = max(self.peak, self.bytes), max(self.largest, count)

    def _forget(self, address: int, count: int) -> None:
        self._known.discard(address)
        self.bytes -= count


@torch.no_grad()
def network_memory(
    module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, is_conditional: bool, has_gradient: bool = False
) -> mosaic.Memory | None:
    """What the trait `memory` says for a network `module(x, t, labels)`, its weights included; None if it is not known.

    Parameters
    ----------
    module : torch.nn.Module
        A network in eval mode; it is not changed.
    shape : tuple of int
        (B, C, H, W) of x.
    dtype : torch.dtype
        That of x.
    is_conditional : bool
        Whether it is given labels.
    has_gradient : bool
        Whether the output is differentiated by x, for which all that is computed is kept.
    """
    x = torch.empty(shape, dtype=dtype, device="meta")  # a device with shapes and no numbers
    labels = x.new_empty(shape[0], dtype=torch.int64) if is_conditional else None
    weights = sum(value.numel() for value in module.state_dict().values()) * dtype.itemsize
    shadow = copy.deepcopy(module).to("meta", dtype)
    try:
        with _Live() as live:
            shadow(x, x.new_empty(shape[0]), labels)
    except Exception:  # a network that needs numbers, or knows no device "meta", fails in a way of its own
        return None
    # Weights are kept, converted and laid out anew; the largest tensor is laid out anew, too.
    unfolded = UNFOLDED if dtype == torch.float64 else 2
    states = 6 * x.numel() * dtype.itemsize
    kept = 2 * live.total if has_gradient else live.peak
    return mosaic.Memory(TRACING + int(3 * weights + kept + unfolded * live.largest) + states, read=0)
