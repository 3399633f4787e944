"""Jacobians in closed form against central differences of the machines in float64, and in limits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mosaic
from mosaic.engine import jacobian as module
from mosaic_plugins.gaussian import Moments
from mosaic_plugins.machines import ELS, IS, LS

LENGTH = 1e-5  # of central differences


def data(channels: int = 1, height: int = 6, width: int = 5, count: int = 9) -> mosaic.DataSet:
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return mosaic.DataSet("random", images, torch.arange(count) % 2)


def noisy(dataset: mosaic.DataSet, level: mosaic.Level, count: int = 2) -> Tensor:
    noise = torch.randn(count, *dataset.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return level.signal * dataset.images[:count].double() + level.noise * noise


def by_differences(model: mosaic.ScoreModel, x: Tensor, level: mosaic.Level, scale: float, label: int = -1) -> Tensor:
    """d x0hat / d x (B, D, D), from 2 D evaluations of each sample."""
    units = LENGTH * torch.eye(x[0].numel(), dtype=torch.float64).view(-1, *x.shape[1:])
    labels = torch.full((len(units),), label)
    ends = [[model.denoise(image + sign * units, level, labels, scale).flatten(1) for sign in (1, -1)] for image in x]
    return torch.stack([(ahead - behind).T / (2 * LENGTH) for ahead, behind in ends])


def closed(model: mosaic.ScoreModel, x: Tensor, level: mosaic.Level, scale: float, label: int = -1) -> Tensor:
    matrix = model.jacobian(x, level, torch.full((len(x),), label), scale)
    assert matrix is not None
    assert matrix.shape == (*x.shape, *x.shape[1:])
    assert matrix.dtype == torch.float64
    return matrix.view(len(x), x[0].numel(), -1)


@pytest.mark.parametrize("noise", [0.3, 0.9])
@pytest.mark.parametrize(
    ("name", "scale", "options"),
    [
        ("is", 0, {}),
        ("gaussian", 0, {}),
        ("ls", 3, {"boundary": "zeros"}),
        ("ls", 7, {"boundary": "circular"}),
        ("els", 1, {"boundary": "zeros"}),
        ("els", 3, {"boundary": "zeros"}),
        ("els", 11, {"boundary": "zeros"}),
        ("els", 3, {"boundary": "zeros", "engine": "reference"}),
        ("els", 3, {"boundary": "circular"}),
        ("els", 9, {"boundary": "circular"}),  # wider than the image, so that it meets itself
        ("els", 5, {"boundary": "valid"}),
        ("soft-els", 1.7, {"boundary": "zeros"}),
        ("soft-els", 3.2, {"boundary": "zeros", "border": 0.5}),
        ("soft-els", 1.7, {"boundary": "circular"}),
        ("soft-els", 1.7, {"boundary": "valid"}),
        ("els-attention", 3, {"attention": "identity"}),
        ("filtered", 0, {"window": "whole", "source": "place", "temperature": 0.7}),
        ("filtered", 3, {"window": "box", "boundary": "circular"}),
        ("filtered", 3, {"window": "box", "source": "place", "mirrored": True}),
        ("filtered", 3, {"window": "box", "mirrored": True, "mixture": 1.5}),
        ("filtered", 1.7, {"window": "soft", "temperature": 0.7, "mirrored": True}),
        ("filtered", 1.7, {"window": "soft", "source": "place", "aspect": 2, "mixture": 1.3}),
    ],
)
def test_closed_forms_are_the_derivatives(name: str, scale: float, options: dict[str, Any], noise: float) -> None:
    level, dataset = mosaic.Level((1 - noise**2) ** 0.5, noise), data()
    model = mosaic.score(name, dataset, **options).model
    x = noisy(dataset, level)
    expected = by_differences(model, x, level, scale)
    tolerance = 1e-6 * float(expected.abs().max()) + 1e-10
    torch.testing.assert_close(closed(model, x, level, scale), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_a_profile_for_each_axis(boundary: str) -> None:
    level, dataset, profile = mosaic.Level(0.8, 0.6), data(2, 4, 5, 6), ([0.2, 1.0, 0.5], [0.3, 1.0, 0.7])
    x, images = noisy(dataset, level, 1), dataset.images

    def posterior(x: Tensor, **more: Any) -> mosaic.Posterior:
        return mosaic.equivariant_local_posterior(x, images, level, 3, boundary, profile=profile, **more)

    actual = mosaic.window_jacobian(
        lambda values, compute: posterior(x, values=values, compute=compute),
        images,
        level,
        3,
        boundary,
        profile=profile,
    )
    units = LENGTH * torch.eye(x[0].numel(), dtype=torch.float64).view(-1, *x.shape[1:])
    ahead, behind = (posterior(x + sign * units).mean().flatten(1) for sign in (1, -1))
    expected = (ahead - behind).T / (2 * LENGTH)
    torch.testing.assert_close(actual.view(expected.shape), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("name", "scale"), [("is", 0), ("ls", 3), ("els", 3), ("soft-els", 2.0)])
def test_channels_share_a_posterior_and_a_label_chooses_its_images(name: str, scale: float) -> None:
    level, dataset = mosaic.Level(0.8, 0.6), data(3, 4, 5, 6)
    model = mosaic.score(name, dataset).model
    x = noisy(dataset, level)
    of_class = closed(model, x, level, scale, 1)
    torch.testing.assert_close(of_class, by_differences(model, x, level, scale, 1), rtol=0, atol=1e-7)
    assert float((of_class - closed(model, x, level, scale)).abs().max()) > 1e-3


def test_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    level, dataset = mosaic.Level(0.8, 0.6), data(2, 4, 5, 9)
    x = noisy(dataset, level)
    whole = mosaic.ideal_jacobian(x, dataset.images, level)
    monkeypatch.setattr(module, "BLOCK", 2 * dataset.images[0].numel())
    torch.testing.assert_close(mosaic.ideal_jacobian(x, dataset.images, level), whole, rtol=1e-12, atol=1e-13)


def test_symmetry() -> None:
    """One posterior of all pixels gives a covariance, symmetric and positive; one for each pixel does not (curl)."""
    level, dataset = mosaic.Level(0.8, 0.6), data()
    x = noisy(dataset, level)
    for name in ("is", "gaussian"):
        matrix = closed(mosaic.score(name, dataset).model, x, level, 0)
        torch.testing.assert_close(matrix, matrix.mT, rtol=0, atol=1e-14)
        assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-12
    for name in ("ls", "els"):
        matrix = closed(mosaic.score(name, dataset).model, x, level, 3)
        assert float((matrix - matrix.mT).norm() / matrix.norm()) > 0.1


@pytest.mark.parametrize(("name", "scale"), [("is", 0), ("ls", 3), ("els", 3), ("soft-els", 2.0)])
def test_where_one_candidate_has_all_the_weight_nothing_changes(name: str, scale: float) -> None:
    level, dataset = mosaic.Level(1.0, 1e-3), data()
    matrix = closed(mosaic.score(name, dataset).model, dataset.images[:2].double(), level, scale)
    assert float(matrix.abs().max()) < 1e-8


def test_that_of_a_gaussian_is_its_wiener_filter() -> None:
    level, dataset = mosaic.Level(0.8, 0.6), data(1, 4, 3, 30)
    flat = dataset.images.flatten(1).double()
    covariance = torch.cov(flat.T, correction=0)
    expected = covariance @ torch.linalg.inv(covariance + (0.6 / 0.8) ** 2 * torch.eye(12, dtype=torch.float64)) / 0.8
    matrix = closed(mosaic.score("gaussian", dataset).model, noisy(dataset, level, 1), level, 0)[0]
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(Moments.of(dataset.images).jacobian(level), expected, rtol=0, atol=1e-12)


def test_whoever_computes_x0hat_otherwise_does_not_inherit_the_closed_form() -> None:
    class Halved(IS):
        def evaluate(self, *given: Any) -> Any:
            mean, posterior = super().evaluate(*given)
            return mean / 2, posterior

    class Sharper(ELS):
        def posterior(self, x: Tensor, images: Tensor, level: mosaic.Level, *rest: Any) -> mosaic.Posterior:
            return super().posterior(x, images, mosaic.Level(level.signal, level.noise / 2), *rest)

    class Shifted(LS):
        def denoise(self, *given: Any) -> Tensor:
            return super().denoise(*given) + 1

    class Same(ELS):
        pass

    level, dataset = mosaic.Level(0.8, 0.6), data()
    x = noisy(dataset, level)
    for cls in (Halved, Sharper, Shifted):
        assert cls(None, dataset).jacobian(x, level, None, 3) is None
    whole = {"filtered": {"window": "whole", "boundary": "circular"}}
    others: dict[str, dict[str, Any]] = {
        name: {} for name in ("es", "smoothed", "golden-subset", "nearest", "nearest-patch", "patch-posterior")
    }
    for name, options in {**others, "switch": {"below": "els"}, "els-attention": {}, **whole}.items():
        assert mosaic.score(name, dataset, **options).model.jacobian(x, level, None, 3) is None
    torch.testing.assert_close(closed(Same(None, dataset), x, level, 3), closed(ELS(None, dataset), x, level, 3))


def test_values_may_be_given_block_by_block() -> None:
    level, dataset = mosaic.Level(0.8, 0.6), data(2, 6, 5)
    x, images = noisy(dataset, level), dataset.images.double()

    def squares(block: Tensor, rows: range, cols: range) -> Tensor:
        return block.double()[:, :, rows.start : rows.stop, cols.start : cols.stop].square()

    for posterior in (mosaic.local_posterior, mosaic.equivariant_local_posterior):
        held = posterior(x, images, level, 3, values=images.square()).mean()
        torch.testing.assert_close(posterior(x, images, level, 3, values=squares).mean(), held, rtol=0, atol=1e-14)
