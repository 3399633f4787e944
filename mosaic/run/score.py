"""A score at hand: evaluated at any point by hand, and given to samplers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypedDict, Unpack, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.engine.compute import Compute
from mosaic.engine.machine import AnalyticMachine
from mosaic.engine.posterior import Posterior
from mosaic.errors import UsageError
from mosaic.interfaces.attribution import Attribution
from mosaic.interfaces.fingerprint import fingerprint_of
from mosaic.interfaces.function_model import FunctionModel
from mosaic.interfaces.sampler import levels_at, uniform_times
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import ScoreModel, eps_from_denoised, score_from_denoised
from mosaic.progress import printable
from mosaic.registry.loading import registry
from mosaic.run.derivative import DIFFERENCE, Jacobian, check_difference, check_memory, differentiate
from mosaic.sampling.scales import ScaleSchedule, coarse_to_fine, resolve_scales
from mosaic.storage.parts import PartFiles

__all__ = ["Batch", "Labels", "Score", "as_tensor", "check_identified", "check_resumable", "is_registered", "name_of"]

Batch = Tensor | NDArray[Any]
Labels = Tensor | NDArray[Any] | Sequence[int]


class At(TypedDict, total=False):
    """Where a score is evaluated, besides at a time: each entry may be left out."""

    level: Level | None
    k: float | None
    labels: Labels | None


@dataclass(frozen=True, repr=False)
class Score:
    """A score model with a noise schedule and locality scales, evaluated wherever one likes.

    Noisy images x (B, C, H, W) are tensors or arrays, float32 or float64. The level is given as a time `t` of the
    schedule or as a `level`. `k` is the scale of a local machine, by default that of the scales at this level;
    `labels` (B,) are classes, -1 for none.

    Attributes
    ----------
    model : ScoreModel
        What computes x0hat.
    schedule : NoiseSchedule
        Whose times are meant.
    scales : str or None
        Locality scales, as the setting `scales` of a run (a list is one of as many steps); by default from about half
        the image at t = 1 to 3 at t = 0.
    maker : str
        What makes one, for messages.
    """

    maker: ClassVar[str] = "mosaic.score"

    model: ScoreModel
    schedule: NoiseSchedule
    scales: str | None = None

    def __repr__(self) -> str:
        told = f", {self.model.options.summary()}" if isinstance(self.model, FunctionModel) else ""
        named = f"{name_of(self.model)}, {self.model.dataset.name}"
        return printable(f"Score({named}, schedule {self.schedule.name}{told})")

    def settings(self) -> dict[str, Any]:
        """Give the settings of a run that are its own; the model and the images themselves are none."""
        return {
            "dataset": self.model.dataset.name,
            "dataset_options": dict(self.model.dataset.options),
            "schedule": self.schedule.name,
            "schedule_options": self.schedule.options.model_dump(mode="json"),
            **({} if self.scales is None else {"scales": self.scales}),
        }

    def denoise(self, x: Batch, t: float | None = None, **at: Unpack[At]) -> Tensor:
        """Give the posterior mean x0hat = E[x_0 | x_t = x] (B, C, H, W).

        Raises
        ------
        UsageError
            If x, the level, the scale or a label cannot be used; x that holds NaN or infinity neither.
        """
        with standard_torch():
            return self.model.denoise(*self._arguments(x, t, **at))

    def eps(self, x: Batch, t: float | None = None, **at: Unpack[At]) -> Tensor:
        """Give the noise eps = (x - a x0hat) / s that is predicted, (B, C, H, W); arguments as for `denoise`."""
        given, level, labels, scale = self._arguments(x, t, **at)
        with standard_torch():
            return eps_from_denoised(given, self.model.denoise(given, level, labels, scale), level)

    def score(self, x: Batch, t: float | None = None, **at: Unpack[At]) -> Tensor:
        """Give the score, grad log p_t(x) = (a x0hat - x) / s^2, (B, C, H, W); arguments as for `denoise`."""
        given, level, labels, scale = self._arguments(x, t, **at)
        with standard_torch():
            return score_from_denoised(given, self.model.denoise(given, level, labels, scale), level)

    def attribute(self, x: Batch, t: float | None = None, **at: Unpack[At]) -> Attribution:
        """Give x0hat and what each of its pixels is made of; arguments as for `denoise`, and noise may be 0.

        Raises
        ------
        UsageError
            Also if the model has no posterior over candidates.
        """
        with standard_torch():
            return self.model.attribute(*self._arguments(x, t, **at))

    def jacobian(
        self, x: Batch, t: float | None = None, *, difference: float = DIFFERENCE, **at: Unpack[At]
    ) -> Jacobian:
        """Give the derivative d x0hat / d x, and how it was found; other arguments as for `denoise`.

        It is a closed form where the model has one (IS, LS, ELS, soft-els, most of filtered, gaussian). Networks, and
        what computes with torch alone, are differentiated by torch; all else by central differences, two evaluations a
        value of x.

        Parameters
        ----------
        difference : float
            Length of the difference of x, over its noise. For a function that computes in float32, 1e-2 is better.

        Raises
        ------
        UsageError
            Also if it would take more than half of the memory: a sample of D = C H W values has D^2 derivatives, and
            takes 32 D^2 bytes (20 MB of 28 x 28, 300 MB of 3 x 32 x 32).

        Examples
        --------
        >>> import mosaic
        >>> els = mosaic.score("els", "digits")
        >>> els.jacobian(els.model.dataset.images[:1], t=0.5)
        Jacobian(B, C, H, W, C, H, W = (1, 1, 8, 8, 1, 8, 8), by closed form)
        """
        check_difference(difference)
        given, level, labels, scale = self._arguments(x, t, **at)
        self.model.dataset.check_batch(given)
        check_memory(len(given), given.shape[1:])
        told = None if labels is None else as_tensor(labels).to(given.device)
        pixels = range(given[0].numel())
        with standard_torch():
            matrix, method = differentiate(self.model, given, level, told, scale, pixels, difference)
        return Jacobian(matrix.view(*given.shape, *given.shape[1:]), method)

    def posterior(
        self, x: Batch, t: float | None = None, *, level: Level | None = None, k: float | None = None
    ) -> Posterior:
        """Give the posterior over the candidates of all training images, with entropy and the best candidate.

        Raises
        ------
        UsageError
            Also if the model is not one over training images.
        """
        if not isinstance(self.model, AnalyticMachine):
            raise UsageError(f"{self!r} is not a posterior over training images; `denoise` gives its mean.")
        given, at, _, scale = self._arguments(x, t, level, k)
        dataset = self.model.dataset
        dataset.check_batch(given)
        self.model.check((at,), (scale,), ())
        with standard_torch(), torch.no_grad():
            return self.model.posterior(given, dataset.images, at, scale, Compute(diagnostics=True))

    def as_denoiser(self) -> Callable[..., Tensor]:
        """Give D(x, sigma), for samplers elsewhere: x0hat of x = x_0 + sigma eps.

        `sigma` is a number or a tensor of one or of B entries, in any shape; a third argument, or `labels`, are labels.
        The time, on which a network or the default scales may depend, is that of the schedule at this
        noise-to-signal ratio.

        References: Karras et al. 2022, eq. 2.
        """

        def denoiser(x: Tensor, sigma: float | Tensor, labels: Labels | None = None) -> Tensor:
            values = torch.as_tensor(sigma, dtype=torch.float64, device="cpu").reshape(-1)
            if len(values) not in (1, len(x)):
                raise UsageError(
                    f"`sigma` has {len(values)} entries; it must have one, or one for each of {len(x)} images."
                )
            values = values.expand(len(x))
            given = None if labels is None else as_tensor(labels).to(x.device)
            denoised = torch.empty_like(x)
            for value in values.unique().tolist():
                rows = (values == value).nonzero()[:, 0].to(x.device)
                own, level = self.schedule.rescaled(x[rows], Level(1.0, value))
                denoised[rows] = self.denoise(own, level=level, labels=None if given is None else given[rows])
            return denoised

        return denoiser

    def _arguments(
        self,
        x: Batch,
        t: float | None,
        level: Level | None = None,
        k: float | None = None,
        labels: Labels | None = None,
    ) -> tuple[Tensor, Level, Any, float]:
        """What `ScoreModel.denoise` takes."""
        if (t is None) == (level is None):
            raise UsageError("Say at what level x is: by `t`, a time of the schedule, or by `level`.")
        if level is None:
            level = self.level_at(t)
        scale = self.scale_at(level) if k is None else k
        return as_tensor(x), level, labels, scale

    def level_at(self, t: Any) -> Level:
        """Level of the schedule at a time.

        Raises
        ------
        UsageError
            If it is not one from 0 to 1.
        """
        try:
            return self.schedule.level(float(t))
        except (TypeError, ValueError):
            raise UsageError(f"`t` is {t!r}; it must be a number from 0 (data) to 1 (noise).") from None

    def scale_at(self, level: Level) -> float:
        """Locality scale of a machine at a level; 0 for a model that has none."""
        if not self.model.traits.has_scale:
            return 0
        spec, continuous = self.scales or self.model.dataset.scales, self.model.traits.has_continuous_scale
        if spec is not None:
            count = spec.count(",") + 1 if not spec.startswith("{") else 1
            levels = levels_at(self.schedule, uniform_times(count))[::-1] if count > 1 else [level]
            scales = resolve_scales(spec, levels, continuous)  # a list is of steps, whose noise says which is nearest
            return ScaleSchedule(scales, tuple(each.ratio for each in levels)).at(level, continuous)
        try:
            t = self.schedule.time_of_ratio(level.ratio)
        except ValueError:  # beyond the schedule's ends
            t = float(level.ratio > self.schedule.level(0.5).ratio)
        return coarse_to_fine(min(self.model.dataset.shape[1:]), [t], [level]).scales[0]


def as_tensor(values: Any) -> Tensor:
    """Give an array or a list as a tensor of its own precision; the model refuses what is none."""
    try:
        return values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    except TypeError:
        return cast(Tensor, values)


def name_of(score: Any) -> str:
    """Name under which a score object is recorded: its plugin's, or its class or function with its module."""
    if isinstance(score, FunctionModel):
        return name_of(score.function)
    if is_registered(score):
        return str(score.name)
    kind = score if hasattr(score, "__qualname__") else type(score)
    return kind.__qualname__ if kind.__module__ == "__main__" else f"{kind.__module__}.{kind.__qualname__}"


def is_registered(score: object) -> bool:
    """Whether a score object is of a class that is registered, so that its name, options and data say what it is."""
    name = getattr(score, "name", None)
    return (
        isinstance(score, ScoreModel)
        and name in registry().names("score")
        and registry().get("score", str(name)) is type(score)
    )


def check_identified(score: ScoreModel | Callable[..., Any]) -> None:
    """Refuse to resume a score of which nothing that is stored shows that it is the same one.

    Raises
    ------
    UsageError
        With what may be the cause.
    """
    if is_registered(score):
        return
    shown = score.traits.fingerprint() if isinstance(score, ScoreModel) else fingerprint_of(score)
    if shown is None:
        raise UsageError(
            f"'{name_of(score)}' cannot be resumed: nothing shows that it is the same one. It has no fingerprint, or "
            "refers to something that shows neither values nor code, such as a random generator."
        )


def check_resumable(score: ScoreModel, files: Sequence[Path]) -> None:
    """Refuse to use what is stored, or in progress, at `files` where nothing shows that it is of the same score.

    Raises
    ------
    UsageError
        As `check_identified`.
    """
    if any(file.exists() or PartFiles(file).in_progress() for file in files):
        check_identified(score)
