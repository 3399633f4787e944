"""The command line that resumes what was interrupted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from small_training import train

import mosaic
from mosaic.view import images, scales
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


@pytest.mark.parametrize(
    ("arguments", "module", "draw"),
    [
        (("run", "--steps", 2, "--samples", 1), images, "draw_images"),
        (("calibrate", "--checkpoint", "net", "--samples", 1, "--steps", 2, "--sizes", "3"), scales, "draw_scales"),
    ],
)
def test_an_interrupt_after_the_work_says_where_the_result_is(
    invoke: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    tiny: mosaic.DataSet,
    arguments: tuple[Any, ...],
    module: Any,
    draw: str,
) -> None:
    digits = mosaic.score("is", dataset_options={"limit": 20}).model.dataset
    train(digits, epochs=1)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, draw, interrupted)
    result = invoke(*arguments, "-o", "dataset.limit=20", "--out", "r.nc")
    assert result.exit_code == mosaic.ExitCode.INTERRUPTED
    assert "'r.nc'" in result.stderr
    assert Path("r.nc").exists()
