"""Score models: from a noisy batch and its level to the posterior mean of the clean images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from math import isfinite
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from mosaic.errors import UsageError, shown
from mosaic.interfaces.attribution import Attribution
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.estimate import Estimate
from mosaic.interfaces.options import Options as PluginOptions
from mosaic.interfaces.schedule import Level, NoiseSchedule

__all__ = ["Memory", "ScoreModel", "Traits", "eps_from_denoised", "score_from_denoised"]


class Memory(NamedTuple):
    """Bytes at most that a score model takes beside the training set.

    Attributes
    ----------
    held : int
        What is held once, however many threads there are.
    block : int
        What each block of candidates takes, of which as many are worked on at a time as memory allows.
    read : int
        Values of training images that a block has at most, which are held where these are read in pieces.
    """

    held: int
    block: int = 0
    read: int = 2**24


def _whole_image(scale: float) -> None:
    return None


def _no_comparisons(scale: float) -> int:
    return 0


def _torch(dtype: torch.dtype) -> str:
    return "torch"


def _nothing() -> None:
    return None


def _unknown(batch: int, scale: float, dtype: torch.dtype, labels: tuple[int, ...]) -> None:
    return None


@dataclass(frozen=True)
class Traits:
    """What a score model can do, and what its numbers depend on; every trait has a default.

    Attributes
    ----------
    has_scale : bool
        Whether `denoise` uses a locality scale k.
    has_continuous_scale : bool
        Whether k may be any positive number, so that tables of scales are interpolated; else it is a whole number.
    has_attribution : bool
        Whether `attribute` says what images are made of.
    is_conditional : bool
        Whether a sample with a label is compared only with the training images of its class.
    is_exact : bool
        Whether x0hat is what the model defines; False where it is estimated from part of the candidates, and `estimate`
        says how well.
    is_equivariant : bool
        Whether x0hat of a circularly shifted x is the shifted x0hat.
    window : callable
        window(scale): side of the window about a pixel, going round the border, that x0hat there depends on; None for
        all of x.
    comparisons : callable
        comparisons(scale): comparisons, of windows or of whole images, that one sample needs at this scale; 0 for a
        model that makes none.
    schedule : callable
        schedule(): the noise schedule that a run must have, such as a network's; None where any will do.
    engine : callable
        engine(dtype): what computes the numbers of a dtype: its name and, where it is compiled, its build. A run is
        resumed by the same one only.
    fingerprint : callable
        fingerprint(): SHA-256 of what else decides the numbers, apart from options and data, such as weights; or None.
    plugins : callable
        plugins(): kind and name of each registered plugin that the model uses, such as ("network", "resnet"), apart
        from those that the configuration of a run names. Versions and code of their distributions identify a run.
    memory : callable
        memory(batch, scale, dtype, labels): the `Memory` that the model takes for a batch of this size, the largest
        scale, x's dtype and these labels, each once. None if it is not known: a run whose memory is limited refuses the
        model.
    """

    has_scale: bool = False
    has_continuous_scale: bool = False
    has_attribution: bool = False
    is_conditional: bool = False
    is_exact: bool = True
    is_equivariant: bool = False
    window: Callable[[float], int | None] = _whole_image
    comparisons: Callable[[float], int] = _no_comparisons
    schedule: Callable[[], NoiseSchedule | None] = _nothing
    engine: Callable[[torch.dtype], str] = _torch
    fingerprint: Callable[[], str | None] = _nothing
    plugins: Callable[[], Sequence[tuple[str, str]]] = tuple
    memory: Callable[[int, float, torch.dtype, tuple[int, ...]], Memory | None] = _unknown


class ScoreModel(ABC):
    """Interface of a score model plugin; subclass it, give it a `name` and register it.

    Analytic machines and trained networks are both score models. The constructor only stores its arguments.
    What `denoise`, `estimate`, `attribute` and `jacobian` of a subclass are called with is checked before they are, so
    they need not do it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.Options]
        The model's options.
    references : tuple of str
        BibTeX entries of what it computes; `mosaic cite` prints them for results that used it.
    path_options : tuple of str
        Options that are paths of files which the fingerprint identifies. These may differ when a run is resumed.
    """

    name: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[PluginOptions]] = PluginOptions
    path_options: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Have the arguments of `denoise`, `estimate`, `attribute` and `jacobian` checked."""
        super().__init_subclass__(**keywords)
        for name in ("denoise", "estimate", "attribute", "jacobian"):
            if name in vars(cls):
                setattr(cls, name, _with_checked_inputs(vars(cls)[name]))
        if "denoise" in vars(cls) and "jacobian" not in vars(cls):  # a parent's is the derivative of the parent's x0hat
            cls.jacobian = ScoreModel.jacobian  # type: ignore[method-assign]
        if "denoise" in vars(cls) and "estimate" not in vars(cls):
            cls.estimate = ScoreModel.estimate  # type: ignore[method-assign]

    def __init__(self, options: PluginOptions | None, dataset: DataSet) -> None:
        self.options: Any = options if options is not None else self.Options()
        self.dataset = dataset

    @property
    def traits(self) -> Traits:
        """What the model can do with these options. Cheap to get: traits that need work are callables."""
        return Traits()

    @abstractmethod
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give the posterior mean x0hat = E[x_0 | x_t = x].

        Parameters
        ----------
        x : Tensor (B, C, H, W), float32 or float64
            Noisy images x_t = signal x_0 + noise eps, on the device of the data set's images.
        level : Level
            Their noise level.
        labels : Tensor (B,), int64, optional
            Class of each sample; -1 for none. Where it is called, a list or an array of integers becomes a tensor.
        scale : float
            Locality scale k in pixels (an odd window size, unless `has_continuous_scale`) for a model with the trait
            `has_scale`; ignored elsewhere.

        Returns
        -------
        Tensor (B, C, H, W)
            x0hat, of x's dtype and device. `x` is not changed. If it requires a gradient, x0hat of a model that
            computes with torch alone, such as a network, can be differentiated; that of the machines cannot.

        Raises
        ------
        UsageError
            If an argument is of another kind, or x does not fit the data set (`DataSet.check_batch`).
        """

    def attribute(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Attribution:
        """Give x0hat and what each pixel of it is made of, for a model with the trait `has_attribution`.

        Arguments and `Attribution.denoised` as for `denoise`. At noise 0 (a finished image) it is the limit: which
        candidate is nearest to each pixel's window; the pixel is its centre (Kamb & Ganguli 2025, theorem 4.1).

        Raises
        ------
        UsageError
            If the model cannot say.
        """
        raise UsageError(f"Score model '{self.name}' has no posterior over candidates, so it attributes no pixels.")

    def estimate(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Estimate:
        """Give x0hat and how good it is, for a model without the trait `is_exact`; arguments as for `denoise`.

        By default x0hat is exact: all candidates are compared.
        """
        denoised = self.denoise(x, level, labels, scale)
        error = torch.zeros_like(x[:, 0], dtype=torch.float64, device="cpu")
        return Estimate(denoised, torch.ones(len(x), dtype=torch.float64, device="cpu"), error > 0, error)

    def jacobian(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Tensor | None:
        """Give the derivative d x0hat / d x of each sample in closed form, if the model has one.

        Arguments as for `denoise`. A subclass that overrides `denoise` does not inherit it. `mosaic.Score.jacobian`
        differentiates where there is none.

        Returns
        -------
        Tensor (B, C, H, W, C, H, W), float64, or None
            The first three axes after the batch's are those of x0hat. None if there is no closed form.
        """
        return None

    @classmethod
    def of_object(cls, what: object, dataset: DataSet) -> Self | None:
        """Make a score model of an object of another library, such as a pipeline, or of a folder that it wrote.

        Parameters
        ----------
        what : object
            Anything that `mosaic.score` is given, but for names, checkpoints and score models. A path is a
            `pathlib.Path`, its `~` expanded; there may be nothing at it.
        dataset : DataSet
            The training set.

        Returns
        -------
        ScoreModel or None
            None if this class does not know it. `mosaic.score` asks every registered score model, and takes for a
            function what none knows.
        """
        return None

    def check(self, levels: tuple[Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]) -> Sequence[str]:
        """Refuse, before a run starts, a combination of options, data, levels, scales and labels that cannot work.

        Parameters
        ----------
        levels, scales : tuple
            Noise level and locality scale of each step.
        labels : tuple of int
            Class of each sample, -1 for none.

        Returns
        -------
        sequence of str
            Notes on what is allowed, but probably unintended.

        Raises
        ------
        UsageError
            With the value, what is allowed, and how to fix it.
        """
        return ()


def _with_checked_inputs(method: Callable[..., Any]) -> Callable[..., Any]:
    """Check what `denoise`, or a method like it, is called with, and make a tensor of the labels."""
    takes_finished = method.__name__ == "attribute"  # images at noise 0

    @wraps(method)
    def call(self: ScoreModel, x: Tensor, level: Level, labels: Any = None, scale: float = 0) -> Any:
        if not isinstance(level, Level):
            raise UsageError(
                f"level is {shown(level)} ({type(level).__name__}); it must be a mosaic.Level(signal, noise), such as "
                "`level(t)` of a noise schedule gives."
            )
        if level.noise == 0 and not takes_finished:
            raise UsageError(f"{level} is not a level that {method.__name__} takes; its noise must be positive.")
        if not isinstance(scale, Real) or isinstance(scale, bool) or not isfinite(scale):
            raise UsageError(f"scale is {shown(scale)} ({type(scale).__name__}); it must be a finite number.")
        scale = int(scale) if float(scale).is_integer() else float(scale)
        if not isinstance(scale, int) and self.traits.has_scale and not self.traits.has_continuous_scale:
            raise UsageError(f"Scale {scale} is not one of score model '{self.name}': its scales are whole numbers.")
        labels = None if labels is None else _as_tensor(labels)
        self.dataset.check_batch(x, labels)
        # Weights that could be trained must not make torch keep what only a gradient would need.
        with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad):
            return method(self, x, level, None if labels is None else labels.to(x.device), scale)

    return call


def _as_tensor(labels: Any) -> Tensor:
    """Give labels as an int64 tensor."""
    try:
        tensor = labels if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.empty(0, dtype=torch.float32, device="cpu")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise UsageError(f"labels are {shown(labels)}; they must be integers, one a sample, -1 for none.")
    return tensor.to(torch.int64)


def eps_from_denoised(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """Predicted noise eps = (x - a x0hat) / s; shapes (B, C, H, W)."""
    return (x - level.signal * denoised) / level.noise


def score_from_denoised(x: Tensor, denoised: Tensor, level: Level) -> Tensor:
    """Score, grad log p_t(x) = (a x0hat - x) / s^2; shapes (B, C, H, W)."""
    return (level.signal * denoised - x) / level.noise**2
