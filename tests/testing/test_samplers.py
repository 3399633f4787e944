"""For each check of samplers one that is wrong in just that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from conformance_checks import assert_caught, assert_passes
from torch import Tensor

import mosaic
import mosaic.testing
from mosaic.testing.samplers import CHECKS

Denoise = Callable[[Tensor, mosaic.Level, int], Tensor]
Draw = Callable[[Tensor], Tensor]


class Renoising(mosaic.Sampler):
    """Right: adds fresh noise to x0hat at each level."""

    name = "renoising"

    @property
    def is_stochastic(self) -> bool:
        return True

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[mosaic.Level], draw: Draw) -> Iterator[mosaic.Step]:
        for index, (level, after) in enumerate(pairwise((*levels, mosaic.Level(1.0, 0.0)))):
            denoised = self.denoised(denoise, x, level, index)
            step = mosaic.Step(index, x, denoised, self.following(denoised, after, draw))
            yield step
            x = self.next(step)

    def denoised(self, denoise: Denoise, x: Tensor, level: mosaic.Level, index: int) -> Tensor:
        return denoise(x, level, index)

    def following(self, denoised: Tensor, after: mosaic.Level, draw: Draw) -> Tensor:
        return after.signal * denoised + after.noise * draw(denoised)

    def next(self, step: mosaic.Step) -> Tensor:
        return step.following


class Undescribed(mosaic.SamplerOptions):
    size: int = 3


def wrong(**members: Any) -> type[Renoising]:
    return type("Wrong", (Renoising,), members)


def skipping(self: Renoising, denoise: Denoise, x: Tensor, levels: Any, draw: Draw) -> Iterator[mosaic.Step]:
    return Renoising.flow(self, denoise, x, levels[:-1], draw)


def in_place(self: Renoising, denoise: Denoise, x: Tensor, level: mosaic.Level, index: int) -> Tensor:
    return denoise(x.mul_(1.5), level, index)


def averaged(self: Renoising, denoised: Tensor, after: mosaic.Level, draw: Draw) -> Tensor:
    return Renoising.following(self, denoised.mean(0, keepdim=True).expand_as(denoised), after, draw)


kept: dict[int, Tensor] = {}


def unheeding(self: Renoising, denoised: Tensor, after: mosaic.Level, draw: Draw) -> Tensor:
    kept[id(self)] = Renoising.following(self, denoised, after, draw)
    return kept[id(self)]


WRONG: dict[str, type[mosaic.Sampler]] = {
    "times_fall_from_one": wrong(times=lambda self, schedule, steps: [0.9**i * 0.99 for i in range(steps)]),
    "steps_lead_from_state_to_state": wrong(flow=skipping),
    "a_changed_state_is_where_it_goes_on": wrong(following=unheeding, next=lambda self, step: kept[id(self)]),
    "the_first_evaluation_of_a_step_is_its_x0hat": wrong(
        denoised=lambda self, denoise, x, level, index: denoise(denoise(x, level, index), level, index)
    ),
    "the_scale_is_that_of_the_level": wrong(denoised=lambda self, denoise, x, level, index: denoise(x, level, 0)),
    "the_same_noise_gives_the_same_images": wrong(
        following=lambda self, denoised, after, draw: denoised + after.noise * draw(torch.randn_like(denoised)) * 0
    ),
    "it_draws_noise_where_it_says_so": wrong(is_stochastic=False),
    "a_constant_x0hat_is_the_image": wrong(following=lambda self, denoised, after, draw: 0.9 * denoised),
    "states_are_finite_and_like_x": wrong(
        following=lambda self, denoised, after, draw: Renoising.following(self, denoised, after, draw).double()
    ),
    "nothing_given_or_yielded_is_changed": wrong(denoised=in_place),
    "a_batch_is_its_samples_one_by_one": wrong(following=averaged),
    "options_survive_json": wrong(Options=Undescribed),
}


def test_what_is_right_passes() -> None:
    assert_passes("sampler", Renoising)


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("sampler", WRONG[name], name)
