"""Jacobians of any score: by which method, and what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic
from mosaic.run import derivative


def data(channels: int = 2, height: int = 4, width: int = 3, count: int = 4) -> mosaic.DataSet:
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return mosaic.DataSet("random", images, torch.arange(count) % 2)


def weights(dataset: mosaic.DataSet) -> Tensor:
    """A matrix (D, D) that is not symmetric."""
    size = dataset.images[0].numel()
    return torch.randn(size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def linear(dataset: mosaic.DataSet, detached: bool) -> mosaic.Score:
    matrix = weights(dataset)

    def x0hat(x: Tensor, level: mosaic.Level) -> Tensor:
        given = x.detach() if detached else x
        return (given.flatten(1).double() @ matrix.T).view(x.shape)

    return mosaic.score(x0hat, dataset, prediction="x0", time="level")


@pytest.mark.parametrize(("detached", "method", "tolerance"), [(False, "torch", 1e-6), (True, "differences", 1e-9)])
def test_the_jacobian_of_a_linear_function_is_its_matrix(detached: bool, method: str, tolerance: float) -> None:
    dataset = data()
    found = linear(dataset, detached).jacobian(dataset.images[:3].double(), 0.5)
    assert found.method == method
    assert found.matrix.shape == (3, 2, 4, 3, 2, 4, 3)
    assert found.matrix.dtype == torch.float64
    expected = weights(dataset).expand(3, -1, -1)
    torch.testing.assert_close(found.matrix.view(3, 24, 24), expected, rtol=0, atol=tolerance)


def test_that_of_a_network_is_the_one_torch_gives() -> None:
    dataset = data(1, 8, 7, 3)
    network = mosaic.registry().get("network", "resnet")
    own = mosaic.score(network(network.Options(channels=4, blocks=1)).build(1, 0), dataset)
    found = own.jacobian(dataset.images, 0.4)

    def alone(x: Tensor) -> Tensor:
        return own.denoise(x[None], 0.4)[0]

    expected = torch.stack([torch.autograd.functional.jacobian(alone, image) for image in dataset.images])
    assert found.method == "torch"
    torch.testing.assert_close(found.matrix, expected.double(), rtol=1e-4, atol=1e-6)


def test_closed_forms_are_used_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """And agree with the differences that are used where they are taken away."""
    dataset, own = data(), mosaic.score("els", data(), scales=3)
    found = own.jacobian(dataset.images[:2], 0.5, labels=[0, -1])
    monkeypatch.setattr(type(own.model), "jacobian", mosaic.ScoreModel.jacobian)
    others = own.jacobian(dataset.images[:2], 0.5, labels=np.array([0, -1]))
    assert (found.method, others.method) == ("closed form", "differences")
    torch.testing.assert_close(found.matrix, others.matrix, rtol=0, atol=1e-6)
    assert "closed form" in repr(found)


def test_the_scale_may_be_given() -> None:
    dataset, own = data(), mosaic.score("els", data(), scales=3)
    alone = own.jacobian(dataset.images[:1], 0.5, k=1).matrix.view(2, 12, 2, 12)
    outside = ~torch.eye(12, dtype=torch.bool)
    assert not alone.permute(1, 3, 0, 2)[outside].any()
    assert alone.permute(1, 3, 0, 2)[~outside].any()


@pytest.mark.parametrize("given", [{"difference": 0.0}, {"difference": 1.0}, {"labels": [7]}, {"t": 2.0}])
def test_what_cannot_be_differentiated_is_refused(given: dict[str, Any]) -> None:
    dataset = data()
    with pytest.raises(mosaic.UsageError):
        mosaic.score("is", dataset).jacobian(dataset.images[:1], **{"t": 0.5, **given})


def test_what_would_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data()
    needed = derivative.COPIES * 8 * 24**2
    monkeypatch.setattr(derivative, "physical_memory", lambda: 2 * needed)
    own = mosaic.score("is", dataset)
    own.jacobian(dataset.images[:1], 0.5)
    with pytest.raises(mosaic.UsageError, match="24 x 24"):
        own.jacobian(dataset.images[:2], 0.5)
