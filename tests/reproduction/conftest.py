"""A small row of table 2, run once for all tests of reproductions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.study import experiment, steps


@pytest.fixture(scope="session")
def quick() -> Iterator[None]:
    """Measure trainings for a moment, and leave out the pictures beside runs: the command line's tests draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "LONG_ENOUGH", 0.05)
        for draw in ("draw_agreement", "draw_scales", "draw_side_by_side"):
            patch.setattr(experiment, draw, lambda *_: None)
        for write in ("save_figure", "write_figure"):
            patch.setattr(experiment, write, lambda _, path: path.touch())
        yield


@pytest.fixture(autouse=True)
def _quick(quick: None) -> None:
    pass


@pytest.fixture(scope="session")
def made(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small row has been run; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to work on."""
    return Path(shutil.copytree(made, tmp_path / "again"))
