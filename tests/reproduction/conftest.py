"""A small row of table 2, run once for all tests of reproductions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_reproduction import SMALL

import mosaic


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small row has been run; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to work on."""
    return Path(shutil.copytree(made, tmp_path / "again"))
