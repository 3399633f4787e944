"""The computed sets: exact values, coverage against areas, and that options alone decide the images."""

import math

import pytest
import torch

import mosaic
from mosaic_data.procedural import BlackWhite, Shapes, shape_coverage


def test_black_white_is_an_image_of_each() -> None:
    dataset = BlackWhite().load()
    assert dataset.shape == (1, 32, 32)
    assert (dataset.images[0] == -1).all()
    assert (dataset.images[1] == 1).all()
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.classes == ("black", "white")


def test_black_white_takes_width_and_channels() -> None:
    options = BlackWhite.Options.parse({"size": "4", "width": "6", "channels": "3"}, "dataset.black-white")
    assert BlackWhite(options).load().images.shape == (2, 3, 4, 6)


def test_black_white_refuses_two_channels() -> None:
    with pytest.raises(mosaic.UsageError, match=r"'channels'.*'2'"):
        BlackWhite.Options.parse({"channels": "2"}, "dataset.black-white")


@pytest.mark.parametrize(
    ("label", "area"),
    [(0, math.pi), (1, 4.0), (2, 3 * math.sqrt(3) / 4)],
    ids=["circle", "square", "triangle"],
)
def test_coverage_sums_to_the_area_of_the_shape(label: int, area: float) -> None:
    radius = torch.tensor([9.0])
    coverage = shape_coverage(torch.tensor([label]), torch.tensor([[16.0, 15.5]]), radius)
    # Corners round off by less than a pixel each.
    assert coverage.sum().item() == pytest.approx(area * 81, abs=1.5)


def test_shapes_show_two_contrasting_colours_and_leave_the_border_plain() -> None:
    images = Shapes(Shapes.Options(count=200)).load().images
    background = images[:, :, :1, :1]
    for border in (images[:, :, 0], images[:, :, -1], images[..., 0], images[..., -1]):
        assert torch.equal(border, background[..., 0].expand_as(border))
    assert ((images - background).abs().amax((2, 3)) > 0.5 - 1e-5).all()


def test_shapes_have_even_classes_and_follow_from_the_seed() -> None:
    first, second = Shapes().load(), Shapes().load()
    assert first.images.shape == (1000, 3, 32, 32)
    assert first.labels is not None
    assert first.labels.bincount().tolist() == [334, 333, 333]
    assert first.classes == ("circle", "square", "triangle")
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != Shapes(Shapes.Options(seed=1)).load().fingerprint()


def test_shapes_draw_what_the_label_says() -> None:
    dataset = Shapes(Shapes.Options(count=300)).load()
    assert dataset.labels is not None
    covered = ((dataset.images - dataset.images[:, :, :1, :1]).abs().amax(1) > 1e-3).float()
    rows, columns = covered.amax(2).sum(1), covered.amax(1).sum(1)
    filling = covered.sum((1, 2)) / (rows * columns)  # of the bounding box: pi/4, 1 and 1/2
    for label, share in enumerate((math.pi / 4, 1.0, 0.5)):
        assert filling[dataset.labels == label].mean().item() == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("size", [48, 64])
def test_shapes_of_another_size_are_as_large_in_proportion(size: int) -> None:
    base, other = (Shapes(Shapes.Options(count=60, size=each)).load() for each in (32, size))
    assert other.images.shape == (60, 3, size, size)
    assert other.labels is not None
    assert base.labels is not None
    assert torch.equal(other.labels, base.labels)
    assert torch.equal(other.images[:, :, 0, 0], base.images[:, :, 0, 0])
    background = other.images[:, :, :1, :1]
    for border in (other.images[:, :, 0], other.images[:, :, -1], other.images[..., 0], other.images[..., -1]):
        assert torch.equal(border, background[..., 0].expand_as(border))
    strength, expected = ((each.images - each.images[:, :, :1, :1]).abs().mean((1, 2, 3)) for each in (other, base))
    # The shape covers the same share of the image, but for its blurred edge.
    torch.testing.assert_close(strength, expected, rtol=0.1, atol=0)


def test_they_are_made_within_the_memory_allowed() -> None:
    with pytest.raises(mosaic.DataError, match=r"100000 images.*\b1 MiB"):
        Shapes(Shapes.Options(count=100_000), mosaic.DataAccess(memory=2**20)).load()
