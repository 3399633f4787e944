"""Metrics against plain numpy in float64, and against what they must be by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic


def metric(name: str, dataset: mosaic.DataSet | None = None, **options: object) -> mosaic.Metric:
    kind: type[mosaic.Metric] = mosaic.registry().get("metric", name)
    return kind(kind.Options.parse(options, name), dataset)


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(6, 3, 5, 4, generator=generator)
    return images, 0.5 * images + torch.randn(images.shape, generator=generator)


def test_correlations_are_numpys(pairs: tuple[Tensor, Tensor]) -> None:
    images, reference = pairs
    left, right = images.double().numpy(), reference.double().numpy()
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(left, right, strict=True)]
    assert metric("pearson_r")(images, reference).tolist() == pytest.approx(expected, abs=1e-12)
    assert metric("r2")(images, reference).tolist() == pytest.approx([r**2 for r in expected], abs=1e-12)


def test_mse_cosine_and_determination_by_their_formulas(pairs: tuple[Tensor, Tensor]) -> None:
    images, reference = pairs
    left, right = images.double().numpy().reshape(6, -1), reference.double().numpy().reshape(6, -1)
    assert metric("mse")(images, reference).tolist() == pytest.approx(list(((left - right) ** 2).mean(1)))
    cosine = (left * right).sum(1) / np.sqrt((left**2).sum(1) * (right**2).sum(1))
    assert metric("cosine")(images, reference).tolist() == pytest.approx(list(cosine))
    determination = 1 - ((left - right) ** 2).sum(1) / ((right - right.mean(1, keepdims=True)) ** 2).sum(1)
    assert metric("R2")(images, reference).tolist() == pytest.approx(list(determination))


def test_clamped_determination_is_that_of_images_from_0_to_1_as_published(pairs: tuple[Tensor, Tensor]) -> None:
    images, reference = (1.5 * each for each in pairs)
    left, right = (np.clip((each.double().numpy().reshape(6, -1) + 1) / 2, 0, 1) for each in (images, reference))
    assert (left == 0).any()
    assert (right == 1).any()
    expected = 1 - ((left - right) ** 2).sum(1) / (right.shape[1] * right.var(1, ddof=1))
    assert metric("R2_clamped")(images, reference).tolist() == pytest.approx(list(expected), abs=1e-12)
    plain = metric("R2")(images.clamp(-1, 1), reference.clamp(-1, 1)).numpy()
    pixels = right.shape[1]
    np.testing.assert_allclose(1 - expected, (1 - plain) * (pixels - 1) / pixels)
    assert metric("R2_clamped").statistic == "mean"


def test_only_the_correlations_ignore_brightness_and_contrast(pairs: tuple[Tensor, Tensor]) -> None:
    _, reference = pairs
    changed = 3 * reference + 2
    assert metric("pearson_r")(changed, reference).tolist() == pytest.approx([1.0] * 6)
    assert metric("pearson_r")(-changed, reference).tolist() == pytest.approx([-1.0] * 6)
    assert metric("r2")(-changed, reference).tolist() == pytest.approx([1.0] * 6)
    assert (metric("R2")(changed, reference) < 0).all()
    assert metric("R2")(reference, reference).tolist() == [1.0] * 6
    assert (metric("cosine")(changed, reference) < 0.999).all()


@pytest.mark.parametrize("name", ["pearson_r", "r2", "R2", "R2_clamped"])
def test_what_is_undefined_for_a_flat_reference_is_nan(name: str) -> None:
    flat = torch.full((2, 1, 4, 4), 0.1)
    assert metric(name)(torch.randn(2, 1, 4, 4), flat).isnan().all()
    assert metric("mse")(flat, flat).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["pearson_r", "r2", "R2", "cosine", "mse"])
def test_values_lie_in_the_declared_range_and_inputs_do_not_change(name: str, pairs: tuple[Tensor, Tensor]) -> None:
    left = metric(name)
    images, reference = pairs
    before = images.clone(), reference.clone()
    values = left(images, reference)
    assert values.shape == (6,)
    assert values.dtype == torch.float64
    assert ((values >= left.range[0]) & (values <= left.range[1])).all()
    assert torch.equal(images, before[0])
    assert torch.equal(reference, before[1])
    with pytest.raises(mosaic.UsageError):
        left(images, reference[:3])


def test_the_distance_to_the_training_set_is_numpys(tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.engine.nearest.CHUNK", 4 * 30)  # several chunks
    images = torch.cat([tiny.images[:6] + 0.01 * torch.randn(6, 1, 6, 5), tiny.images[4:5]])
    flat, training = images.double().numpy().reshape(7, -1), tiny.images.double().numpy().reshape(12, -1)
    table = np.sqrt(((flat[:, None] - training[None]) ** 2).sum(2))
    assert metric("nearest_train", tiny)(images).tolist() == pytest.approx(list(table.min(1)))


def test_a_copy_is_memorised_and_a_mean_of_two_images_is_not(tiny: mosaic.DataSet) -> None:
    between = (tiny.images[:1] + tiny.images[6:7]) / 2
    images = torch.cat([tiny.images[:1] + 1e-3, between])
    assert metric("memorized", tiny)(images).tolist() == [1.0, 0.0]
    distances, _ = mosaic.nearest_images(images, tiny.images, 2)
    ratio = float(distances[1, 0] / distances[1, 1])
    assert metric("memorized", tiny, ratio=min(1.0, ratio * 1.001))(images).tolist() == [1.0, 1.0]
    assert metric("memorized", tiny.select(torch.arange(1)))(images).isnan().all()
    twice = mosaic.DataSet("twice", torch.cat([tiny.images, tiny.images]))
    assert metric("memorized", twice)(tiny.images[:2]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_local_consistency_by_brute_force(tiny: mosaic.DataSet, boundary: str) -> None:
    generator = torch.Generator().manual_seed(3)
    images = tiny.images[:3] + 0.15 * torch.randn(3, 1, 6, 5, generator=generator)
    actual = metric("local_consistency", tiny, k=3, boundary=boundary, tolerance=0.1)(images)
    assert actual.tolist() == pytest.approx([consistency(left, tiny.images, boundary, 0.1) for left in images])
    assert 0.05 < float(actual.mean()) < 0.95
    exact = metric("local_consistency", tiny, k=3, boundary=boundary)(tiny.images[:3])
    if boundary != "valid":
        assert exact.tolist() == [1.0, 1.0, 1.0]  # a training image is a mosaic of itself


def test_local_consistency_of_a_labelled_sample_is_that_of_its_class(tiny: mosaic.DataSet) -> None:
    generator = torch.Generator().manual_seed(4)
    images = tiny.images[:4] + 0.15 * torch.randn(4, 1, 6, 5, generator=generator)
    labels = torch.tensor([2, 0, -1, 2])
    actual = metric("local_consistency", tiny, tolerance=0.1)(images, None, labels)
    assert tiny.labels is not None
    expected = [
        consistency(left, tiny.images if label < 0 else tiny.images[tiny.labels == label], "zeros", 0.1)
        for left, label in zip(images, labels.tolist(), strict=True)
    ]
    assert actual.tolist() == pytest.approx(expected)
    assert actual.tolist() != metric("local_consistency", tiny, tolerance=0.1)(images).tolist()


def consistency(image: Tensor, training: Tensor, boundary: str, tolerance: float) -> float:
    """Look every pixel's 3 x 3 window up among all candidates, one by one, in float64."""
    _, height, width = image.shape
    equal = 0
    for i in range(height):
        for j in range(width):
            best, centre = math.inf, 0.0
            for candidate in training:
                for u in range(height):
                    for v in range(width):
                        if not may_be_compared((i, j), (u, v), (height, width), boundary):
                            continue
                        distance = window_distance(image[0], (i, j), candidate[0], (u, v), boundary)
                        if distance < best - 1e-12:
                            best, centre = distance, float(candidate[0, u, v])
            equal += abs(float(image[0, i, j]) - centre) <= tolerance
    return equal / (height * width)


def may_be_compared(p: tuple[int, int], q: tuple[int, int], size: tuple[int, int], boundary: str) -> bool:
    if boundary == "circular":
        return True
    edges = [(x == 0, x == n - 1) for x, n in zip(q, size, strict=True)]
    if boundary == "valid":
        return not any(map(any, edges))
    return edges == [(x == 0, x == n - 1) for x, n in zip(p, size, strict=True)]


def window_distance(left: Tensor, p: tuple[int, int], right: Tensor, q: tuple[int, int], boundary: str) -> float:
    height, width = left.shape
    total = 0.0
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            a, b = (p[0] + di, p[1] + dj), (q[0] + di, q[1] + dj)
            if boundary == "zeros" and not (0 <= a[0] < height and 0 <= a[1] < width):
                continue
            values = [float(t[x % height, y % width]) for t, (x, y) in ((left, a), (right, b))]
            total += (values[0] - values[1]) ** 2
    return total


def test_a_metric_of_the_training_set_needs_one() -> None:
    with pytest.raises(mosaic.UsageError):
        metric("nearest_train")
    with pytest.raises(mosaic.UsageError, match=r"k.*4"):
        mosaic.registry().get("metric", "local_consistency").Options.parse({"k": 4}, "metric")
