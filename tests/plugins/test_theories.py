"""The other theories against brute force in float64, their limits, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest
import theory_oracle
import torch

import mosaic
from mosaic_plugins.gaussian import Moments, clusters_of

LEVELS = [(1.0, 0.05), (0.9, 0.4), (0.4, 0.9), (0.05, 3.0)]
FEW, MANY = 9, 40  # training images: fewer and more than the numbers of an image


@pytest.fixture(params=["whole", "cut"], autouse=True)
def _cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is computed twice: in one piece, and in pieces of a few images."""
    if request.param == "cut":
        monkeypatch.setattr("mosaic_plugins.gaussian.CHUNK", 4)
        monkeypatch.setattr("mosaic_plugins.pca_locality.TILE", 7)
        monkeypatch.setattr("mosaic_plugins.patch_posterior.TILE", 80)


def images_of(count: int = FEW, channels: int = 2, height: int = 4, width: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.uniform(-1, 1, (count, channels, 1, 1)) * np.linspace(0.2, 1, width)
    return np.clip(0.6 * smooth + 0.4 * rng.uniform(-1, 1, (count, channels, height, width)), -1, 1)


def model_of(name: str, images: np.ndarray, labels: Any = None, **options: Any) -> Any:
    kind = mosaic.registry().get("score", name)
    classes = None if labels is None else torch.as_tensor(labels, dtype=torch.int64)
    return kind(kind.Options(**options), mosaic.DataSet("t", torch.as_tensor(images), classes))


def noisy(images: np.ndarray, level: tuple[float, float], count: int = 3) -> np.ndarray:
    return level[0] * images[:count] + level[1] * np.random.default_rng(7).standard_normal(images[:count].shape)


def agree(model: Any, x: np.ndarray, level: tuple[float, float], exact: Callable[..., np.ndarray], k: int = 3) -> None:
    """float64 to rounding, and float32 near it."""
    expected = np.stack([exact(one, *level) for one in x])
    actual = model.denoise(torch.as_tensor(x), mosaic.Level(*level), None, k).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)
    single = model_of(model.name, model.dataset.images.numpy().astype(np.float32), **model.options.model_dump())
    near = single.denoise(torch.as_tensor(x, dtype=torch.float32), mosaic.Level(*level), None, k)
    assert near.dtype == torch.float32
    np.testing.assert_allclose(near.numpy(), expected, rtol=0, atol=2e-3)


# Against brute force


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [FEW, MANY])
def test_gaussian_is_the_wiener_filter(level: tuple[float, float], count: int) -> None:
    images = images_of(count)
    agree(
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
    agree(
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
    expected = [theory_oracle.mixture(one, images, labels, *level) for one in x]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threshold", [0.01, 0.3])
def test_pca_locality_compares_where_the_wiener_filter_is_large(level: tuple[float, float], threshold: float) -> None:
    images = images_of()
    agree(
        model_of("pca-locality", images, threshold=threshold),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.pca_locality(x, images, a, s, threshold),
    )


@pytest.mark.parametrize("level", LEVELS)
def test_nearest_is_the_nearest_image(level: tuple[float, float]) -> None:
    images = images_of()

    def exact(x: np.ndarray, a: float, s: float) -> np.ndarray:
        return images[((x / a - images) ** 2).sum((1, 2, 3)).argmin()]

    agree(model_of("nearest", images), noisy(images, level), level, exact)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_nearest_patch_is_the_centre_of_the_nearest_window(level: tuple[float, float], boundary: str) -> None:
    images = images_of(height=5, width=4)
    agree(
        model_of("nearest-patch", images, boundary=boundary),
        noisy(images, level),
        level,
        lambda x, a, s: oracle.nearest("els", boundary, x, images, a, 3)[0],
    )


@pytest.mark.parametrize("level", LEVELS)
def test_smoothed_is_the_mean_of_is_over_perturbed_inputs(level: tuple[float, float]) -> None:
    images = images_of()
    model = model_of("smoothed", images, draws=6, sigma=0.5)
    perturbed = [part.numpy() for part in model.perturbations(torch.as_tensor(images))]
    assert len(perturbed) == 6
    np.testing.assert_allclose(np.mean(perturbed, 0), 0, atol=1e-12)
    agree(
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
@pytest.mark.parametrize(("k", "wraps"), [(1, False), (3, False), (3, True)])
def test_patch_posterior_averages_the_means_of_whole_patches(level: tuple[float, float], k: int, wraps: bool) -> None:
    images = images_of(height=5, width=4)
    agree(
        model_of("patch-posterior", images, boundary="circular" if wraps else "zeros"),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.patch_posterior(x, images, a, s, k, wraps),
        k,
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block", [1, 2, 3])
def test_golden_subset_is_is_over_the_images_nearest_by_a_coarse_look(level: tuple[float, float], block: int) -> None:
    images = images_of(MANY, height=5, width=6)
    agree(
        model_of("golden-subset", images, low=0.1, high=0.5, block=block),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.golden_subset(x, images, a, s, (0.1, 0.5), block),
    )


def test_golden_subset_keeps_from_a_tenth_to_a_twentieth() -> None:
    model = model_of("golden-subset", images_of())
    assert model.kept(1000, mosaic.Level(1e-6, 1.0)) == 100
    assert model.kept(1000, mosaic.Level(1.0, 1e-6)) == 50
    assert model.kept(3, mosaic.Level(1.0, 1e-6)) == 1


def test_golden_subset_names_images_of_the_whole_set() -> None:
    images = images_of(MANY)
    model = model_of("golden-subset", images)
    actual = model.attribute(torch.as_tensor(images[20:23]), mosaic.Level(1.0, 0.01))
    assert actual.source.image[:, 0, 0].tolist() == [20, 21, 22]


@pytest.mark.parametrize("ratio", [0.3, 3.0])
def test_switch_is_one_model_above_and_the_other_below(ratio: float) -> None:
    images = images_of()
    level = mosaic.Level(0.5, 0.5 * ratio)
    model = model_of("switch", images, at=1.0, above="gaussian", below="ls", below_options={"boundary": "circular"})
    alone = model_of("gaussian", images) if ratio > 1 else model_of("ls", images, boundary="circular")
    x = torch.as_tensor(images[:2])
    assert torch.equal(model.denoise(x, level, None, 3), alone.denoise(x, level, None, 3))


# Limits


@pytest.mark.parametrize(
    ("name", "options", "other", "k"),
    [
        ("gaussian-mixture", {"components": MANY}, ("is", None), 3),
        ("pca-locality", {"threshold": 0.0}, ("is", None), 3),
        ("smoothed", {"sigma": 1e-9}, ("is", None), 3),
        ("patch-posterior", {}, ("is", None), 5),
        ("patch-posterior", {}, ("ls", "zeros"), 1),
        ("golden-subset", {"low": 1.0, "high": 1.0}, ("is", None), 3),
    ],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("level", LEVELS)
def test_where_they_are_machines_of_the_paper(
    name: str, options: dict[str, Any], other: tuple[str, str | None], k: int, level: tuple[float, float]
) -> None:
    images = images_of(MANY)
    x = noisy(images, level)
    actual = model_of(name, images, **options).denoise(torch.as_tensor(x), mosaic.Level(*level), None, k).numpy()
    expected = np.stack([oracle.denoise(*other, one, images, *level, k) for one in x])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("name", "limit"), [("nearest", "is"), ("nearest-patch", "els"), ("patch-posterior", "is")])
def test_without_noise(name: str, limit: str) -> None:
    """Nearest ones at every level are what the machines come to; a patch posterior then gives training images back."""
    images = images_of()
    x = torch.as_tensor(images + 0.01 * np.random.default_rng(1).standard_normal(images.shape))
    actual = model_of(name, images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3)
    torch.testing.assert_close(actual, model_of(limit, images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3))


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
    one = torch.as_tensor(images_of(1))
    for images in (one, one.repeat(5, 1, 1, 1)):
        moments = Moments.of(images)
        assert len(moments.values) == 0
        actual = moments.denoise(torch.zeros(2, 24, dtype=torch.float64), mosaic.Level(1.0, 0.5))
        torch.testing.assert_close(actual, one.flatten(1).expand(2, -1))


# Classes


@pytest.mark.parametrize(
    "name",
    [
        "gaussian",
        "gaussian-mixture",
        "pca-locality",
        "nearest",
        "nearest-patch",
        "smoothed",
        "patch-posterior",
        "switch",
    ],
)
def test_a_sample_with_a_label_meets_its_class_only(name: str) -> None:
    images, labels = images_of(MANY), np.arange(MANY) % 3
    level, x = mosaic.Level(0.8, 0.5), torch.as_tensor(images[:4])
    actual = model_of(name, images, labels).denoise(x, level, torch.tensor([2, -1, 0, 2]), 3)
    own = [model_of(name, images[labels == label]) for label in (2, 0)]
    torch.testing.assert_close(actual[[0, 3]], own[0].denoise(x[[0, 3]], level, None, 3))
    torch.testing.assert_close(actual[[2]], own[1].denoise(x[[2]], level, None, 3))
    torch.testing.assert_close(actual[[1]], model_of(name, images, labels).denoise(x[[1]], level, None, 3))


# Switch


def test_switch_refuses_itself_and_what_does_not_exist() -> None:
    with pytest.raises(mosaic.UsageError):
        model_of("switch", images_of(), above="switch")
    with pytest.raises(mosaic.PluginError, match="'gausian'"):
        model_of("switch", images_of(), above="gausian")
    with pytest.raises(mosaic.UsageError, match="above_options"):
        model_of("switch", images_of(), above="smoothed", above_options={"sigma": -1})


def test_switch_asks_each_model_for_its_own_levels() -> None:
    model = model_of("switch", images_of(), above="is", below="els", below_options={"boundary": "valid"})
    levels = (mosaic.Level(0.1, 1.0), mosaic.Level(1.0, 0.1))
    model.check(levels, (99, 3), (-1,))  # IS has no scale to refuse
    with pytest.raises(mosaic.UsageError, match=r"\b5\b"):
        model.check(levels, (3, 5), (-1,))
    assert model.traits.has_attribution
    half = model_of("switch", images_of(), below_options='{"boundary": "circular"}')
    assert not half.traits.has_attribution  # a Gaussian has no candidates
    assert half.below.options.boundary == "circular"
    assert model.attribute(torch.zeros(1, 2, 4, 3), levels[1], None, 3) is not None
    assert model.attribute(torch.zeros(1, 2, 4, 3), mosaic.Level(1.0, 0.0), None, 3) is not None
