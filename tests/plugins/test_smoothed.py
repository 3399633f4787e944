"""The ideal machine, smoothed: the mean over perturbed inputs by brute force, and its perturbations."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from theories import (
    LEVELS,
    MANY,
    assert_agrees,
    assert_is_compared_with_its_class_only,
    assert_is_the_machine,
    images_of,
    model_of,
    noisy,
)

import mosaic

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
def test_smoothed_is_the_mean_of_is_over_perturbed_inputs(level: tuple[float, float]) -> None:
    images = images_of()
    model = model_of("smoothed", images, draws=6, sigma=0.5)
    perturbed = [part.numpy() for part in model.perturbations(torch.as_tensor(images))]
    assert len(perturbed) == 6
    np.testing.assert_allclose(np.mean(perturbed, 0), 0, atol=1e-12)
    assert_agrees(
        model,
        noisy(images, level),
        level,
        lambda x, a, s: np.mean([oracle.is_(x + noise, images, a, s) for noise in perturbed], 0),
    )


def test_perturbations_have_the_deviation_asked_for() -> None:
    model = model_of("smoothed", images_of(height=24, width=24), draws=20, sigma=0.5)
    drawn = torch.stack(model.perturbations(torch.zeros(1, 2, 24, 24, dtype=torch.float64)))
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("level", LEVELS)
def test_without_perturbations_it_is_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("smoothed", images_of(MANY), sigma=1e-9), "is", None, level)


def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("smoothed")


def test_perturbations_are_seeded_in_opposite_pairs_and_the_same_in_either_precision() -> None:
    images, x = images_of(), torch.zeros(1, 2, 4, 3, dtype=torch.float64)
    drawn = torch.stack(model_of("smoothed", images, draws=6, seed=3).perturbations(x))
    assert torch.equal(drawn[:3], -drawn[3:])
    assert torch.equal(drawn, torch.stack(model_of("smoothed", images, draws=6, seed=3).perturbations(x)))
    assert not torch.equal(drawn, torch.stack(model_of("smoothed", images, draws=6, seed=4).perturbations(x)))
    single = torch.stack(model_of("smoothed", images, draws=6, seed=3).perturbations(x.float()))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), drawn, rtol=0, atol=1e-7)


def test_it_attributes_to_the_posterior_of_x_itself_and_counts_every_draw() -> None:
    images = images_of()
    x, level = torch.as_tensor(noisy(images, (0.8, 0.6))), mosaic.Level(0.8, 0.6)
    model = model_of("smoothed", images, draws=4)
    actual, plain = model.attribute(x, level), model_of("is", images).attribute(x, level)
    assert torch.equal(actual.source.image, plain.source.image)
    assert torch.equal(actual.entropy, plain.entropy)
    assert torch.equal(actual.denoised, model.denoise(x, level))
    assert float((actual.denoised - plain.denoised).abs().max()) > 1e-3
    assert model.traits.comparisons(0) == 4 * len(images)


@pytest.mark.parametrize(("option", "value"), [("draws", 3), ("draws", 0), ("sigma", 0.0), ("seed", -1)])
def test_options_out_of_bounds_are_refused_by_name(option: str, value: float) -> None:
    kind = mosaic.registry().get("score", "smoothed")
    with pytest.raises(mosaic.UsageError, match=rf"{option}.*{value}"):
        kind.Options.parse({option: value}, "score.smoothed")
