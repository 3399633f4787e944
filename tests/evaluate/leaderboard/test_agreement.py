"""What a theory adds to another: partial correlations, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.evaluate.leaderboard.agreement import partial_correlation, with_interval
from mosaic.evaluate.leaderboard.table import _behind
from mosaic.evaluate.statistics import crossed_interval


def test_an_image_that_adds_nothing_has_no_partial_correlation_and_one_that_adds_all_has_one() -> None:
    """Of three images of mean 0 and length 1 that are orthogonal to each other."""
    columns = np.column_stack([np.ones(16), np.random.default_rng(0).normal(size=(16, 3))])
    _, base, rest, other = np.linalg.qr(columns)[0].T

    def partial(image: np.ndarray, reference: np.ndarray) -> float:
        batch = [each.reshape(1, 1, 4, 4).astype(np.float32) for each in (image, reference, base)]
        return float(partial_correlation(*batch)[0])

    assert partial(2 * base + other + 1, base + rest) == pytest.approx(0, abs=1e-6)
    assert partial(3 * base + rest - 2, base + rest) == pytest.approx(1, abs=1e-6)
    assert partial(base - 0.5 * rest, base + rest) == pytest.approx(-1, abs=1e-6)
    assert partial(rest + other, base + rest) == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert np.isnan(partial(2 * base + 1, base + rest))  # it is the other theory's image, up to contrast
    assert np.isnan(partial(rest, base))


def test_it_is_the_correlation_by_yules_formula() -> None:
    first, second, base = np.random.default_rng(1).normal(size=(3, 5, 1, 4, 4)).astype(np.float32)
    base = base + first + second
    for place, actual in enumerate(partial_correlation(first, second, base)):
        flat = [batch[place].ravel().astype(float) for batch in (first, second, base)]
        (_, xy, xz), (_, _, yz), _ = np.corrcoef(flat)
        assert actual == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)), abs=1e-6)


def test_medians_are_over_trainings_and_samples_of_each_entry() -> None:
    values = np.random.default_rng(2).normal(size=(2, 3, 4, 5))
    named = with_interval("x", ("score", "training", "step", "sample"), values)
    for place, end in enumerate(("median", "low", "high")):
        dims, ends = named[f"x_{end}"]
        assert dims == ("score", "step")
        assert ends[1, 2] == crossed_interval(values[1, :, 2])[place]
    assert named["x"][1] is values


def test_the_best_of_both_halves_is_the_reference_and_not_measured() -> None:
    final, names = np.array([[[0.9, 0.8, 0.7]], [[0.5, 0.6, 0.4]]]), ["a", "b"]
    np.testing.assert_allclose(_behind(final, names, True), [[[np.nan] * 3], [[0.4, 0.2, 0.3]]])
    np.testing.assert_allclose(_behind(final, names, False), [[[0.4, 0.2, 0.3]], [[np.nan] * 3]])


def test_the_best_of_one_half_is_its_own_reference_on_the_other() -> None:
    final = np.array([[[0.9, 0.1]], [[0.2, 0.8]]])  # the first is best on the even sample, the second on the odd one
    np.testing.assert_allclose(_behind(final, ["a", "b"], True), [[[-0.7, 0.0]], [[0.0, -0.7]]])
