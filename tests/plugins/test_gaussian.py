"""Gaussian theories: the Wiener filter and mixtures of it by brute force, and their limits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy
import theory_oracle
import torch
from scipy.stats import multivariate_normal
from theories import FEW, LEVELS, MANY, assert_agrees, assert_is_the_machine, images_of, model_of, noisy

import mosaic
from mosaic_plugins.gaussian import Moments, clusters_of

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [FEW, MANY])
def test_gaussian_is_the_wiener_filter(level: tuple[float, float], count: int) -> None:
    images = images_of(count)
    assert_agrees(
        model_of("gaussian", images),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.gaussian(x, images, a, s),
    )


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_mixture_has_a_gaussian_for_each_cluster(level: tuple[float, float]) -> None:
    images = images_of(MANY)
    members = clusters_of(torch.as_tensor(images), 3, seed=0).numpy()
    assert len(np.unique(members)) == 3
    assert_agrees(
        model_of("gaussian-mixture", images, components=3),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.mixture(x, images, members, a, s),
    )


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_mixture_has_a_gaussian_for_each_class(level: tuple[float, float]) -> None:
    images, labels = images_of(MANY), np.arange(MANY) % 4
    model = model_of("gaussian-mixture", images, labels)
    x = noisy(images, level)
    actual = model.denoise(torch.as_tensor(x), mosaic.Level(*level)).numpy()
    expected = [theory_oracle.mixture(sample, images, labels, *level) for sample in x]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("t", [900, 600, 300, 100, 20])
def test_gaussian_is_the_published_wiener_filter_with_its_divisor(published: Mapping[str, Any], t: int) -> None:
    images, level = published["images_uint8"] / 127.5 - 1, mosaic.Level(*published[f"t{t}_level"].tolist())
    x, wanted = torch.as_tensor(published[f"t{t}_x"].astype(np.float64)), published[f"wiener_t{t}_x0hat"]
    unbiased, own = (model_of("gaussian", images, ddof=ddof).denoise(x, level).numpy() for ddof in (1, 0))
    np.testing.assert_allclose(unbiased, wanted, rtol=0, atol=5e-5)
    assert np.abs(own - wanted).max() > 5e-4


# Limits


@pytest.mark.parametrize("level", LEVELS)
def test_a_cluster_for_each_image_is_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("gaussian-mixture", images_of(MANY), components=MANY), "is", None, level)


def test_a_gaussian_without_noise_projects_on_the_images() -> None:
    images = images_of(FEW)
    model, level = model_of("gaussian", images), mosaic.Level(0.7, 1e-9)
    inside = torch.as_tensor(0.3 * images[:1] + 0.7 * images[1:2])
    torch.testing.assert_close(model.denoise(0.7 * inside, level), inside)
    apart = torch.linalg.svd(torch.as_tensor(images - images.mean(0)).flatten(1)).Vh[-1].view(1, 2, 4, 3)
    torch.testing.assert_close(model.denoise(0.7 * (inside + apart), level), inside)


def test_a_gaussian_is_the_best_affine_denoiser_of_its_data() -> None:
    """No small change of its matrix lowers the expected squared error, which is known in closed form."""
    images, s = torch.as_tensor(images_of(MANY)), 0.6
    moments = Moments.of(images)
    covariance = moments.vectors @ (moments.values[:, None] * moments.vectors.T)
    filtered = moments.denoise(torch.eye(24, dtype=torch.float64) + moments.mean, mosaic.Level(1.0, s)) - moments.mean

    def error(matrix: torch.Tensor) -> float:  # of mu + M (x - mu): tr (M - 1) C (M - 1)^T + s^2 tr M M^T
        rest = matrix - torch.eye(24)
        return float((rest @ covariance @ rest.T).trace() + s**2 * (matrix @ matrix.T).trace())

    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        change = 1e-3 * torch.randn(24, 24, generator=generator, dtype=torch.float64)
        assert error(filtered.T) < error(filtered.T + change)


def test_moments_of_one_image_and_of_equal_images() -> None:
    image = torch.as_tensor(images_of(1))
    for images in (image, image.repeat(5, 1, 1, 1)):
        moments = Moments.of(images)
        assert len(moments.values) == 0
        actual = moments.denoise(torch.zeros(2, 24, dtype=torch.float64), mosaic.Level(1.0, 0.5))
        torch.testing.assert_close(actual, image.flatten(1).expand(2, -1))


@pytest.mark.parametrize("count", [FEW, MANY])
def test_moments_are_numpys_through_either_gram_matrix(count: int) -> None:
    images = images_of(count)
    moments, flat = Moments.of(torch.as_tensor(images)), images.reshape(count, -1)
    assert len(moments.values) == min(count - 1, flat.shape[1])
    vectors, values = moments.vectors.numpy(), moments.values.numpy()
    np.testing.assert_allclose(moments.mean, flat.mean(0), rtol=0, atol=1e-14)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), rtol=0, atol=1e-10)
    np.testing.assert_allclose(vectors * values @ vectors.T, np.cov(flat.T, bias=True), rtol=0, atol=1e-12)
    unbiased = Moments.of(torch.as_tensor(images), ddof=1)
    covariance = unbiased.vectors.numpy() * unbiased.values.numpy() @ unbiased.vectors.numpy().T
    np.testing.assert_allclose(covariance, np.cov(flat.T), rtol=0, atol=1e-12)
    np.testing.assert_allclose(unbiased.vectors.T @ unbiased.vectors, np.eye(len(values)), rtol=0, atol=1e-10)
    ratio, gain = (0.7 / 0.4) ** 2, np.cov(flat.T)
    wiener = gain @ np.linalg.inv(gain + ratio * np.eye(24))
    np.testing.assert_allclose(unbiased.wiener(mosaic.Level(0.4, 0.7)), wiener, rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [FEW, MANY])
def test_the_density_is_scipys_also_where_the_covariance_is_singular(level: tuple[float, float], count: int) -> None:
    images = images_of(count)
    flat = images.reshape(count, -1)
    covariance = level[0] ** 2 * np.cov(flat.T, bias=True) + level[1] ** 2 * np.eye(24)
    x = noisy(images, level).reshape(3, -1)
    expected = multivariate_normal(level[0] * flat.mean(0), covariance).logpdf(x) + 12 * np.log(2 * np.pi)
    actual = Moments.of(torch.as_tensor(images)).log_density(torch.as_tensor(x), mosaic.Level(*level))
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_only_a_mixture_of_clusters_rests_on_the_version_of_scipy() -> None:
    images = images_of(MANY)
    assert model_of("gaussian-mixture", images).traits.fingerprint() is None
    clustered = model_of("gaussian-mixture", images, components=2).traits.fingerprint()
    assert clustered == hashlib.sha256(f"scipy {scipy.__version__}".encode()).hexdigest()


@pytest.mark.parametrize("count", [FEW, MANY])
def test_the_flow_of_a_gaussian_carries_its_distribution_from_level_to_level(count: int) -> None:
    """Of x with covariance a^2 C + s^2, the flow makes x with covariance a'^2 C + s'^2, and of means means."""
    images = images_of(count)
    model, pixels = model_of("gaussian", images), images[0].size
    level, between, following = mosaic.Level(0.3, 0.9), mosaic.Level(0.7, 0.8), mosaic.Level(1.0, 0.2)
    flat = images.reshape(count, -1)
    mean, covariance = flat.mean(0), np.cov(flat.T, bias=True)
    points = torch.as_tensor(np.vstack([np.zeros(pixels), np.eye(pixels)]) + level.signal * mean)
    moved = model.flow(points.view(-1, *images.shape[1:]), level, following).flatten(1).numpy()
    np.testing.assert_allclose(moved[0], following.signal * mean, rtol=0, atol=1e-12)
    by = (moved[1:] - moved[0]).T
    spread, wanted = (each.signal**2 * covariance + each.noise**2 * np.eye(pixels) for each in (level, following))
    np.testing.assert_allclose(by @ spread @ by.T, wanted, rtol=0, atol=1e-12)
    x = torch.as_tensor(noisy(images, (0.3, 0.9)))
    by_parts = model.flow(model.flow(x, level, between), between, following)
    torch.testing.assert_close(by_parts, model.flow(x, level, following), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.flow(x, level, level), x, rtol=0, atol=1e-12)


def test_steps_of_ddim_converge_to_the_flow_of_a_gaussian_in_first_order() -> None:
    images = images_of(MANY)
    score = mosaic.score(model_of("gaussian", images), schedule="edm")
    first, last = score.schedule.level(1.0), score.schedule.level(score.schedule.time_of_ratio(20.0))
    x = torch.as_tensor(first.noise * np.random.default_rng(5).standard_normal((3, *images.shape[1:])))
    exact = score.model.flow(x, first, last)
    errors = []
    for steps in (20, 40, 80):
        state = x
        ratios = np.geomspace(first.ratio, last.ratio, steps + 1)
        for here, there in pairwise(ratios):
            denoised = score.denoise(state, level=mosaic.Level(1.0, here))
            state = denoised + there / here * (state - denoised)
        errors.append(float((state - exact).abs().max()))
    assert errors[0] < 0.05
    assert [errors[0] / errors[1], errors[1] / errors[2]] == pytest.approx([2, 2], rel=0.05)


def test_the_flow_of_a_gaussian_knows_classes_and_refuses_what_has_no_noise() -> None:
    images, labels = images_of(MANY), np.arange(MANY) % 2
    model, levels = model_of("gaussian", images, labels), (mosaic.Level(0.3, 0.9), mosaic.Level(1.0, 0.2))
    x = torch.as_tensor(images[:2])
    moved = model.flow(x, *levels, torch.tensor([1, -1]))
    own = model_of("gaussian", images[labels == 1]).flow(x[:1], *levels)
    torch.testing.assert_close(moved[:1], own, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved[1:], model.flow(x[1:], *levels), rtol=0, atol=1e-12)
    with pytest.raises(mosaic.UsageError, match="noise"):
        model.flow(x, mosaic.Level(1.0, 0.0), levels[0])


def test_a_seed_of_k_means_is_refused_without_it(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="seed"):
        mosaic.score("gaussian-mixture", tiny, seed=1)
    assert mosaic.score("gaussian-mixture", tiny, seed=1, components=2).model.options.seed == 1
