"""Analytic machines: dtypes, labels and batches, what they attribute pixels to, and what they refuse."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import ATTRIBUTED, LOCAL, MACHINES, build, denoise, two_valued_images, uniform

import mosaic
from mosaic.engine.machine import expand_to_pixels

K, LEVEL = 3, mosaic.Level(0.8, 0.6)


@MACHINES
def test_result_has_the_dtype_of_x_whatever_that_of_the_images(machine: str, boundary: str | None) -> None:
    x, images, level = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5), (0.8, 0.6)
    exact = np.stack([oracle.denoise(machine, boundary, sample, images, *level, 3) for sample in x])
    for x_type in (np.float32, np.float64):
        for image_type in (np.float32, np.float64):
            result = denoise(machine, boundary, x.astype(x_type), images.astype(image_type), level, 3)
            np.testing.assert_allclose(result, exact, rtol=0, atol=1e-5)


@MACHINES
def test_class_conditional_is_the_machine_on_that_class(machine: str, boundary: str | None) -> None:
    images, labels = uniform(0, 7, 2, 4, 5), np.array([2, 0, 1, 2, 0, 2, 0])
    x, wanted, level = uniform(1, 5, 2, 4, 5), [1, -1, 0, 2, 2], (0.8, 0.6)
    result = denoise(machine, boundary, x, images, level, 3, labels, wanted)
    for sample, label in enumerate(wanted):
        own = images if label == -1 else images[labels == label]
        alone = denoise(machine, boundary, x[sample : sample + 1], own, level, 3)
        np.testing.assert_allclose(result[sample : sample + 1], alone, rtol=0, atol=1e-12)


@MACHINES
def test_no_label_is_minus_one_is_none(machine: str, boundary: str | None) -> None:
    x, images, level = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5), (0.8, 0.6)
    plain = denoise(machine, boundary, x, images, level, 3)
    assert (denoise(machine, boundary, x, images, level, 3, [0, 1, 1]) == plain).all()
    assert (denoise(machine, boundary, x, images, level, 3, [0, 1, 1], [-1, -1]) == plain).all()
    assert (denoise(machine, boundary, x, images, level, 3, None, [-1, -1]) == plain).all()


@MACHINES
@pytest.mark.parametrize("noise", [0.5, 1e-3])
def test_a_batch_equals_its_samples_one_by_one(machine: str, boundary: str | None, noise: float) -> None:
    # One sample on the data, others far off it: a maximum shared by the batch would underflow.
    images = uniform(0, 4, 1, 5, 4)
    x = np.stack([images[1], 3 * images[2], 40 + images[0], uniform(1, 1, 5, 4)])
    together = denoise(machine, boundary, x, images, (1.0, noise), 3)
    assert np.isfinite(together).all()
    for sample in range(len(x)):
        alone = denoise(machine, boundary, x[sample : sample + 1], images, (1.0, noise), 3)
        np.testing.assert_allclose(together[sample : sample + 1], alone, rtol=0, atol=1e-12)


@MACHINES
def test_inputs_are_left_as_they_were(machine: str, boundary: str | None) -> None:
    x, images = (torch.as_tensor(uniform(seed, 3, 1, 4, 5)) for seed in (0, 1))
    labels = torch.tensor([0, -1, 1])
    before = [tensor.clone() for tensor in (x, images, labels)]
    model = build(machine, boundary, images, [0, 1, 1])
    first = model.denoise(x, mosaic.Level(0.8, 0.6), labels, 3)
    kept = first.clone()
    first_again = model.denoise(x, mosaic.Level(0.8, 0.6), labels, 3)
    model.denoise(-x, mosaic.Level(0.5, 0.1), None, 1)
    for tensor, old in zip((x, images, labels, first, first_again), (*before, kept, kept), strict=True):
        assert torch.equal(tensor, old)


@MACHINES
def test_strided_input_is_read_by_its_shape(machine: str, boundary: str | None) -> None:
    x, images, level = uniform(0, 2, 3, 4, 5), uniform(1, 3, 3, 4, 5), (0.8, 0.6)
    last = torch.channels_last
    strided = [torch.as_tensor(array).contiguous(memory_format=last) for array in (x, images)]
    plain = denoise(machine, boundary, x, images, level, 3)
    np.testing.assert_allclose(denoise(machine, boundary, *strided, level, 3), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("machine", "boundary"), LOCAL)
@pytest.mark.parametrize("k", [4, 0, -3, -2])
def test_a_scale_that_is_not_an_odd_window_is_refused(machine: str, boundary: str | None, k: int) -> None:
    model = build(machine, boundary, uniform(0, 2, 1, 6, 7))
    x = torch.zeros(1, 1, 6, 7, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=rf"(?<!\d){k}(?!\d)"):
        model.denoise(x, mosaic.Level(0.8, 0.6), None, k)
    with pytest.raises(mosaic.UsageError, match=rf"(?<!\d){k}(?!\d)"):
        model.check((), (3, k, 5), ())
    model.check((), (3, 5, 1), ())


@MACHINES
@pytest.mark.parametrize("label", [3, 17, -2])
def test_labels_outside_the_classes_are_refused(machine: str, boundary: str | None, label: int) -> None:
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5), [0, 1, 2])
    x = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=rf"(?<!\d){label}(?!\d)"):
        model.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, label]), 3)


@MACHINES
def test_a_class_without_images_is_refused(machine: str, boundary: str | None) -> None:
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5), [0, 2, 2])
    x = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=r"\b1\b"):
        model.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, 1]), 3)


@MACHINES
def test_labels_for_a_data_set_without_them_are_refused(machine: str, boundary: str | None) -> None:
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5))
    x = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=r"\b0\b"):
        model.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, -1]), 3)


@MACHINES
def test_as_many_labels_as_samples_are_needed(machine: str, boundary: str | None) -> None:
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5), [0, 1, 2])
    x = torch.zeros(3, 1, 4, 5, dtype=torch.float64)
    for labels in (torch.tensor([0]), torch.tensor([0, 1, 2, 0]), torch.tensor([[0], [1], [2]])):
        with pytest.raises(mosaic.UsageError, match=rf"\b3\b.*{re.escape(str(tuple(labels.shape)))}"):
            model.denoise(x, mosaic.Level(0.8, 0.6), labels, 3)


@MACHINES
@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 3, 4, 5), (2, 1, 5, 4), (2, 1, 4, 6), (2, 1, 1, 5)])
def test_x_of_another_shape_than_the_images_is_refused(
    machine: str, boundary: str | None, shape: tuple[int, ...]
) -> None:
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5))
    with pytest.raises(mosaic.UsageError, match=re.escape(str(shape))):
        model.denoise(torch.zeros(shape, dtype=torch.float64), mosaic.Level(0.8, 0.6), None, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_other_dtypes_are_refused(tiny: mosaic.DataSet, dtype: torch.dtype) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    with pytest.raises(mosaic.UsageError, match=str(dtype)):
        model.denoise(torch.zeros(1, 1, 6, 5, dtype=dtype), mosaic.Level(0.6, 0.8), None, 3)


def test_a_level_without_noise_is_refused(tiny: mosaic.DataSet) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    with pytest.raises(mosaic.UsageError, match="positive"):
        model.denoise(torch.zeros(1, 1, 6, 5), mosaic.Level(1.0, 0.0), None, 3)


# Attribution


@ATTRIBUTED
def test_a_sample_with_a_label_names_images_of_the_whole_set(machine: str, boundary: str | None, engine: str) -> None:
    images = two_valued_images(2).float()
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    x = LEVEL.signal * images[[3, 0]] + LEVEL.noise * torch.randn(2, 1, 6, 5)
    model = build(machine, boundary, images, labels, engine)
    actual = model.attribute(x, LEVEL, torch.tensor([1, -1]), K)
    assert actual is not None
    places = torch.tensor([1, 3, 4])
    alone = build(machine, boundary, images[places], engine=engine).attribute(x[:1], LEVEL, None, K)
    whole = build(machine, boundary, images, engine=engine).attribute(x[1:], LEVEL, None, K)
    assert alone is not None
    assert whole is not None
    assert torch.equal(actual.source.image[0], places[alone.source.image[0]])
    assert torch.equal(actual.source.image[1], whole.source.image[0])
    assert torch.equal(actual.source.multiplicity, torch.cat([alone.source.multiplicity, whole.source.multiplicity]))
    torch.testing.assert_close(actual.entropy, torch.cat([alone.entropy, whole.entropy]))


def test_without_noise_the_source_holds_the_final_pixel() -> None:
    """Theorem 4.1 in small: the posterior's best candidate is x0hat."""
    images = two_valued_images(3)
    for machine, boundary in oracle.CASES:
        model = build(machine, boundary, images, engine="torch")
        x = images[:2] + 0.01 * torch.randn(2, 1, 6, 5, dtype=torch.float64)
        actual = model.attribute(x, mosaic.Level(1.0, 0.001), None, K)
        assert actual is not None
        source = actual.source
        rebuilt = images[source.image, :, source.row, source.column].movedim(-1, 1)
        torch.testing.assert_close(rebuilt, actual.denoised, rtol=0, atol=1e-6)
        assert (actual.source.multiplicity >= 1).all()
        assert (actual.weight * actual.source.multiplicity <= 1 + 1e-9).all()


def test_a_shared_posterior_is_spread_round_the_image() -> None:
    """Its source is the training pixel that came to the first pixel: the others follow it round the border."""
    images = torch.as_tensor(uniform(0, 4, 2, 3, 5))
    moved = torch.stack([images[2].roll((2, 1), (1, 2)), images[0].roll((0, 4), (1, 2))])
    posterior = mosaic.equivariant_posterior(moved, images, LEVEL, compute=mosaic.Compute(diagnostics=True))
    first = mosaic.resolve_image_ties(posterior, images, translates=True)
    source, weight, entropy = expand_to_pixels(posterior, first)
    rebuilt = images[source.image, :, source.row, source.column].movedim(-1, 1)
    assert torch.equal(rebuilt, moved)
    assert weight.shape == entropy.shape == source.multiplicity.shape == (2, 3, 5)
    assert (weight == weight[:, :1, :1]).all()


class Plain(mosaic.AnalyticMachine):
    """A posterior and nothing else: equal candidates are not counted."""

    name = "plain"

    def posterior(
        self, x: torch.Tensor, images: torch.Tensor, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        return mosaic.ideal_posterior(x, images, level, compute=compute)


class Silent(Plain):
    """Keeps the posterior to itself."""

    name = "silent"

    def evaluate(self, *arguments: Any) -> tuple[torch.Tensor, None]:
        return super().evaluate(*arguments)[0], None


def test_a_machine_that_only_has_a_posterior_denoises_and_attributes(tiny: mosaic.DataSet) -> None:
    machine, x = Plain(None, tiny), 0.8 * tiny.images[[7, 2]].double()
    expected = oracle.is_(x[0].numpy(), tiny.images.double().numpy(), 0.8, 0.6)
    np.testing.assert_allclose(machine.denoise(x, LEVEL)[0], expected, rtol=0, atol=1e-12)
    source = machine.attribute(x, mosaic.Level(1.0, 0.0)).source
    assert source.image[:, 0, 0].tolist() == [7, 2]
    assert (source.multiplicity == 0).all()
    assert machine.traits.engine(torch.float64) == "torch"


def test_a_machine_that_gives_no_posterior_is_named(tiny: mosaic.DataSet) -> None:
    machine, x = Silent(None, tiny), tiny.images[:2]
    assert torch.equal(machine.denoise(x, LEVEL), Plain(None, tiny).denoise(x, LEVEL))
    with pytest.raises(mosaic.UsageError, match="'silent'"):
        machine.attribute(x, LEVEL)
