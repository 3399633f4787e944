"""The interface of metrics: what a subclass inherits, and what it must be given."""

from __future__ import annotations

import pytest
import torch
from pydantic import Field

import mosaic


class Brightness(mosaic.Metric):
    """Mean pixel, above a floor."""

    class Options(mosaic.Options):
        floor: float = Field(0.0, description="Taken off.")

    name = "brightness"
    range = (-2.0, 2.0)
    higher_is_better = True
    by_default = True

    def __call__(
        self, images: torch.Tensor, reference: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        return images.double().mean((1, 2, 3)) - self.options.floor


class OverTheSet(Brightness):
    """Likewise, of a training set."""

    name = "over-the-set"
    needs_dataset = True


def test_a_subclass_is_taken_by_default_only_where_it_says_so_itself() -> None:
    assert Brightness.by_default
    assert not OverTheSet.by_default
    assert type("Own", (Brightness,), {"by_default": True}).by_default
    assert OverTheSet.range == (-2.0, 2.0)


def test_a_metric_of_a_training_set_is_refused_without_it_by_name(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="'over-the-set'"):
        OverTheSet()
    assert OverTheSet(None, tiny).dataset is tiny
    assert Brightness().dataset is None


def test_options_are_the_metrics_own_unless_given() -> None:
    images = torch.full((2, 1, 3, 3), 0.5)
    assert Brightness()(images).tolist() == [0.5, 0.5]
    assert Brightness(Brightness.Options(floor=0.25))(images).tolist() == [0.25, 0.25]
    assert Brightness().chance is None
