"""The checks that every sampler must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from mosaic.interfaces.sampler import Denoise, Draw, Sampler, Step, levels_at
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.testing.case import PluginCase, require

__all__ = ["CHECKS"]

STEPS = 5
TYPES = (torch.float64, torch.float32)


class _Straight(NoiseSchedule):
    """Signal 1 - t / 2, noise 2 t: neither variance preserving nor of constant signal."""

    name = "straight"

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t / 2, 2 * t


def _sampler(case: PluginCase) -> Sampler:
    sampler: Sampler = case.plugin(case.parsed())
    return sampler


def _levels(case: PluginCase) -> list[Level]:
    return levels_at(_Straight(), _sampler(case).times(_Straight(), STEPS))


def _normal(generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float64, device="cpu").to(like)


def _draw(seed: int = 2) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    return lambda x: _normal(generator, x)


def _start(dtype: torch.dtype) -> Tensor:
    like = torch.empty(3, 2, 4, 3, dtype=dtype, device="cpu")
    return 2 * _normal(torch.Generator().manual_seed(1), like)


def _to_normal(x: Tensor, level: Level, index: int) -> Tensor:
    """x0hat of data that are N(0, 1) in each pixel."""
    return level.signal / (level.signal**2 + level.noise**2) * x


def _constant(image: Tensor) -> Denoise:
    return lambda x, level, index: image.clone()


def _flow(case: PluginCase, x: Tensor, denoise: Denoise = _to_normal, draw: Draw | None = None) -> Iterator[Step]:
    return _sampler(case).flow(denoise, x, _levels(case), draw or _draw())


def _images(flow: Iterator[Step]) -> Tensor:
    *_, last = flow
    return last.following


def times_fall_from_one(case: PluginCase) -> None:
    """As many times as steps, from t = 1 (or lower, with grid=leading) down to a time above 0."""
    for steps in (1, 2, 7):
        sampler = _sampler(case)
        times = sampler.times(_Straight(), steps)
        require(len(times) == steps, f"{len(times)} times for {steps} steps")
        first = 1.0 if sampler.options.grid != "leading" else min(1.0, times[0])
        require(times[0] == first, f"the first of {steps} times is {times[0]}, not {first:g}")
        require(all(after < t for t, after in pairwise([*times, 0.0])), f"the times {times} do not fall to above 0")


def steps_lead_from_state_to_state(case: PluginCase) -> None:
    """Steps are numbered from 0, one for each level; each starts where the one before led."""
    x = _start(torch.float64)
    steps = list(_flow(case, x))
    require([step.index for step in steps] == list(range(STEPS)), f"steps are {[step.index for step in steps]}")
    states = [x, *(step.following for step in steps)]
    for step, state in zip(steps, states, strict=False):
        require(torch.equal(step.state, state), f"step {step.index} does not start where the one before led")


def a_changed_state_is_where_it_goes_on(case: PluginCase) -> None:
    """What `following` is set to is the next step's state."""
    wanted = _start(torch.float64)
    for step in _flow(case, wanted):
        require(torch.equal(step.state, wanted), f"step {step.index} does not start from the state that was set")
        step.following = wanted = step.following + 1


def the_first_evaluation_of_a_step_is_its_x0hat(case: PluginCase) -> None:
    """`denoised` is the first x0hat that a step asks for; it asks for as many as the class says."""
    asked: list[Tensor] = []

    def denoise(x: Tensor, level: Level, index: int) -> Tensor:
        asked.append(_to_normal(x, level, index))
        return asked[-1]

    for step in _flow(case, _start(torch.float64), denoise):
        wanted = case.plugin.evaluations if step.index < STEPS - 1 else 1
        require(len(asked) == wanted, f"step {step.index} evaluates the score {len(asked)} times, not {wanted}")
        require(torch.equal(step.denoised, asked[0]), f"`denoised` of step {step.index} is not its first x0hat")
        asked.clear()


def the_scale_is_that_of_the_level(case: PluginCase) -> None:
    """`index` is the cleanest step whose level has at least the noise-to-signal ratio of the level asked for."""
    levels = _levels(case)

    def denoise(x: Tensor, level: Level, index: int) -> Tensor:
        above = [i for i, each in enumerate(levels) if each.ratio >= level.ratio * (1 - 1e-9)]
        wanted = above[-1] if above else 0
        require(index == wanted, f"x0hat at {level} is asked for with the scale of step {index}, not {wanted}")
        return _to_normal(x, level, index)

    list(_flow(case, _start(torch.float64), denoise))


def the_same_noise_gives_the_same_images(case: PluginCase) -> None:
    """Two flows with the same start and draws agree bit for bit; torch's global generator is not used."""
    before = torch.get_rng_state()
    images = [_images(_flow(case, _start(torch.float32))) for _ in range(2)]
    require(torch.equal(*images), "the same noise gives other images")
    require(torch.equal(torch.get_rng_state(), before), "it draws from torch's global generator")


def it_draws_noise_where_it_says_so(case: PluginCase) -> None:
    """`is_stochastic` says whether `draw` is called, and the images depend on what it gives."""
    images = [_images(_flow(case, _start(torch.float64), draw=_draw(seed))) for seed in (2, 3)]
    stochastic = _sampler(case).is_stochastic
    require(
        torch.equal(*images) != stochastic,
        f"is_stochastic is {stochastic}, but other draws give {'other' if not stochastic else 'the same'} images",
    )


def a_constant_x0hat_is_the_image(case: PluginCase) -> None:
    """If x0hat is one image at every level, that is where the flow ends: at noise 0."""
    for dtype in TYPES:
        x = _start(dtype)
        wanted = torch.linspace(-1, 1, x.numel(), dtype=dtype, device="cpu").reshape(x.shape)
        apart = (_images(_flow(case, x, _constant(wanted))) - wanted).abs().max()
        require(float(apart) <= 100 * torch.finfo(dtype).eps, f"the image is {float(apart):.2g} from x0hat in {dtype}")


def states_are_finite_and_like_x(case: PluginCase) -> None:
    """States and x0hat have x's shape and dtype, float32 or float64, and are finite."""
    for dtype in TYPES:
        x = _start(dtype)
        for step in _flow(case, x):
            for name in ("state", "denoised", "following"):
                value: Tensor = getattr(step, name)
                require(
                    (value.shape, value.dtype) == (x.shape, x.dtype),
                    f"`{name}` of step {step.index} is {value.dtype} of shape {tuple(value.shape)} for x of {dtype}",
                )
                require(bool(torch.isfinite(value).all()), f"`{name}` of step {step.index} is not finite in {dtype}")


def nothing_given_or_yielded_is_changed(case: PluginCase) -> None:
    """Neither the start, nor x0hat, nor the states that were yielded change later."""
    x = _start(torch.float64)
    kept = [(x, x.clone())]

    def denoise(x: Tensor, level: Level, index: int) -> Tensor:
        denoised = _to_normal(x, level, index)
        kept.append((denoised, denoised.clone()))
        return denoised

    for step in _flow(case, x, denoise):
        kept += [(value, value.clone()) for value in (step.state, step.denoised, step.following)]
    require(all(torch.equal(now, then) for now, then in kept), "it changes a tensor in place; it must work on a copy")


def a_batch_is_its_samples_one_by_one(case: PluginCase) -> None:
    """A sample does not depend on the others of its batch."""
    x = _start(torch.float64)

    def draws(rows: slice) -> Draw:
        generator = torch.Generator().manual_seed(2)
        return lambda part: _normal(generator, x)[rows]

    together = _images(_flow(case, x, draw=draws(slice(None))))
    for row in range(len(x)):
        rows = slice(row, row + 1)
        apart = (_images(_flow(case, x[rows], draw=draws(rows))) - together[rows]).abs().max()
        require(float(apart) < 1e-10, f"a sample alone is {float(apart):.2g} from the same one in a batch")


def options_survive_json(case: PluginCase) -> None:
    """Options are the same after a round trip through JSON; each has a description."""
    case.check_options()


CHECKS: dict[str, Callable[[PluginCase], None]] = {
    check.__name__: check
    for check in (
        times_fall_from_one,
        steps_lead_from_state_to_state,
        a_changed_state_is_where_it_goes_on,
        the_first_evaluation_of_a_step_is_its_x0hat,
        the_scale_is_that_of_the_level,
        the_same_noise_gives_the_same_images,
        it_draws_noise_where_it_says_so,
        a_constant_x0hat_is_the_image,
        states_are_finite_and_like_x,
        nothing_given_or_yielded_is_changed,
        a_batch_is_its_samples_one_by_one,
        options_survive_json,
    )
}
