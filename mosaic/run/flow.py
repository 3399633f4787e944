"""A reverse flow by hand: step by step, from noise or from any state, and changed on its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.sampler import Sampler, Step, levels_at
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import eps_from_denoised, score_from_denoised
from mosaic.registry.loading import registry
from mosaic.run.score import Batch, Labels, Score, as_tensor
from mosaic.sampling.noise import StepNoise, noise_of
from mosaic.sampling.scales import resolve_scales

__all__ = ["FlowStep", "flow"]


@dataclass(repr=False)
class FlowStep(Step):
    """A step of a flow: where it is, what the score says there, and where it goes.

    Setting `following` (B, C, H, W) changes where the flow goes on.

    Attributes
    ----------
    t : float
        Time of the state, 1 at noise.
    level : Level
        Its noise level.
    k : float
        Locality scale that was used; 0 for a score without one.
    """

    t: float
    level: Level
    k: float

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "following" and name in self.__dict__:
            raise UsageError(f"`{name}` of a step is what was; set `following`, from which the flow goes on.")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"FlowStep({self.index}, t = {self.t:.3g}, k = {self.k:.4g}, B, C, H, W = {tuple(self.state.shape)})"

    @property
    def eps(self) -> Tensor:
        """Noise (x - a x0hat) / s that is predicted in the state, (B, C, H, W)."""
        return eps_from_denoised(self.state, self.denoised, self.level)

    @property
    def score(self) -> Tensor:
        """Score (a x0hat - x) / s^2 in the state, (B, C, H, W)."""
        return score_from_denoised(self.state, self.denoised, self.level)


@checked()
def flow(
    score: Score,
    seeds: Sequence[int] | np.ndarray | None = None,
    *,
    steps: int = 20,
    x: Batch | None = None,
    t: float = 1.0,
    labels: Labels | None = None,
    sampler: str | Sampler = "ddim",
    sampler_options: Mapping[str, Any] | None = None,
) -> Iterator[FlowStep]:
    """Run the reverse flow of a score step by step; `following` of the last step is the image.

    Parameters
    ----------
    score : Score
        As `mosaic.score` gives it.
    seeds : sequence or array of int, optional
        A seed for each sample, of its noise; those that a run stores as `seed` give its noise. By default 0 to 3, or 0
        to B - 1 with `x`, where only the noise of a stochastic sampler depends on them.
    steps : int
        Steps of the whole flow, from t = 1.
    x : Tensor or ndarray (B, C, H, W), optional
        State to start from, at time `t`, in place of noise.
    t : float
        Time of `x`, 0 < t <= 1: the first step. The others are those of the whole flow below t.
    labels : sequence of int, optional
        Class of each sample, -1 for none.
    sampler : str or Sampler
        A registered name, or a sampler.
    sampler_options : mapping, optional
        Options of a sampler that is given by its name.

    Returns
    -------
    iterator of FlowStep
        Each with `t`, `level`, `k`, `state`, `denoised`, `following`, `eps` and `score`.

    Raises
    ------
    UsageError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    Examples
    --------
    >>> import mosaic
    >>> els = mosaic.score("els", "digits")
    >>> for step in mosaic.flow(els, seeds=range(2), steps=10):
    ...     if step.t < 0.5:
    ...         step.following = step.following.clamp(-1, 1)
    >>> step.following.shape
    torch.Size([2, 1, 8, 8])
    """
    made = sampler if isinstance(sampler, Sampler) else registry().make("sampler", sampler, sampler_options or {})
    if not 0 < t <= 1:
        raise UsageError(f"`t` is {t}; a flow starts at a time above 0 (data) and up to 1 (noise).")
    if x is None and t != 1:
        raise UsageError(f"`t` is {t}; give `x`, the state at this time, or start from noise at t = 1.")
    if steps < 1:
        raise UsageError(f"`steps` is {steps}; a flow has at least one.")
    whole = made.times(score.schedule, steps)
    times = whole if x is None else [t, *(time for time in whole if time < t)]
    levels = levels_at(score.schedule, times)
    dataset = score.model.dataset
    own = [int(seed) for seed in (range(4 if x is None else len(x)) if seeds is None else seeds)]
    if x is None:  # as in a run, in float32
        start = (noise_of(own, dataset.shape).double() * levels[0].noise).float().to(dataset.images.device)
    else:
        start = as_tensor(x)
    dataset.check_batch(start)
    if len(own) != len(start):
        raise UsageError(f"`seeds` are {len(own)}, and `x` holds {len(start)} samples; give one for each.")
    scales = _scales(score, levels)

    def denoise(state: Tensor, level: Level, index: int) -> Tensor:
        if level != levels[index]:
            state, level = score.schedule.rescaled(state, level)
        return score.denoise(state, level=level, k=scales[index], labels=labels)

    return _steps(made, denoise, start, times, levels, scales, StepNoise(own))


def _scales(score: Score, levels: Sequence[Level]) -> list[float]:
    if score.scales is None or not score.model.traits.has_scale:
        return [score.scale_at(level) for level in levels]
    continuous = score.model.traits.has_continuous_scale
    return list(resolve_scales(score.scales, levels[::-1], continuous)[::-1])


def _steps(
    sampler: Sampler,
    denoise: Any,
    start: Tensor,
    times: Sequence[float],
    levels: Sequence[Level],
    scales: Sequence[float],
    noise: StepNoise,
) -> Iterator[FlowStep]:
    for step in sampler.flow(denoise, start, levels, noise):
        at = step.index
        shown = FlowStep(at, step.state, step.denoised, step.following, times[at], levels[at], scales[at])
        yield shown
        step.following = as_tensor(shown.following).to(step.state)  # what a user has set
