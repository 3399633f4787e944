"""The command line that resumes what was interrupted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mosaic_cli.resumption import command_to_resume


def test_the_resume_command_repeats_the_run_as_it_was_asked_for() -> None:
    asked = ["run", "--out", "a b.nc", "--overwrite", "--steps", "3", "--out=x"]
    assert command_to_resume(asked, Path("a b.nc")) == "mosaic run --steps 3 --out 'a b.nc' --resume"


@pytest.mark.parametrize("path", ["a.nc", "folder/it's.nc", "$HOME; x.nc"])
def test_a_shell_reads_the_resume_command_back(path: str) -> None:
    asked = ["train", "--resume", "-o", "dataset.path=my images", "--out", "elsewhere"]
    expected = ["mosaic", "train", "-o", "dataset.path=my images", "--out", path, "--resume"]
    assert shlex.split(command_to_resume(asked, Path(path))) == expected
    assert shlex.split(command_to_resume(expected[1:], Path(path))) == expected
