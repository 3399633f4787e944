"""The ideal machine, smoothed: the mean over perturbed inputs by brute force, and its perturbations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from theories import (
    FEW,
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

HALF = mosaic.Level(0.8, 0.6)


def perturbations_of(model: Any, x: torch.Tensor, level: mosaic.Level) -> torch.Tensor:
    return torch.stack(list(model.perturbations(x, level)))


def smoothed_by_brute_force(model: Any, images: np.ndarray, level: tuple[float, float], count: int) -> Any:
    """IS over the images nearest to each perturbed x / a, averaged over the model's own perturbations."""

    def exact(x: np.ndarray, signal: float, noise: float) -> Any:
        results = []
        for drawn in perturbations_of(model, torch.as_tensor(x)[None], mosaic.Level(*level))[:, 0].numpy():
            apart = ((x + drawn)[None] / signal - images).reshape(len(images), -1)
            nearest = np.argsort((apart**2).sum(1))[:count]
            results.append(oracle.is_(x + drawn, images[nearest], signal, noise))
        return np.mean(results, 0)

    return exact


@pytest.mark.parametrize("neighbours", [None, 1, 4, FEW - 1])
@pytest.mark.parametrize("level", LEVELS)
def test_smoothed_is_the_mean_of_is_over_perturbed_inputs(level: tuple[float, float], neighbours: int | None) -> None:
    images = images_of().astype(np.float32).astype(np.float64)
    model = model_of("smoothed", images, draws=5, sigma=0.5, neighbours=neighbours)
    # In float32 all draws are those of float64: what both are given is the same to float32.
    x = noisy(images, level).astype(np.float32).astype(np.float64)
    assert_agrees(model, x, level, smoothed_by_brute_force(model, images, level, neighbours or FEW))


def test_more_neighbours_than_images_are_all_of_them() -> None:
    images = images_of()
    x = torch.as_tensor(noisy(images, (0.8, 0.6)))
    every, many, fewer = (
        model_of("smoothed", images, draws=5, sigma=0.5, neighbours=count).denoise(x, HALF)
        for count in (None, 200, FEW - 1)
    )
    torch.testing.assert_close(many, every, rtol=0, atol=1e-12)
    assert float((fewer - every).abs().max()) > 1e-6


def test_perturbations_are_normal_with_the_deviation_asked_for() -> None:
    model = model_of("smoothed", images_of(height=24, width=24), draws=20, sigma=0.5)
    drawn = perturbations_of(model, torch.zeros(1, 2, 24, 24, dtype=torch.float64), HALF)
    assert drawn.shape == (20, 1, 2, 24, 24)
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.03)
    assert float(drawn.mean()) == pytest.approx(0, abs=4 * 0.5 / drawn.numel() ** 0.5)
    assert float((drawn**4).mean() / drawn.var() ** 2) == pytest.approx(3, rel=0.1)


def test_perturbations_are_fresh_for_every_draw_sample_level_and_seed_and_the_same_in_any_batch() -> None:
    images = images_of()
    model, other = (model_of("smoothed", images, draws=2, seed=seed) for seed in (3, 4))
    x = torch.as_tensor(noisy(images, (0.8, 0.6)))
    drawn = perturbations_of(model, x, HALF)
    versions = [
        *drawn.flatten(0, 1),
        perturbations_of(model, x, mosaic.Level(0.8, 0.5))[0, 0],
        perturbations_of(other, x, HALF)[0, 0],
    ]
    for index, version in enumerate(versions):
        for later in versions[index + 1 :]:
            assert abs(float(torch.corrcoef(torch.stack([version.flatten(), later.flatten()]))[0, 1])) < 0.9
    assert torch.equal(drawn[:, 1:2], perturbations_of(model, x[1:2], HALF))
    torch.testing.assert_close(model.denoise(x, HALF)[1:2], model.denoise(x[1:2], HALF), rtol=0, atol=1e-12)


def test_sigma_is_that_of_a_variance_preserving_x() -> None:
    images = images_of()
    model = model_of("smoothed", images, draws=500, sigma=0.5)
    x = torch.as_tensor(noisy(images, (0.8, 0.6)))[:1]
    for scale in (1 / 0.8, 1.0, 10.0):  # the same ratio of noise to signal
        drawn = perturbations_of(model, scale * x, mosaic.Level(0.8 * scale, 0.6 * scale))
        assert float(drawn.std()) == pytest.approx(0.5 * scale, rel=0.03)


def test_its_defaults_are_the_published_ones_of_the_data_set() -> None:
    images = torch.as_tensor(images_of())
    kind = mosaic.registry().get("score", "smoothed")
    made = {name: kind(None, mosaic.DataSet(name, images, None)) for name in ("mnist", "fashion_mnist")}
    assert {name: model.sigma for name, model in made.items()} == {"mnist": 1.0, "fashion_mnist": 0.1}
    assert made["mnist"].options.draws == 10
    given = kind(kind.Options(sigma=0.3), replace(made["mnist"].dataset))
    assert given.sigma == 0.3


@pytest.mark.parametrize("level", LEVELS)
def test_without_perturbations_it_is_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("smoothed", images_of(MANY), sigma=1e-9), "is", None, level)


def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("smoothed")


def test_it_attributes_to_the_posterior_of_x_itself_and_counts_every_draw() -> None:
    images = images_of()
    x = torch.as_tensor(noisy(images, (0.8, 0.6)))
    model = model_of("smoothed", images, draws=4, sigma=0.5)
    actual, plain = model.attribute(x, HALF), model_of("is", images).attribute(x, HALF)
    assert torch.equal(actual.source.image, plain.source.image)
    assert torch.equal(actual.entropy, plain.entropy)
    assert torch.equal(actual.denoised, model.denoise(x, HALF))
    assert float((actual.denoised - plain.denoised).abs().max()) > 1e-3
    assert model.traits.comparisons(0) == 4 * len(images)


@pytest.mark.parametrize(("option", "value"), [("draws", 0), ("sigma", 0.0), ("seed", -1), ("neighbours", 0)])
def test_options_out_of_bounds_are_refused_by_name(option: str, value: float) -> None:
    kind = mosaic.registry().get("score", "smoothed")
    with pytest.raises(mosaic.UsageError, match=rf"{option}.*{value}"):
        kind.Options.parse({option: value}, "score.smoothed")
