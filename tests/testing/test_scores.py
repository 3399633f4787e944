"""For each check of score models one that is wrong in just that; attribution has its own file."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from conformance_checks import assert_caught, assert_passes, check_of
from ideal_score import Ideal, denoising, ideal
from pydantic import Field
from torch import Tensor

import mosaic
import mosaic.testing
from mosaic.testing import attribution
from mosaic.testing.scores import CHECKS


class Lossy(mosaic.Options):
    """Options that JSON does not bring back."""

    mood: float = Field(default_factory=random.random, exclude=True, description="Left out of what is stored.")


class Deaf(Ideal):
    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        return super().denoise(x, level, None, scale)


class Shifting(Ideal):
    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, is_equivariant=True)


class Steep(Ideal):
    def jacobian(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        return 1.01 * mosaic.ideal_jacobian(x, self.dataset.images, level)


class Local(Ideal):
    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, window=lambda scale: 3)


class Silent(Ideal):
    def check(self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]) -> Any:
        return None


class Remembering(Ideal):
    """Depends on the first level that it ever saw."""

    first: mosaic.Level | None = None

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        self.first = self.first or level
        return super().denoise(x, level, labels, scale) * (1 - 1e-4 * self.first.noise)


class Unconditional(Ideal):
    """Uses labels, though its traits deny it."""

    @property
    def traits(self) -> mosaic.Traits:
        return mosaic.Traits()


class Forgetful(Ideal):
    Options = Lossy


def spoil(x: Tensor, x0hat: Tensor) -> Tensor:
    x += 1
    return x0hat


WRONG: dict[str, type[mosaic.ScoreModel]] = {
    "shape_dtype_and_device_are_those_of_x": denoising(lambda model, x, level, x0hat: x0hat.double()),
    "inputs_are_unchanged": denoising(lambda model, x, level, x0hat: spoil(x, x0hat)),
    "a_batch_is_its_samples_one_by_one": denoising(lambda model, x, level, x0hat: x0hat + 1e-3 * x.mean(0)),
    "the_same_input_gives_the_same_result": denoising(lambda m, x, level, x0hat: x0hat + 1e-6 * torch.randn(x.shape)),
    "x0hat_is_finite_at_every_level": denoising(lambda m, x, level, x0hat: x0hat / (level.noise > 2e-3)),
    "x0hat_stays_in_the_range_of_the_data": denoising(lambda model, x, level, x0hat: 1.2 * x0hat),
    "x0hat_at_infinite_noise_is_the_mean": denoising(lambda model, x, level, x0hat: x0hat + x / level.noise / 10),
    "labels_choose_the_training_images": Deaf,
    "an_unknown_label_is_refused": Deaf,
    "x0hat_of_an_equivariant_model_follows_shifts": Shifting,
    "a_closed_form_of_the_jacobian_is_the_derivative_of_x0hat": Steep,
    "x0hat_depends_on_no_more_than_the_window": Local,
    "options_survive_json": Forgetful,
    "check_returns_notes": Silent,
    "it_is_exact": denoising(lambda model, x, level, x0hat: x0hat + 1e-3),
    "a_run_is_stored_and_read_back": denoising(lambda model, x, level, x0hat: x0hat + 1e-3 * type(model).calls),
}


class Selective(Ideal):
    """Refuses levels of little noise, as a network does for which it was not trained."""

    least = 0.3

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        if any(level.noise < self.least for level in levels):
            raise mosaic.UsageError("too little noise")
        return super().check(levels, scales, labels)


class VerySelective(Selective):
    least = 0.6


def test_what_is_right_passes() -> None:
    assert_passes("score", Ideal, oracle=ideal)


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in attribution.__all__])
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("score", WRONG[name], name, oracle=ideal)


@pytest.mark.parametrize(
    ("wrong", "name", "message"),
    [
        (Remembering, "the_same_input_gives_the_same_result", ""),
        (Unconditional, "labels_choose_the_training_images", "`is_conditional`.*True"),
    ],
)
def test_other_ways_to_be_wrong(wrong: type[mosaic.ScoreModel], name: str, message: str) -> None:
    assert_caught("score", wrong, name, message)


def test_a_model_that_refuses_levels_is_checked_at_the_others_only() -> None:
    outcomes = mosaic.testing.check_score(Selective)
    assert outcomes["x0hat_stays_in_the_range_of_the_data"] == "does not apply"
    assert outcomes["x0hat_at_infinite_noise_is_the_mean"] == "does not apply"
    assert outcomes["x0hat_is_finite_at_every_level"] == "passed"


def test_a_model_that_refuses_most_levels_is_caught() -> None:
    """Of noise 1e-3, 1e-2, 0.1, 0.5, 0.9 and 1 it accepts two."""
    assert_caught("score", VerySelective, "x0hat_is_finite_at_every_level")


@pytest.mark.parametrize(("excess", "passes"), [(0.5e-9, True), (2e-9, False)])
def test_exactness_is_held_to_1e_9_in_float64(excess: float, passes: bool) -> None:
    wrong = denoising(lambda model, x, level, x0hat: x0hat + excess * (x.dtype == torch.float64))
    if passes:
        assert check_of("score", wrong, "it_is_exact", oracle=ideal)() == "passed"
    else:
        assert_caught("score", wrong, "it_is_exact", r"float64 \(by 2e-09, more than 1e-09\)", oracle=ideal)
