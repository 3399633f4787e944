"""Models of statistics: fitted once to all images, and once to those of each class that a sample has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from theories import assert_is_compared_with_its_class_only
from torch import Tensor

import mosaic
from mosaic_plugins.by_class import ByClass


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("name", ["gaussian", "gaussian-mixture", "pca-locality"])
def test_a_sample_with_a_label_is_compared_with_its_class_only(name: str) -> None:
    assert_is_compared_with_its_class_only(name)


class Means(ByClass):
    """The mean image, whatever x is."""

    name = "means"

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self.fits: list[int] = []

    def fit(self, images: Tensor, labels: Tensor | None) -> Tensor:
        self.fits.append(len(images))
        assert labels is None or len(labels) == len(images)
        return images.flatten(1).double().mean(0)

    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        return 1000 * batch + sum(self.group_sizes(labels))

    def apply(self, fitted: Tensor, x: Tensor, level: mosaic.Level) -> Tensor:
        assert x.dtype == torch.float64
        return fitted.expand(len(x), -1)


def test_every_class_is_fitted_once_and_only_where_it_is_asked_for(tiny: mosaic.DataSet) -> None:
    means, level = Means(None, tiny), mosaic.Level(0.8, 0.6)
    assert means.fits == []
    x = torch.zeros(4, 1, 6, 5)
    for _ in range(2):
        actual = means.denoise(x, level, torch.tensor([2, -1, 2, 0]))
        assert sorted(means.fits) == [4, 4, 12]
    for sample, images in enumerate((tiny.images[2::3], tiny.images, tiny.images[2::3], tiny.images[::3])):
        torch.testing.assert_close(actual[sample], images.mean(0))
    means.denoise(x, level)
    assert sorted(means.fits) == [4, 4, 12]
    assert actual.dtype == torch.float32
    assert means.traits.is_conditional
    assert means.traits.memory(2, 0, torch.float32, (-1, 1))[:2] == (2000 + 12 + 4, 0)


def test_labels_that_no_image_has_are_refused_by_number(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"\b7\b"):
        Means(None, tiny).denoise(torch.zeros(1, 1, 6, 5), mosaic.Level(0.8, 0.6), torch.tensor([7]))
