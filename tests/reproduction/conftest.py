"""One small row, run once for the tests of a module."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_reproduction import SMALL

import mosaic


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one small row has been run."""
    folder = tmp_path_factory.mktemp("made")
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to work on."""
    return Path(shutil.copytree(made, tmp_path / "again"))
