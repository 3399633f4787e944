"""Posterior means of whole patches by brute force, and the machines they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import theory_oracle
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
from mosaic_plugins.patch_posterior import composite

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("k", "wraps"), [(1, False), (2, False), (3, False), (2, True), (3, True), (4, False), (4, True)]
)
def test_patch_posterior_averages_the_means_of_whole_patches(level: tuple[float, float], k: int, wraps: bool) -> None:
    images = images_of(height=5, width=4)
    assert_agrees(
        model_of("patch-posterior", images, boundary="circular" if wraps else "zeros"),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.patch_posterior(x, images, a, s, k, wraps),
        k,
    )


@pytest.mark.parametrize("t", [600, 100])
@pytest.mark.parametrize("k", [3, 4, 7, 16])
def test_it_agrees_with_the_numbers_of_the_published_code(published: Mapping[str, Any], k: int, t: int) -> None:
    level = published[f"t{t}_level"]
    for dtype in (np.float32, np.float64):
        model = model_of("patch-posterior", (published["images_uint8"] / 127.5 - 1).astype(dtype))
        x = torch.as_tensor(published[f"t{t}_x"].astype(dtype))
        actual = model.denoise(x, mosaic.Level(*level.tolist()), None, k).numpy()
        np.testing.assert_allclose(actual, published[f"pspc_size{k}_t{t}_x0hat"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_patch_larger_than_the_image_is_the_ideal_machine(level: tuple[float, float], boundary: str) -> None:
    assert_is_the_machine(model_of("patch-posterior", images_of(MANY), boundary=boundary), "is", None, level, k=5)


@pytest.mark.parametrize(("boundary", "k"), [("zeros", 2), ("zeros", 3), ("circular", 2), ("circular", 3)])
def test_a_pixel_is_attributed_by_the_mean_weights_of_its_patches(boundary: str, k: int) -> None:
    images = images_of(height=5, width=4)
    images[6] = images[2]  # an exact copy ties everywhere
    level = (0.8, 0.6)
    x = noisy(images, level)
    model = model_of("patch-posterior", images, boundary=boundary)
    actual = model.attribute(torch.as_tensor(x), mosaic.Level(*level), None, k)
    weights = np.stack([theory_oracle.patch_weights(sample, images, *level, k, boundary == "circular") for sample in x])
    np.testing.assert_allclose(weights.sum(1), 1)
    entropy = -(weights * np.log(weights)).sum(1)
    np.testing.assert_allclose(actual.entropy, entropy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(actual.weight, weights.max(1), rtol=0, atol=1e-9)
    best = weights.argmax(1)
    np.testing.assert_array_equal(actual.source.image, np.where(best == 6, 2, best))
    np.testing.assert_array_equal(actual.source.multiplicity, 1 + np.isin(best, (2, 6)))
    np.testing.assert_array_equal(actual.source.row[0], np.indices((5, 4))[0])
    np.testing.assert_array_equal(actual.source.column[0], np.indices((5, 4))[1])
    plain = model.denoise(torch.as_tensor(x), mosaic.Level(*level), None, k)
    torch.testing.assert_close(actual.denoised, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_mirror_images_count_on_request_and_are_named_by_the_image_that_they_mirror(boundary: str) -> None:
    images = images_of(height=5, width=4)
    level, x = (0.8, 0.4), noisy(images[:, :, :, ::-1], (0.8, 0.4))
    model = model_of("patch-posterior", images, boundary=boundary, flips=True)
    both = np.concatenate([images, images[:, :, :, ::-1]])
    assert_agrees(
        model, x, level, lambda x, a, s: theory_oracle.patch_posterior(x, both, a, s, 3, boundary == "circular")
    )
    source = model.attribute(torch.as_tensor(x), mosaic.Level(*level), None, 3).source
    weights = np.stack([theory_oracle.patch_weights(each, both, *level, 3, boundary == "circular") for each in x])
    best = weights.argmax(1)
    columns = np.indices((5, 4))[1]
    np.testing.assert_array_equal(source.image, best % len(images))
    np.testing.assert_array_equal(source.column, np.where(best < len(images), columns, 3 - columns))
    assert (best >= len(images)).any()
    assert int(source.multiplicity.max()) == 0
    assert model.traits.comparisons(3) == 2 * model_of("patch-posterior", images, boundary=boundary).traits.comparisons(
        3
    )


def test_a_run_takes_even_sizes_and_its_preset(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("patch-posterior", tiny, steps=2, samples=2, scales="2,4")
    assert run["scale"].values.tolist() == [4, 2]
    with pytest.warns(mosaic.MosaicWarning, match="32"):  # they are meant for larger images
        preset = mosaic.run(
            "patch-posterior", tiny, steps=3, samples=1, schedule="edm", scales="niedoba/cifar10-square"
        )
    assert preset["scale"].values.tolist() == [32, 32, 5]  # levels 17, 11 and 6, nearly


@pytest.mark.parametrize("k", [0, -1, 2.5])
def test_what_is_not_a_size_is_refused(k: float) -> None:
    model = model_of("patch-posterior", images_of())
    with pytest.raises(mosaic.UsageError, match=rf"{k}\b"):
        model.check((mosaic.Level(1.0, 1.0),), (k,), (-1,))


@pytest.mark.parametrize("level", LEVELS)
def test_a_patch_of_a_pixel_is_the_local_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("patch-posterior", images_of(MANY)), "ls", "zeros", level, k=1)


def test_patch_posterior_at_little_noise_is_the_is_machine() -> None:
    images = images_of()
    x = torch.as_tensor(images + 0.01 * np.random.default_rng(1).standard_normal(images.shape))
    actual = model_of("patch-posterior", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3)
    torch.testing.assert_close(actual, model_of("is", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3))


def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("patch-posterior")


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_a_pixel_depends_on_the_window_that_the_trait_names(boundary: str, k: int) -> None:
    images = torch.as_tensor(images_of(MANY, height=9, width=9))
    x, level = torch.as_tensor(noisy(images.numpy(), (0.8, 0.6)))[:1], mosaic.Level(0.8, 0.6)
    model = model_of("patch-posterior", images.numpy(), boundary=boundary)
    side = model.traits.window(k)
    moved = x.clone()
    moved[0, 0, 4, 4] += 1
    apart = (model.denoise(moved, level, None, k) - model.denoise(x, level, None, k)).abs().amax((0, 1))
    reach = torch.nonzero(apart > 1e-9) - 4
    assert side == 2 * k - 1
    assert int(reach.abs().max()) == side // 2


@pytest.mark.parametrize("k", [2, 3])
def test_a_wrapping_composite_commutes_with_one_shift_of_x_and_images(k: int) -> None:
    images = torch.as_tensor(images_of(height=5, width=4))
    x, level = torch.as_tensor(noisy(images.numpy(), (0.8, 0.6))), mosaic.Level(0.8, 0.6)
    still = composite(x, images, level, k, wraps=True).mean()
    moved = composite(x.roll((2, 3), (2, 3)), images.roll((2, 3), (2, 3)), level, k, wraps=True).mean()
    torch.testing.assert_close(moved, still.roll((2, 3), (2, 3)), rtol=0, atol=1e-12)


def test_it_counts_every_patch_of_every_image() -> None:
    images = images_of(height=5, width=4)
    inside, wrapping = (model_of("patch-posterior", images, boundary=name) for name in ("zeros", "circular"))
    assert [inside.traits.comparisons(k) for k in (2, 3, 5)] == [len(images) * n for n in (4 * 3, 3 * 2, 1)]
    assert wrapping.traits.comparisons(2) == len(images) * 20
