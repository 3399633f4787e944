"""A small row of table 2, run once for all tests of reproductions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from small_reproduction import NETWORK_STEPS, SMALL

import mosaic
from mosaic.reproduction.study import experiment, steps
from mosaic.reproduction.study.rows import Row, Sizes, sizes_of


@contextmanager
def quick() -> Iterator[None]:
    """Measure trainings for a moment, run networks in few steps, and leave out the pictures beside runs.

    The tests of the command line run all steps, and draw the pictures.
    """

    def short(row: Row, preset: str) -> Sizes:
        return replace(sizes_of(row, preset), network_steps=NETWORK_STEPS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "LONG_ENOUGH", 0.05)
        patch.setattr(experiment, "sizes_of", short)
        for draw in ("draw_agreement", "draw_scales", "draw_side_by_side"):
            patch.setattr(experiment, draw, lambda *_: None)
        for write in ("save_figure", "write_figure"):
            patch.setattr(experiment, write, lambda _, path: path.touch())
        yield


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with quick():
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small row has been run; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    with quick():
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to work on."""
    return Path(shutil.copytree(made, tmp_path / "again"))
