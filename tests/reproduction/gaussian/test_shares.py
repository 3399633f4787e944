"""The largest share: of made-up agreements, with an interval that covers what resampling can change."""

from __future__ import annotations

import numpy as np
import pytest

from mosaic.reproduction.gaussian.shares import largest_share

SHARES = np.array([0.0, 0.1, 0.2, 0.3])


def test_it_is_the_last_before_the_median_falls_short() -> None:
    values = np.tile(np.array([1.0, 0.96, 0.9, 0.99])[:, None], (1, 8))  # a rise after a fall does not count
    assert largest_share(values, SHARES, 0.95) == (0.1, 0.1, 0.1)
    assert largest_share(values, SHARES, 0.9) == (0.3, 0.3, 0.3)
    assert largest_share(values, SHARES, 0.99) == (0.0, 0.0, 0.0)
    assert np.isnan(largest_share(values - 1, SHARES, 0.5)).all()


def test_its_interval_is_of_resampled_samples() -> None:
    values = np.ones((4, 9))
    values[2] = values[3] = [0.96] * 5 + [0.9] * 4  # the median holds by one sample
    share, low, high = largest_share(values, SHARES, 0.95)
    assert (share, low, high) == (0.3, 0.1, 0.3)
    assert largest_share(values, SHARES, 0.95) == (share, low, high)


def test_samples_that_are_not_known_are_left_out() -> None:
    values = np.ones((4, 3))
    values[1:, 0] = np.nan
    values[3, 1:] = 0.5
    assert largest_share(values, SHARES, 0.9)[0] == pytest.approx(0.2)
    assert np.isnan(largest_share(np.full((4, 3), np.nan), SHARES, 0.9)).all()
