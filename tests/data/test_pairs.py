"""Data sets of pairs: what is drawn, that no window sees both objects, and the judgement of generated images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mosaic

CASES = [
    ("pairs", {"colours": 3}),
    ("pairs", {"colours": 2, "size": 12}),
    ("pairs-shape", {}),
    ("pairs-shape", {"size": 20}),
    ("pairs", {"size": 20, "height": 5}),
    ("pairs-shape", {"height": 4}),
]


def load(name: str, **options: Any) -> mosaic.DataSet:
    source = mosaic.registry().get("dataset", name)
    return source(source.Options(**{"count": 60, **options})).load()


def rule_of(dataset: mosaic.DataSet) -> mosaic.Rule:
    assert dataset.rule is not None
    return dataset.rule


def verdicts(dataset: mosaic.DataSet, images: torch.Tensor) -> list[str]:
    rule = rule_of(dataset)
    return [mosaic.VERDICTS[index] for index in rule.judge(images).tolist()]


def objects_of(image: torch.Tensor) -> list[torch.Tensor]:
    """The two halves of an image, each cut to what is not black."""
    actual = []
    for half in image.split(image.shape[2] // 2, dim=2):
        rows, cols = torch.nonzero((half > -1).any(0), as_tuple=True)
        actual.append(half[:, rows.min() : rows.max() + 1, cols.min() : cols.max() + 1])
    return actual


@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_image_has_two_equal_objects_and_every_class_as_many(name: str, options: dict[str, Any]) -> None:
    dataset = load(name, **options)
    assert dataset.labels is not None
    for image in dataset.images:
        left, right = objects_of(image)
        assert left.shape[1:] == (3, 3)
        assert image.shape[1:] == (options.get("height", image.shape[2]), options.get("size", 16))
        assert torch.equal(left, right)
    counts = torch.bincount(dataset.labels)
    assert len(counts) == len(dataset.classes)
    assert counts.max() - counts.min() <= 1
    rule = rule_of(dataset)
    assert rule.kinds == dataset.classes
    assert rule.chance == 1 / len(dataset.classes)
    assert torch.equal(rule.shows(dataset.images), torch.stack([dataset.labels, dataset.labels], 1))


@pytest.mark.parametrize("name", ["pairs", "pairs-shape"])
def test_no_image_comes_again_before_all_have_come(name: str) -> None:
    for rows in (1, 2):
        every = 3 * 4 * rows**2
        assert len(load(name, rows=rows, count=every).images.unique(dim=0)) == every
        part = load(name, rows=rows, count=every // 2)
        assert len(part.images.unique(dim=0)) == every // 2
        _, times = load(name, rows=rows, count=2 * every).images.unique(dim=0, return_counts=True)
        assert times.tolist() == [2] * every


def test_a_low_image_has_as_many_ways_as_rows_fit() -> None:
    for height, rows in ((3, 1), (4, 2), (5, 3), (6, 3)):
        every = 3 * 4 * rows**2
        assert len(load("pairs", height=height, count=3 * every).images.unique(dim=0)) == every


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_window_of_size_minus_7_pixels_sees_both(name: str, options: dict[str, Any]) -> None:
    dataset = load(name, **options, seed=1)
    lit = (dataset.images > -1).any(1).any(0).any(0).numpy()  # columns in which there is ever anything
    size = len(lit)
    middle = size // 2
    first, last = np.flatnonzero(lit[:middle]), middle + np.flatnonzero(lit[middle:])
    assert last.min() - first.max() == size - 7  # a window that holds both columns is one wider


@pytest.mark.parametrize(("name", "options"), CASES)
def test_training_images_are_consistent_and_a_seed_decides_them(name: str, options: dict[str, Any]) -> None:
    dataset = load(name, **options)
    assert set(verdicts(dataset, dataset.images)) == {"consistent"}
    assert load(name, **options).fingerprint() == dataset.fingerprint() != load(name, **options, seed=1).fingerprint()
    noisy = dataset.images + 0.1 * torch.randn(dataset.images.shape, generator=torch.Generator().manual_seed(0))
    assert set(verdicts(dataset, noisy)) == {"consistent"}


@pytest.mark.parametrize("name", ["pairs", "pairs-shape"])
def test_how_an_image_is_broken(name: str) -> None:
    dataset = load(name)
    assert dataset.labels is not None
    first, second = (int((dataset.labels == label).nonzero()[0]) for label in (0, 1))
    left, right = dataset.images[first].clone(), dataset.images[second].clone()
    mixed = torch.cat([left[:, :, :8], right[:, :, 8:]], 2)
    alone = left.clone()
    alone[:, :, 8:] = -1
    torn = left.clone()
    rows, cols = torch.nonzero((left[:, :, :8] > -1).any(0), as_tuple=True)
    torn[:, rows[0] : rows[0] + 2, cols.min() : cols.max() + 1] = -1  # two of its three rows are missing
    extra = left.clone()
    extra[:, :, :8] = torch.maximum(extra[:, :, :8], extra[:, :, :8].roll(5, 1))  # a second object in the same half
    moved = left.roll(3, 1)
    empty = torch.full_like(left, -1)
    grey = torch.zeros_like(left)
    images = torch.stack([left, mixed, alone, extra, moved, empty, grey])
    expected = ["consistent", "different", "missing", "malformed", "consistent", "missing", "malformed"]
    assert verdicts(dataset, images) == expected
    shown = rule_of(dataset).shows(images)
    assert shown[:3].tolist() == [[0, 0], [0, 1], [0, mosaic.Rule.EMPTY]]
    assert shown[3, 0] == mosaic.Rule.UNKNOWN
    assert verdicts(dataset, torn[None])[0] in ("malformed", "missing")


def test_the_rule_stays_with_a_subset_and_another_device() -> None:
    dataset = load("pairs").select(torch.arange(5)).to("cpu")
    assert set(verdicts(dataset, dataset.images)) == {"consistent"}


def test_options_are_bounded() -> None:
    for fault in ({"size": 11}, {"size": 8}, {"height": 2}, {"colours": 1}, {"colours": 7}):
        with pytest.raises(mosaic.UsageError):
            mosaic.registry().get("dataset", "pairs").Options.parse(fault, "dataset.pairs")


def test_consistency_is_the_share_of_images_that_obey_the_rule(tiny: mosaic.DataSet) -> None:
    metric = mosaic.registry().get("metric", "consistency")
    dataset = load("pairs")
    broken = dataset.images[:4].clone()
    broken[2, :, :, 8:] = -1
    assert metric(None, dataset)(broken).tolist() == [1, 1, 0, 1]
    assert metric(None, dataset).chance == pytest.approx(1 / 3)
    with pytest.raises(mosaic.UsageError, match="'tiny'"):
        metric(None, tiny)(tiny.images)


def test_they_are_made_within_the_memory_allowed() -> None:
    with pytest.raises(mosaic.DataError, match=r"100000 images.*\b1 MiB"):
        mosaic.registry().make("dataset", "pairs", {"count": 100_000}, mosaic.DataAccess(memory=2**20)).load()
