"""Any function or network as a score model: what it is told, what it gives, and x0hat of that."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.fingerprint import fingerprint_of
from mosaic.interfaces.options import Options
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import ScoreModel, Traits

__all__ = ["Convention", "FunctionModel"]


class Convention(Options):
    """What a function is told of the noise, and what it predicts.

    It is called as f(x', time), with x' = a' x_0 + s' eps. Those of the schedule, (a', s') = (a, s), unless: with
    `time="sigma"` they are (1, sigma), sigma = s / a; with `time="timestep"` they are scaled to a'^2 + s'^2 = 1; with
    `prediction="flow"` to a' + s' = 1.

    References: Ho et al. 2020 (eps); Salimans & Ho 2022, app. D (v); Song et al. 2021 (score); Karras et al. 2022,
    eq. 7 and table 1 (sigma, preconditioning); Lipman et al. 2023 and Liu et al. 2023 (flow).
    """

    prediction: Literal["eps", "x0", "v", "score", "flow"] = Field(
        "eps",
        description="What it gives: eps; x0; v = a' eps - s' x0; the score of the law of x'; or flow = eps - x0.",
    )
    time: Literal["t", "level", "sigma", "timestep"] = Field(
        "t",
        description="What it is told: t in [0, 1] of the schedule (of the flow, s'); the mosaic.Level(a', s'); sigma; "
        "or the index of a training timestep, 0 to `timesteps` - 1, where t = (index + 1) / `timesteps`, not rounded "
        "(of the flow, s' `timesteps`). All but the level: one number a sample (B,).",
    )
    preconditioning: Literal["none", "edm"] = Field(
        "none",
        description="edm: it is the raw network F of x0hat = c_skip x' + c_out F(c_in x', ln(sigma) / 4), which then "
        "is in the coordinates of sigma.",
    )
    timesteps: int = Field(1000, ge=1, description="Training timesteps, for `time=timestep`.")
    sigma_data: float = Field(0.5, gt=0, description="Standard deviation of the data, for `preconditioning=edm`.")
    labels: bool = Field(False, description="Whether its third argument is the labels (B,), int64, -1 for none.")

    @model_validator(mode="after")
    def _is_one_convention(self) -> Self:
        if self.preconditioning == "edm" and (self.prediction, self.time) not in (("eps", "t"), ("x0", "sigma")):
            raise ValueError("with preconditioning edm prediction is x0 and time is sigma; leave them out")
        if self.prediction == "flow" and self.time == "sigma":
            raise ValueError("a flow is a function of t or of a timestep, not of sigma")
        return self

    def summary(self) -> str:
        """Say in a few words what the function gives and is told."""
        if self.preconditioning == "edm":
            return "F of EDM's preconditioning"
        return f"{self.prediction} told {'the level' if self.time == 'level' else self.time}"

    @property
    def needs_schedule(self) -> bool:
        """Whether the function is told the time of a schedule, so that it takes no level beyond that schedule."""
        return self.preconditioning == "none" and self.time in ("t", "timestep") and self.prediction != "flow"

    def input_level(self, level: Level) -> Level:
        """Give (a', s') of the coordinates in which the function takes x.

        Raises
        ------
        UsageError
            If there is no signal in the level, of which no x0hat could be told.
        """
        if level.signal == 0:
            raise UsageError(f"{level} has no signal, so what a function predicts there says nothing of x_0.")
        size = 1.0
        if self.preconditioning == "edm" or self.time == "sigma":
            size = level.signal
        elif self.prediction == "flow":
            size = level.signal + level.noise
        elif self.time == "timestep":
            size = math.hypot(level.signal, level.noise)
        return Level(level.signal / size, level.noise / size)

    @property
    def trains_eps(self) -> bool:
        """Whether a network of this convention can be trained here: its eps, at the time of its schedule."""
        return self.preconditioning == "none" and self.prediction == "eps" and self.time in ("t", "timestep")

    def training_input(self, x: Tensor, signal: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give x' (B, C, H, W) and what a network is told (B,) of x at the levels of the times t (B,), if `trains_eps`.

        Parameters
        ----------
        signal, noise : Tensor (B,), float64
            Of the schedule at t.
        """
        if self.time == "t":
            return x, t
        size = torch.hypot(signal, noise)[:, None, None, None]
        return x / size.to(x), self._timestep(t).clamp(min=0)

    def _timestep(self, t: Any) -> Any:
        """Index, not rounded, of the training timestep of a time: a float, or a tensor of them."""
        return t * self.timesteps - 1

    def inputs(self, x: Tensor, level: Level, time_of: Callable[[Level], float]) -> tuple[Tensor, float | Level]:
        """Give what the function is called with of x (B, C, H, W) at a level: x' and what it is told of the noise.

        With EDM's preconditioning it is c_in x', as `F` takes it. Arguments and errors as for `denoised`.
        """
        inner = self.input_level(level)
        given = _moved(x, level, inner)
        if self.preconditioning == "edm":  # Karras et al. 2022, table 1
            return given / math.sqrt(inner.noise**2 + self.sigma_data**2), math.log(inner.noise) / 4
        return given, self._told(level, inner, time_of)

    def denoised(self, x: Tensor, level: Level, predict: Predict, time_of: Callable[[Level], float]) -> Tensor:
        """Give x0hat (B, C, H, W) of x at a level, by what the function predicts.

        Parameters
        ----------
        predict : callable
            The function: of x' (B, C, H, W) and what it is told of the noise; it gives a tensor like x'.
        time_of : callable
            Time t in [0, 1] of a level on the function's schedule; called only if `needs_schedule`.
        """
        inner, predicted = self.input_level(level), predict(*self.inputs(x, level, time_of))
        given = _moved(x, level, inner)
        if self.preconditioning == "edm":  # Karras et al. 2022, eq. 7 and table 1
            data, sigma = self.sigma_data, inner.noise
            total = sigma**2 + data**2
            denoised = data**2 / total * given + sigma * data / math.sqrt(total) * predicted
        else:
            denoised = DENOISED[self.prediction](given, predicted, inner)
        # No gradient is taken that would lack the prediction's own.
        return denoised if predicted.requires_grad else denoised.detach()

    def _told(self, level: Level, inner: Level, time_of: Callable[[Level], float]) -> float | Level:
        """What the function is told of a level, whose coordinates are `inner`."""
        match self.time:
            case "level":
                return inner
            case "sigma":
                return inner.noise
            case "t":
                return inner.noise if self.prediction == "flow" else time_of(level)
            case "timestep":
                if self.prediction == "flow":
                    return inner.noise * self.timesteps
                return max(0.0, float(self._timestep(time_of(level))))


def _moved(x: Tensor, level: Level, inner: Level) -> Tensor:
    """Give x of a level in the coordinates of another one of the same noise-to-signal ratio."""
    return x if inner == level else x * (inner.signal / level.signal)


Predict = Callable[[Tensor, float | Level], Tensor]

Denoised = Callable[[Tensor, Tensor, Level], Tensor]

DENOISED: dict[str, Denoised] = {
    "eps": lambda x, eps, level: (x - level.noise * eps) / level.signal,
    "x0": lambda x, denoised, level: denoised,
    # a x - s v = a (a x0 + s eps) - s (a eps - s x0) = (a^2 + s^2) x0
    "v": lambda x, v, level: (level.signal * x - level.noise * v) / (level.signal**2 + level.noise**2),
    "score": lambda x, score, level: (x + level.noise**2 * score) / level.signal,  # Tweedie's formula
    "flow": lambda x, flow, level: x - level.noise * flow,  # a + s = 1
}
"""x0hat of x at a level by what was predicted; shapes (B, C, H, W)."""


class FunctionModel(ScoreModel):
    """A score model from any function or network, by the convention that it follows.

    Parameters
    ----------
    function : callable
        Of the arguments that the convention says. It gives a tensor like x', or an object that has it as `sample`. A
        `torch.nn.Module` is evaluated in eval mode and in its own precision.
    schedule : NoiseSchedule
        Whose t is meant. A run may have another: its levels become those of the same noise-to-signal ratio.
    """

    name = "function"
    Options = Convention
    options: Convention

    def __init__(
        self,
        function: Callable[..., Any],
        dataset: DataSet,
        schedule: NoiseSchedule,
        convention: Convention | None = None,
    ) -> None:
        super().__init__(convention, dataset)
        self.function, self.schedule = function, schedule

    @property
    def traits(self) -> Traits:
        """Its fingerprint is that of weights and code, where they can be seen, and of its schedule."""
        return Traits(fingerprint=self._fingerprint)

    def _fingerprint(self) -> str | None:
        schedule = self.schedule.name, repr(self.schedule.options.model_dump(mode="json"))
        return fingerprint_of((self.function, *schedule))

    def check(self, levels: tuple[Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]) -> Sequence[str]:
        """Refuse arguments, labels too, that the function does not take, and levels that its schedule does not have.

        Raises
        ------
        UsageError
            With what it is called with.
        """
        self._check_arguments()
        if not self.options.labels and any(label >= 0 for label in labels):
            raise UsageError("This score is a function without labels; use `labels` none, or say `labels=True` of it.")
        if self.options.needs_schedule:
            for level in levels:
                self._time_on_schedule(level)
        return ()

    def _check_arguments(self) -> None:
        """Refuse a function that does not take what it is called with; errors inside it stay its own."""
        given = ("x", self.options.time, *["labels"] * self.options.labels)
        try:
            forward = self.function.forward if isinstance(self.function, nn.Module) else self.function
            signature = inspect.signature(forward)
        except (TypeError, ValueError):  # of what is not written in Python, in most cases
            return
        try:
            signature.bind(*given)
        except TypeError:
            raise UsageError(
                f"This score is a function of {signature}; it is called with {len(given)} arguments, "
                f"({', '.join(given)})."
            ) from None

    @standard_torch()
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat (B, C, H, W) of x by what the function predicts; not bounded by the range of the data.

        Raises
        ------
        UsageError
            If the function gives anything but a tensor of x's shape, or labels or level cannot be used.
        """
        self.check((), (), () if labels is None else tuple(labels.tolist()))

        def predict(given: Tensor, told: float | Level) -> Tensor:
            return self._call(given, told, labels)

        if self.options.needs_schedule:  # which need not be the run's
            x, level = self.schedule.rescaled(x, level)
        return self.options.denoised(x, level, predict, self._time_on_schedule).to(x.dtype)

    def _time_on_schedule(self, level: Level) -> float:
        """Give the time at which the schedule has the level's noise-to-signal ratio."""
        try:
            return self.schedule.time_of_ratio(level.ratio)
        except ValueError:
            raise UsageError(
                f"{level} is beyond the schedule '{self.schedule.name}', whose noise-to-signal ratio goes from "
                f"{self.schedule.level(0.0).ratio:.3g} to {self.schedule.level(1.0).ratio:.3g}; give the schedule that "
                "the function was trained with."
            ) from None

    def _call(self, x: Tensor, time: float | Level, labels: Tensor | None) -> Tensor:
        weight = _weight_of(self.function)
        if weight is not None and weight.device != x.device:
            raise UsageError(f"The network is on {weight.device}, and the data are on {x.device}; move one of them.")
        dtype = x.dtype if weight is None else weight.dtype
        told = torch.full((len(x),), time, dtype=dtype, device=x.device) if isinstance(time, float) else time
        arguments: list[Any] = [x.to(dtype), told]
        if self.options.labels:
            none = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
            arguments.append(none if labels is None else labels)
        with _evaluating(self.function):
            answer = self.function(*arguments)
        predicted = answer if isinstance(answer, Tensor) else getattr(answer, "sample", answer)
        if not isinstance(predicted, Tensor) or predicted.shape != x.shape or predicted.is_complex():
            is_tensor = isinstance(predicted, Tensor)
            kind = f"{predicted.dtype} of shape {tuple(predicted.shape)}" if is_tensor else f"a {type(answer).__name__}"
            raise UsageError(
                f"This score is a function that gave {kind} for x of shape {tuple(x.shape)}; it must give real numbers "
                "of the same shape."
            )
        return predicted.to(x.dtype)


def _weight_of(function: Any) -> Tensor | None:
    """A weight of a network, which has the precision and the device of all; None for what has none."""
    parameters = function.parameters() if isinstance(function, nn.Module) else iter(())
    return next((each for each in parameters if each.is_floating_point()), None)


@contextmanager
def _evaluating(function: Any) -> Iterator[None]:
    """Have a network in eval mode in the block, without dropout and with stored statistics, and then as it was."""
    modules = [each for each in function.modules() if each.training] if isinstance(function, nn.Module) else []
    for each in modules:
        each.training = False
    try:
        yield
    finally:
        for each in modules:
            each.training = True
