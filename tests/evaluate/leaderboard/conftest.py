"""A trained network, and its leaderboard."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from small_leaderboard import SETTINGS

import mosaic


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranking") / "net"
    options = {"channels": 4, "blocks": 1, "padding": "circular"}
    mosaic.train("resnet", "digits", out=folder, epochs=2, dataset_options={"limit": 40}, network_options=options)
    return folder


@pytest.fixture(scope="session")
def made(network: Path, forking_python: str) -> Path:
    """A leaderboard, to be copied."""
    out = network.parent / "board"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", forking_python)
        mosaic.leaderboard(network, out=out, **SETTINGS)
    return out


@pytest.fixture
def board(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a leaderboard in it, the test's own."""
    out = tmp_path_factory.mktemp("copy") / "board"
    shutil.copytree(made, out)
    return out
