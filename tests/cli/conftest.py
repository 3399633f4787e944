"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from command_results import done


@pytest.fixture
def checkpoint(invoke: Callable[..., Result]) -> Path:
    """A small network, trained for two steps on 40 digits."""
    small = ("-o", "network.channels=4", "-o", "network.blocks=1", "-o", "dataset.limit=40")
    return Path(done(invoke("train", *small, "--epochs", 2, "--out", "net")).stdout.strip())
