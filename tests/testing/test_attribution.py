"""For each check of attribution a score model that is wrong in just that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from conformance_checks import assert_caught, check_of
from ideal_score import Ideal, ideal
from torch import Tensor

import mosaic
import mosaic.testing
from mosaic.testing import attribution


class Attributing(Ideal):
    """Attributes every pixel to the first, with half of x0hat."""

    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, has_attribution=True)

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Attribution:
        index = torch.zeros(len(x), *x.shape[2:], dtype=torch.int64)
        source = mosaic.Source(index, index, index, index)
        denoised = 0.5 * self.denoise(x, mosaic.Level(level.signal, level.noise or 0.1), labels)
        return mosaic.Attribution(denoised, source, index + 0.5, index.double())


class Misplacing(mosaic.AnalyticMachine):
    """Right but for the sources: those of another image."""

    name = "misplacing"

    def posterior(
        self, x: Tensor, images: Tensor, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        return mosaic.ideal_posterior(x, images, level, compute=compute)

    def sources(self, posterior: mosaic.Posterior, images: Tensor, level: mosaic.Level, scale: float) -> mosaic.Source:
        source = mosaic.resolve_image_ties(posterior, images, translates=False)
        return replace(source, image=(source.image + 1) % len(images))


class Blurring(Misplacing):
    """Right but at noise 0, where x0hat is not the pixels of the source."""

    sources = mosaic.AnalyticMachine.sources

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Attribution:
        attribution = super().attribute(x, level, labels, scale)
        return attribution if level.noise else replace(attribution, denoised=0.9 * attribution.denoised)


class Whole(Misplacing):
    """Right: the ideal score, attributed to whole images."""

    sources = mosaic.AnalyticMachine.sources


def attributing(**changes: Callable[[mosaic.Attribution], Any]) -> type[Whole]:
    """Make a model whose attribution differs in these fields: each function gives the field's value."""

    class Wrong(Whole):
        def attribute(
            self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
        ) -> mosaic.Attribution:
            attribution = super().attribute(x, level, labels, scale)
            return replace(attribution, **{name: change(attribution) for name, change in changes.items()})

    return Wrong


WRONG: dict[str, type[mosaic.ScoreModel]] = {
    "attribution_agrees_with_denoise": Attributing,
    "attribution_names_the_pixels_that_x0hat_shows": Misplacing,
    "attribution_of_finished_images_is_the_limit": Blurring,
}


def test_what_is_right_passes() -> None:
    outcomes = mosaic.testing.check_score(Whole, oracle=ideal)
    assert {outcomes[name] for name in attribution.__all__} == {"passed"}


@pytest.mark.parametrize("name", attribution.__all__)
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("score", WRONG[name], name)


@pytest.mark.parametrize("name", attribution.__all__)
def test_a_model_without_attribution_is_not_checked(name: str) -> None:
    assert check_of("score", Ideal, name)() == "does not apply"


def outside(made: mosaic.Attribution) -> mosaic.Source:
    return replace(made.source, column=made.source.column + 6)  # images are 6 pixels wide


def of_one_row(made: mosaic.Attribution) -> mosaic.Source:
    return replace(made.source, row=made.source.row[:, :1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": lambda made: 1.01 * made.weight / made.weight.max()}, r"\(0, 1\]"),
        ({"weight": lambda made: 0 * made.weight}, r"\(0, 1\]"),
        ({"entropy": lambda made: made.entropy - 100}, "entropy"),
        ({"source": outside}, r"source\.column"),
        ({"source": of_one_row}, r"source\.row .*\(3, 1, 6\)"),
    ],
)
def test_weights_entropies_and_places_are_held_to_their_bounds(changes: Any, message: str) -> None:
    assert_caught("score", attributing(**changes), "attribution_agrees_with_denoise", message)


def test_x0hat_at_noise_0_keeps_the_dtype_of_x() -> None:
    wrong = attributing(denoised=lambda made: made.denoised.double())
    assert_caught("score", wrong, "attribution_of_finished_images_is_the_limit", r"torch\.float32 gave torch\.float64")
