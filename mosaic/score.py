"""Score models: from a noisy batch and its level to the posterior mean of the clean images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from mosaic.dataset import DataSet
from mosaic.diagnosis import Diagnosis
from mosaic.errors import UsageError
from mosaic.options import Options as PluginOptions
from mosaic.schedule import Level, NoiseSchedule
from mosaic.ties import Source

__all__ = ["EpsModel", "ScoreModel", "eps_from_denoised", "score_from_denoised"]


class ScoreModel(ABC):
    """Interface of a score model plugin; subclass it, give it a `name` and register it.

    Analytic machines and trained networks are the same kind. The constructor stores, and does not work.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.Options]
        The model's options.
    has_scale : bool
        Whether `denoise` uses a locality scale k.
    tells : bool
        Whether `diagnose` and `trace` say what images are made of.
    places : tuple of str
        Options that say where files lie that `fingerprint` identifies: they may have moved when a run is resumed.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[PluginOptions]] = PluginOptions
    has_scale: bool = False
    tells: bool = False
    places: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: PluginOptions | None, dataset: DataSet) -> None:
        self.options: Any = options if options is not None else self.Options()
        self.dataset = dataset

    @abstractmethod
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        """Give the posterior mean x0hat = E[x_0 | x_t = x].

        Parameters
        ----------
        x : Tensor (B, C, H, W), float32 or float64
            Noisy images x_t = signal x_0 + noise eps, on the device of the data set's images.
        level : Level
            Their noise level.
        labels : Tensor (B,), int64, optional
            Class of each sample; -1 for none.
        scale : int
            Locality scale k (odd window size in pixels) where `has_scale`; ignored elsewhere.

        Returns
        -------
        Tensor (B, C, H, W)
            x0hat, of x's dtype and device. `x` is not changed.
        """

    def diagnose(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: int = 0) -> Diagnosis | None:
        """Give x0hat and what each pixel of it is made of; None for a model that cannot tell.

        Arguments and `Diagnosis.denoised` as for `denoise`; `tells` says beforehand whether it can.
        """
        return None

    def trace(self, images: Tensor, labels: Tensor | None = None, scale: int = 0) -> Source | None:
        """Tell which candidate is nearest to each pixel's window of finished images; None for a model that cannot.

        At the end of a machine's flow each pixel is the centre of that candidate (Kamb & Ganguli 2025, theorem 4.1).

        Parameters
        ----------
        images : Tensor (B, C, H, W)
            Final images.
        labels, scale
            As for `denoise`, at the last step.
        """
        return None

    @property
    def schedule(self) -> NoiseSchedule | None:
        """Noise schedule that a run of this model must have, such as a network's; None where any will do."""
        return None

    def check(  # noqa: B027 - a model need not refuse anything
        self, levels: tuple[Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]
    ) -> None:
        """Refuse, before a run starts, a combination of options, data, levels, scales and labels that cannot work.

        Parameters
        ----------
        levels, scales : tuple
            Noise level and locality scale of each step.
        labels : tuple of int
            Class of each sample, -1 for none.

        Raises
        ------
        UsageError
            With the value, what is allowed, and how to mend it.
        """

    @property
    def equivariant(self) -> bool:
        """Whether x0hat of a circularly shifted x is the shifted x0hat."""
        return False

    def local(self, scale: int) -> int | None:
        """Side of the window about a pixel, going round the border, that x0hat there depends on; None for all of x."""
        return None

    @property
    def conditional(self) -> bool:
        """Whether a sample with a label meets the training images of that class only."""
        return False

    def notes(self) -> list[str]:
        """Tell what the user should know before a run starts: what is allowed, but seldom meant."""
        return []

    def fingerprint(self) -> str | None:
        """SHA-256 of what decides the numbers beside options and data, such as weights; None where nothing does."""
        return None

    def engine(self, dtype: torch.dtype) -> str:
        """Name what computes the numbers of `dtype`, to the build: a run is resumed by the same one only."""
        return "torch"

    def comparisons(self, scale: int) -> int:
        """Count the window comparisons one sample needs at this scale (0 for a model that makes none)."""
        return 0


def eps_from_denoised(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """Predicted noise eps = (x - a x0hat) / s; shapes (B, C, H, W)."""
    return (x - level.signal * denoised) / level.noise


def score_from_denoised(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """Score, grad log p_t(x) = (a x0hat - x) / s^2; shapes (B, C, H, W)."""
    return (level.signal * denoised - x) / level.noise**2


class EpsModel(ScoreModel):
    """A score model made of any noise prediction `eps(x, t)`, such as a user's own network.

    Parameters
    ----------
    function : callable
        `function(x, t)` with x (B, C, H, W) and t (B,), both of x's dtype, gives eps (B, C, H, W).
    time_of : callable
        Gives the time t in [0, 1] of a level.
    """

    name = "callable"

    def __init__(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        time_of: Callable[[Level], float],
        dataset: DataSet,
    ) -> None:
        super().__init__(None, dataset)
        self.function = function
        self.time_of = time_of

    def check(self, levels: tuple[Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Refuse labels, which a callable has no place for."""
        if any(label >= 0 for label in labels):
            raise UsageError("A callable eps(x, t) takes no labels; use labels='none', or pass a ScoreModel.")

    @torch.no_grad()
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        """Give x0hat = (x - s eps(x, t)) / a."""
        self.check((level,), (), tuple(labels.tolist()) if labels is not None else ())
        time = torch.full((len(x),), self.time_of(level), dtype=x.dtype, device=x.device)
        eps = self.function(x, time)
        if not isinstance(eps, Tensor) or eps.shape != x.shape:
            what = f"shape {tuple(eps.shape)}" if isinstance(eps, Tensor) else f"a {type(eps).__name__}"
            raise UsageError(f"eps(x, t) gave {what} for x of shape {tuple(x.shape)}; it must give the same shape.")
        return (x - level.noise * eps) / level.signal
