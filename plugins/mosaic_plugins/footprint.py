"""What memory a network takes to evaluate a batch, found without evaluating it."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["FLOATS", "network_bytes"]

FLOATS = {4: torch.float32, 8: torch.float64}  # by the bytes of a number

# Windows of a 3 x 3 convolution and its input: torch unfolds a whole batch where no library has a faster way.
UNFOLDED = 10


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, at most, while operations run; and those of the largest one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0
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
        self.peak, self.largest = max(self.peak, self.bytes), max(self.largest, count)

    def _forget(self, address: int, count: int) -> None:
        self._known.discard(address)
        self.bytes -= count


@torch.no_grad()
def network_bytes(module: nn.Module, x: Tensor, *rest: Any) -> int | None:
    """Bytes at most that `module(x, *rest)` takes, its weights included; None if it cannot be told.

    Parameters
    ----------
    module : torch.nn.Module
        A network in eval mode; it is not changed.
    x : Tensor (B, C, H, W)
        A batch on the device "meta", which has shapes and no numbers; so must be the tensors of `rest`.
    """
    weights = sum(value.numel() for value in module.state_dict().values()) * x.element_size()
    shadow = copy.deepcopy(module).to("meta", x.dtype)
    try:
        with _Live() as live:
            shadow(x, *rest)
    except Exception:  # a network that needs numbers, or knows no device "meta", fails in a way of its own
        return None
    # Weights are kept, converted and laid out anew; the largest tensor is laid out anew, too.
    unfolded = UNFOLDED if x.dtype == torch.float64 else 2
    return int(3 * weights + live.peak + unfolded * live.largest)
