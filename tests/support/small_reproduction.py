"""The settings of a reproduction that takes seconds, and steps of its networks' runs."""

from __future__ import annotations

from typing import Any

import xarray as xr

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "dataset_options": {"limit": 30},
    "network_options": {"channels": 4, "blocks": 1},
    "epochs": 2,
    "samples": 3,
    "calibration_samples": 2,
}
NETWORK_STEPS = 30  # which the fixtures of reproductions have in place of 150


def same(actual: Any, expected: Any) -> None:
    """Hold two data sets equal but for the times at which they were made."""
    xr.testing.assert_equal(actual.drop_attrs(), expected.drop_attrs())
