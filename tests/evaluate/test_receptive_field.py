"""Receptive fields by derivatives, and how wide they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reports import Reports
from torch import Tensor

import mosaic
from mosaic.evaluate.receptive_field import beside_the_centre, receptive_field, width_of
from mosaic.sampling.noise import initial_noise


def data(channels: int, height: int, width: int, count: int = 3) -> mosaic.DataSet:
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return mosaic.DataSet("random", images, torch.arange(count) % 2)


def field_of(score: mosaic.Score, t: float = 0.5, **more: Any) -> np.ndarray:
    return receptive_field(score, [t], progress=False, **more)["field"].values[0]


@pytest.mark.parametrize("blocks", [0, 2])
def test_the_receptive_field_of_a_resnet_ends_where_it_must(blocks: int) -> None:
    network = mosaic.registry().get("network", "resnet")
    module = network(network.Options(channels=4, blocks=blocks)).build(1, 0)
    field = field_of(mosaic.score(module, data(1, 31, 31, 2)))
    reach = blocks + 2
    rows, cols = np.nonzero(field)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (15 - reach, 15 + reach, 15 - reach, 15 + reach)
    assert width_of(field, 1.0) == width_of(beside_the_centre(field), 1.0) == 2 * reach + 1
    assert width_of(field**2, 0.95) <= width_of(beside_the_centre(field) ** 2, 0.95)
    assert beside_the_centre(field)[15, 15] == 0 != field[15, 15]
    assert np.delete(beside_the_centre(field).ravel(), 15 * 32).tolist() == np.delete(field.ravel(), 15 * 32).tolist()
    assert all(weight.grad is None for weight in module.parameters())


def linear(x: Tensor, t: Tensor) -> Tensor:
    """eps = 3 x(p) - 2 x(right of p), from channel 0 into both channels."""
    eps = 3 * x[:, :1] - 2 * x[:, :1].roll(-1, 3)
    return eps.expand(-1, 2, -1, -1)


@pytest.mark.parametrize("differentiable", [True, False])
def test_the_receptive_field_is_the_mean_absolute_derivative(differentiable: bool) -> None:
    """Of the score, -eps / s; by torch, or by differences where that cannot."""
    function = linear if differentiable else lambda x, t: linear(x.detach(), t)
    own = mosaic.score(function, data(2, 5, 4))
    expected = np.zeros((5, 4))
    expected[2, 2], expected[2, 3] = 1.5, 1.0  # halved: the derivatives by channel 1 are zero
    np.testing.assert_allclose(field_of(own), expected / own.schedule.level(0.5).noise, atol=2e-6)


@pytest.mark.parametrize("t", [0.3, 0.9])
def test_that_of_a_machine_is_its_covariance(t: float) -> None:
    """d x0hat / d x = a / s^2 times the posterior covariance of centre and window; by sums over candidates."""
    own = mosaic.score("ls", data(1, 6, 5, 7), scales=3, boundary="circular")
    images, level = own.model.dataset.images.double(), own.schedule.level(t)
    field = field_of(own, t, images=1)
    x = level.signal * images[:1] + level.noise * initial_noise(0, range(1), own.model.dataset.shape).double()
    windows = [(i, j) for i in range(2, 5) for j in range(1, 4)]
    patches = torch.stack([images[:, 0, i, j] for i, j in windows], 1)
    seen = torch.stack([x[0, 0, i, j] for i, j in windows])
    weights = (-((seen - level.signal * patches) ** 2).sum(1) / (2 * level.noise**2)).softmax(0)
    centre = images[:, 0, 3, 2]
    covariance = (weights[:, None] * centre[:, None] * patches).sum(0) - (weights * centre).sum() * (
        weights[:, None] * patches
    ).sum(0)
    expected = np.zeros((6, 5))
    for (i, j), value in zip(windows, (level.signal**2 * covariance / level.noise**4).tolist(), strict=True):
        expected[i, j] = value
    expected[3, 2] -= 1 / level.noise**2
    np.testing.assert_allclose(field, np.abs(expected), rtol=1e-5, atol=1e-6)


def test_labels_reach_a_score_that_has_them() -> None:
    def of_class(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return x * (1 + labels)[:, None, None, None]

    own = mosaic.score(of_class, data(1, 3, 3, 4), labels=True)
    noise = own.schedule.level(0.5).noise
    assert field_of(own, class_conditional=True)[1, 1] == pytest.approx(1.5 / noise)  # classes 0, 1, 0, 1
    assert field_of(own)[1, 1] == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_measured_is_refused() -> None:
    own = mosaic.score("gaussian", mosaic.DataSet("plain", torch.rand(3, 1, 4, 4)))
    for given in ({"class_conditional": True}, {"images": 0}, {"times": [2.0]}, {"times": []}, {"difference": 0}):
        with pytest.raises(mosaic.UsageError):
            mosaic.receptive_field(own, progress=False, **{"times": [0.5], **given})


def test_inside_inference_mode_networks_are_differentiated_too() -> None:
    own = mosaic.score(linear, data(2, 5, 4))
    with torch.inference_mode():
        assert field_of(own)[2, 2] > 0


def test_the_width_of_known_fields() -> None:
    """A single pixel has width 1; of a uniform field of 7 x 7 pixels, 25 of 49 are 51 %, and 95 % need all."""
    point = np.zeros((7, 7))
    point[3, 3] = 2.0
    assert width_of(point, 0.95) == 1
    assert width_of(point, 1.0) == 1
    uniform = np.full((7, 7), 0.3)
    assert [width_of(uniform, share) for share in (1 / 49, 9 / 49, 25 / 49, 0.52, 0.95)] == [1, 3, 5, 7, 7]
    assert width_of(7e9 * uniform, 25 / 49) == 5  # a share has no units


def test_the_width_by_adding_squares() -> None:
    share = 0.8
    field = np.random.default_rng(0).random((8, 9)) ** 4
    for side in range(1, 10, 2):
        r = side // 2
        held = field[max(0, 4 - r) : 4 + r + 1, max(0, 4 - r) : 4 + r + 1].sum()
        assert (held >= share * field.sum()) == (width_of(field, share) <= side)


def test_what_is_not_finite_has_no_field() -> None:
    own = mosaic.score(lambda x, t: x * float("nan"), data(1, 4, 4))
    with pytest.raises(mosaic.UsageError, match="finite"):
        field_of(own)


def test_derivatives_that_depend_on_the_difference_are_told() -> None:
    own = mosaic.score(lambda x, t: linear(x.detach().float(), t), data(2, 5, 4))
    with pytest.warns(mosaic.MosaicWarning, match="`difference`"):
        field_of(own, 0.02)
    expected = np.zeros((5, 4))
    expected[2, 2], expected[2, 3] = 1.5, 1.0
    np.testing.assert_allclose(
        field_of(own, 0.5, difference=1e-2), expected / own.schedule.level(0.5).noise, rtol=1e-3, atol=1e-4
    )


def test_times_may_be_an_array_and_work_is_reported_from_the_start() -> None:
    reports = Reports()
    own = mosaic.score("ls", data(1, 4, 4), scales=3)
    receptive_field(own, np.array([0.3, 0.6]), images=2, progress=reports)
    shares = [done / total for done, total, *_ in reports]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)
    assert 0.25 in shares  # within a time, too
