"""How every machine compares candidates (engine, diagnostics, memory), and the weights of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype
from mosaic.errors import UsageError
from mosaic.interfaces.images import Images
from mosaic.interfaces.schedule import Level

__all__ = ["DEFAULT", "ENGINES", "Compute", "check_input", "log_weights_of"]

ENGINES = ("auto", "compiled", "torch", "reference")

# Logits of a block: on a CPU what fits a thread's caches, on a GPU what hides the launch of an operation.
CPU_BLOCK, GPU_BLOCK = 2**20, 2**24


@dataclass(frozen=True)
class Compute:
    """How candidates are compared.

    Attributes
    ----------
    engine : {"auto", "compiled", "torch", "reference"}
        What compares windows (LS and ELS): the kernel compiled on this machine, torch, or the plain formulation that
        the others are tested against; `auto` is the kernel where it can be used, else torch.
    diagnostics : bool
        Whether to find `Posterior.energy` and `Posterior.source` too.
    block : int, optional
        Logits held at a time, by each thread of a CPU; the default depends on the kind of device. It never depends on
        free memory or the number of threads, so that results repeat.
    shards : range, optional
        The shards of the training images to compare, as `mosaic.engine.stream` counts them; all by default. The
        posteriors of tasks, as `tasks_of` gives them, merge into that of all, with the same bits.
    moments : bool
        Whether to find `Posterior.squares` too (of windows, LS and ELS); not with diagnostics.

    Raises
    ------
    UsageError
        If there is no such engine.
    """

    engine: str = "auto"
    diagnostics: bool = False
    block: int | None = None
    shards: range | None = None
    moments: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(f"There is no engine '{self.engine}'; there are: {', '.join(ENGINES)}.")
        if self.moments and self.diagnostics:
            raise UsageError("Moments and diagnostics are not computed in one pass; ask for one of them.")

    def block_on(self, device: torch.device) -> int:
        """Logits to hold at a time on a device: `block`, or the default of a CPU or of another device."""
        return self.block or (CPU_BLOCK if device.type == "cpu" else GPU_BLOCK)


DEFAULT = Compute()


def log_weights_of(weights: Tensor | None, *shape: int) -> Tensor | None:
    """Log-weights, in bits, of candidates with positive `weights` of this shape; None for none.

    Raises
    ------
    UsageError
        If the shape differs, or a weight is not positive and finite.
    """
    if weights is None:
        return None
    if tuple(weights.shape) != shape:
        raise UsageError(f"weights have shape {tuple(weights.shape)}; these candidates need {shape}.")
    if not bool((torch.isfinite(weights) & (weights > 0)).all()):
        raise UsageError("weights must be positive and finite; to leave a candidate out, leave out its image.")
    return torch.log2(weights.to(accumulator_dtype(weights.device)))


def check_input(x: Tensor, images: Images, level: Level) -> None:
    """Refuse x that is not a batch of images like the training images, its type, or a level that has no posterior.

    Raises
    ------
    UsageError
        With the shapes, the type, or the level.
    """
    if x.ndim != 4 or images.ndim != 4 or x.shape[1:] != images.shape[1:] or len(images) == 0 or len(x) == 0:
        raise UsageError(
            f"x has shape {tuple(x.shape)} and the images {tuple(images.shape)}; they must be (B, C, H, W) and "
            f"(N, C, H, W) with the same C, H and W."
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"x has {x.dtype}; posteriors are computed in torch.float32 or torch.float64: use x.float().")
    if not (level.noise > 0 and level.signal > 0):
        raise UsageError(f"{level} has no posterior mean to compute; signal and noise must be positive.")
