"""How candidates are compared, whatever the machine: engine, diagnostics, memory; and what candidates weigh."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic.errors import UsageError

__all__ = ["DEFAULT", "ENGINES", "TILE_ELEMENTS", "Compute", "log_weights_of"]

ENGINES = ("auto", "compiled", "torch", "reference")

# Logits that a thread holds at one time: what fits the caches.
TILE_ELEMENTS = 2**20


@dataclass(frozen=True)
class Compute:
    """How candidates are compared.

    Attributes
    ----------
    engine : {"auto", "compiled", "torch", "reference"}
        What compares windows (LS and ELS): the kernel compiled on this machine, torch, or the plain formulation that
        the others are tested against; `auto` is the kernel where it can serve, else torch.
    diagnostics : bool
        Whether to find `Posterior.energy` and `Posterior.source` too.
    tile : int
        Logits that each thread holds at one time. What fits the caches decides, never memory or the number of threads,
        so that results repeat.
    workers : int, optional
        Tiles worked on at a time on a CPU, at most; as many as torch has threads by default. Decides no number.
    """

    engine: str = "auto"
    diagnostics: bool = False
    tile: int = TILE_ELEMENTS
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown engine."""
        if self.engine not in ENGINES:
            raise UsageError(f"There is no engine '{self.engine}'; there are: {', '.join(ENGINES)}.")


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
    return torch.log2(weights)
