"""For each check of data sets one that is wrong in just that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from conformance_checks import assert_caught, assert_passes, check_of
from pydantic import Field

import mosaic
from mosaic.testing.datasets import CHECKS


class Waves(mosaic.DataSource):
    """Right: smooth images of two classes."""

    name = "waves"

    class Options(mosaic.DataSetOptions):
        seed: int = Field(0, description="Seed.")

    def read(self) -> mosaic.DataSet:
        generator = torch.Generator().manual_seed(self.options.seed)
        images = torch.rand(8, 1, 5, 5, generator=generator) * 2 - 1
        return mosaic.DataSet(self.name, images, torch.arange(8) % 2, ("a", "b"), scales="3")


def reading(change: Callable[[mosaic.DataSet], mosaic.DataSet]) -> type[Waves]:
    class Wrong(Waves):
        def read(self) -> mosaic.DataSet:
            return change(super().read())

    return Wrong


class Absent(Waves):
    def available(self) -> str | None:
        return "not there"


class Lopsided(Waves):
    def load(self) -> mosaic.DataSet:
        whole = self.read()
        ordered = whole.select(whole.labels.argsort(stable=True))  # type: ignore[union-attr]
        return ordered.select(torch.arange(self.options.limit or len(whole)))


class ForgetfulWaves(Waves):
    class Options(Waves.Options):
        size: int = 3


BROKEN = mosaic.Rule(
    lambda images: torch.stack([torch.zeros(len(images)), torch.ones(len(images))], 1).long(), ("a", "b")
)

WRONG: dict[str, type[mosaic.DataSource]] = {
    "it_is_available_and_loads": Absent,
    "images_and_labels_fit": reading(lambda data: replace(data, images=data.images / 50)),
    "it_loads_the_same_twice": reading(lambda data: replace(data, images=data.images * torch.rand(1))),
    "limit_takes_a_balanced_subset": Lopsided,
    "its_scales_exist": reading(lambda data: replace(data, scales="paper/nothing")),
    "its_images_obey_its_rule": reading(lambda data: replace(data, rule=BROKEN)),
    "options_survive_json": ForgetfulWaves,
}


def test_what_is_right_passes() -> None:
    assert_passes("dataset", Waves)


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("dataset", WRONG[name], name)


class Few(Waves):
    def read(self) -> mosaic.DataSet:
        return super().read().select(torch.arange(3))


class Inventive(Waves):
    """Its subset has images that the whole set has not."""

    def load(self) -> mosaic.DataSet:
        chosen = super().load()
        return replace(chosen, images=0.9 * chosen.images) if self.options.limit else chosen


class Repeating(Waves):
    """What it skips comes again."""

    def load(self) -> mosaic.DataSet:
        whole, options = self.read(), self.options
        return whole.select(
            mosaic.balanced_subset(len(whole), options.limit or len(whole) - options.skip, 0, whole.labels)
        )


class Unbounded(Waves):
    class Options(mosaic.Options):
        """Options without `limit`."""


def test_the_classes_that_a_subset_takes_are_counted() -> None:
    """Half of eight images, four of each class: Lopsided takes all four of the first class."""
    assert_caught("dataset", Lopsided, "limit_takes_a_balanced_subset", r"limit=4 .*\[0, 4\].*\[2, 2\]")


@pytest.mark.parametrize("wrong", [Inventive, Repeating, Unbounded])
def test_other_wrong_subsets_are_caught(wrong: type[mosaic.DataSource]) -> None:
    assert_caught("dataset", wrong, "limit_takes_a_balanced_subset")


def test_no_subset_is_taken_of_fewer_than_four_images() -> None:
    assert check_of("dataset", Few, "limit_takes_a_balanced_subset")() == "does not apply"


def test_the_images_that_break_the_rule_are_counted() -> None:
    def shows(images: torch.Tensor) -> torch.Tensor:
        kinds = torch.zeros(len(images), 2, dtype=torch.int64)
        kinds[:3, 1] = 1
        return kinds

    wrong = reading(lambda data: replace(data, rule=mosaic.Rule(shows, ("a", "b"))))
    assert_caught("dataset", wrong, "its_images_obey_its_rule", r"\b3\b")
