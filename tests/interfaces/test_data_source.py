"""Data-set plugins: the subset that options ask for, and the memory that reading may take."""

from __future__ import annotations

import pytest
import torch

import mosaic
from mosaic import DataSet, DataSetOptions

IMAGES = torch.rand(6, 2, 3, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.tensor([0, 2, 1, 2, 0, 2])


class Rooms(mosaic.DataSource):
    """Six images."""

    name = "rooms"

    def read(self) -> DataSet:
        return DataSet("rooms", IMAGES, LABELS)


def test_a_source_takes_the_subset_that_its_options_ask_for() -> None:
    chosen = mosaic.balanced_subset(6, 4, 7, LABELS)
    assert torch.equal(Rooms(DataSetOptions(limit=4, limit_seed=7)).load().images, IMAGES[chosen])
    for limit in (None, 6, 100):
        assert torch.equal(Rooms(DataSetOptions(limit=limit)).load().images, IMAGES)
    with pytest.raises(mosaic.UsageError, match="limit_seed 3"):
        DataSetOptions.parse({"limit_seed": 3}, "dataset.rooms")
    assert Rooms().access == mosaic.DataAccess(None, download=False)


def test_skip_leaves_out_what_a_limit_takes() -> None:
    rest = mosaic.balanced_subset(6, 6, 7, LABELS, skip=4)
    taken = mosaic.balanced_subset(6, 4, 7, LABELS)
    assert sorted([*rest.tolist(), *taken.tolist()]) == list(range(6))
    assert torch.equal(Rooms(DataSetOptions(skip=4, limit_seed=7)).load().images, IMAGES[rest])
    part = Rooms(DataSetOptions(skip=2, limit=3, limit_seed=7)).load()
    assert torch.equal(part.images, IMAGES[mosaic.balanced_subset(6, 3, 7, LABELS, skip=2)])
    assert len(part) == 3
    assert len(Rooms(DataSetOptions(skip=5, limit=3)).load()) == 1
    with pytest.raises(mosaic.DataError, match=r"'rooms'.*`dataset\.skip` 6.*\b6\b.*\b5\b"):
        Rooms(DataSetOptions(skip=6)).load()


def test_a_source_that_reads_its_subset_is_not_cut_again() -> None:
    class Reads(Rooms):
        reads_subset = True

        def read(self) -> DataSet:
            chosen = self.choose(6, LABELS)
            return DataSet("rooms", IMAGES[chosen], LABELS[chosen])

    options = DataSetOptions(skip=2, limit=3)
    assert torch.equal(Reads(options).load().images, Rooms(options).load().images)


def test_options_that_came_later_are_recorded_where_they_are_given() -> None:
    """So that what was stored before there were any is still of the same data."""
    assert DataSetOptions().model_dump(mode="json") == {"limit": None, "limit_seed": 0}
    assert DataSetOptions(skip=3).model_dump(mode="json") == {"limit": None, "limit_seed": 0, "skip": 3}


def test_a_source_is_refused_more_memory_than_it_is_allowed() -> None:
    source = Rooms(access=mosaic.DataAccess(memory=2**20))
    source.check_memory(100, (1, 32, 32))
    with pytest.raises(
        mosaic.DataError, match=r"'rooms'.*\b200 images of 1 x 32 x 32.*\b2 MiB.*\b1 MiB.*`memory`.*\b128\b"
    ):
        source.check_memory(200, (1, 32, 32))
    source.check_memory(128, (1, 32, 32))
    with pytest.raises(mosaic.DataError, match=r"\b1 MiB.*\b0\b.*`dataset\.limit"):
        source.check_memory(1, (1, 1, 1), more=2**20)
    with pytest.raises(mosaic.DataError, match="machine"):
        Rooms().check_memory(2**50, (1, 1, 1))
