"""A score model under test: the levels and labels that it accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from ideal_score import Ideal, ideal

import mosaic
from mosaic.testing.case import Failed, NotApplicable, PluginCase, small_dataset
from mosaic.testing.score_case import HIGH, ScoreCase, analytic, require_close


class Scaled(Ideal):
    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, has_scale=True)


class Scheduled(Ideal):
    """Knows the levels of one schedule."""

    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, schedule=lambda: mosaic.registry().make("schedule", "flow", {}))


class Quiet(Ideal):
    """Refuses noise above 10."""

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        if any(level.noise > 10 for level in levels):
            raise mosaic.UsageError("too much noise")
        return ()


class Labelled(Ideal):
    """Needs a label."""

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        if -1 in labels:
            raise mosaic.UsageError("a label is needed")
        return ()


def test_only_models_with_a_scale_are_given_it() -> None:
    assert ScoreCase(PluginCase(Scaled, scale=5)).scale == 5
    assert ScoreCase(PluginCase(Ideal, scale=5)).scale == 0


def test_calling_it_evaluates_the_model_on_its_training_set_or_another() -> None:
    case, level = PluginCase(Ideal), mosaic.Level(1.0, 0.4)
    x, other = case.noisy(level, dtype=torch.float64), small_dataset(1, 7, 6).select(torch.arange(4))
    for dataset in (case.dataset, other):
        expected = ideal(x.numpy(), dataset.images.double().numpy(), level, 0)
        np.testing.assert_allclose(ScoreCase(case, dataset)(x, level), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("noise", "time"), [(0.01, 0.05), (0.3, 0.3), (5.0, 1.0)])
def test_levels_are_those_of_the_models_own_schedule(noise: float, time: float) -> None:
    assert ScoreCase(PluginCase(Ideal)).level(noise) == mosaic.Level(1.0, noise)
    level = ScoreCase(PluginCase(Scheduled)).level(noise)
    assert level == mosaic.registry().make("schedule", "flow", {}).level(time)


def test_labels_are_those_that_the_model_accepts() -> None:
    x = torch.zeros(4, 1, 7, 6)
    assert ScoreCase(PluginCase(Ideal)).labels(x).tolist() == [-1] * 4
    first_is_b = small_dataset().select(torch.tensor([1, 0, 2]))
    assert ScoreCase(PluginCase(Labelled, dataset=first_is_b)).labels(x).tolist() == [1] * 4


def test_levels_that_check_refuses_are_not_accepted() -> None:
    quiet = ScoreCase(PluginCase(Quiet))
    assert quiet.accepts(mosaic.Level(1.0, 10.0))
    assert not quiet.accepts(mosaic.Level(1.0, HIGH))


@pytest.mark.parametrize("plugin", [Scheduled, Quiet])
def test_models_of_certain_levels_only_are_not_analytic(plugin: type[mosaic.ScoreModel]) -> None:
    assert isinstance(analytic(PluginCase(Ideal)).model, Ideal)
    with pytest.raises(NotApplicable):
        analytic(PluginCase(plugin))


def test_tensors_are_close_up_to_the_tolerance_and_the_largest_difference_is_named() -> None:
    a, b = torch.zeros(3), torch.tensor([0.0, -0.25, 0.125])
    require_close(a, b, "apart", 0.25)
    with pytest.raises(Failed, match=r"^apart \(by 0\.25, more than 0\.2\)$"):
        require_close(a, b, "apart", 0.2)
