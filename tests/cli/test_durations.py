"""Durations as text."""

from __future__ import annotations

import pytest

from mosaic_cli.durations import duration


def test_durations_are_written_in_the_units_that_suit_them() -> None:
    assert [duration(s) for s in (0.25, 12, 200, 7500)] == ["0.2 s", "12 s", "3 min 20 s", "2 h 5 min"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
    ],
)
def test_units_change_where_the_rounded_duration_reaches_the_next(seconds: float, text: str) -> None:
    assert duration(seconds) == text
