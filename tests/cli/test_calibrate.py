"""`mosaic calibrate`: scales that `mosaic run` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from command_results import done, notes, refused
from PIL import Image

from mosaic.evaluate.calibration.ends import ends_notes

Invoke = Callable[..., Result]


def test_calibrate_writes_a_file_that_run_reads_and_prints_json(invoke: Invoke, checkpoint: Path) -> None:
    arguments = ("calibrate", "--checkpoint", checkpoint, "--samples", 3, "--steps", 4, "--score", "ls")
    actual = json.loads(done(invoke(*arguments, "--out", "s.nc", "--json", "--sizes", "3,7")).stdout)
    with xr.open_dataset("s.nc") as stored:
        assert actual["scales"] == stored["scale"].values[::-1].tolist()
        assert set(actual["scales"]) <= {3, 7}
        assert actual["noise_to_signal"] == sorted(actual["noise_to_signal"])
    result = done(invoke("run", "--score", "ls", "--scales", "s.nc", "--steps", 4, "--samples", 1, "--out", "r.nc"))
    assert result.stdout == "r.nc\n"
    with xr.open_dataset("r.nc") as run:
        assert run["scale"].values[::-1].tolist() == actual["scales"]
    refused(invoke(*arguments, "--out", "s.nc"), 2, "'s.nc'", "--overwrite")
    assert done(invoke(*arguments, "--sizes", "3,7", "--out", "s.nc", "--resume")).stdout == "s.nc\n"
    refused(invoke(*arguments, "--out", "t.nc", "--sizes", "4"), 2, "4")
    refused(invoke(*arguments[:-1], "is", "--out", "t.nc"), 2, "'is'")
    refused(invoke("calibrate", "--out", "t.nc"), 2, "'checkpoint'")
    refused(invoke("calibrate", "--checkpoint", "nowhere", "--out", "t.nc"), 4, "'nowhere'")
    assert not Path("t.nc").exists()


def test_scales_are_noted_from_the_lowest_noise_up_and_drawn(invoke: Invoke, checkpoint: Path) -> None:
    few = ("--samples", 1, "--steps", 3, "--sizes", "3,5")
    result = done(invoke("calibrate", "--checkpoint", checkpoint, *few))
    assert result.stdout == "scales.nc\n"
    with xr.open_dataset("scales.nc") as stored:
        rising = stored.sortby("noise")["scale"].values.tolist()
    assert result.stderr.splitlines()[-1].endswith(": " + " ".join(map(str, rising)))
    with Image.open("scales.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 100


def test_scales_at_an_end_of_those_tried_are_noted(invoke: Invoke, checkpoint: Path) -> None:
    few = ("--samples", 1, "--steps", 3, "--score", "soft-els", "--sizes", "2,2.01,2.02")
    result = done(invoke("calibrate", "--checkpoint", checkpoint, *few))
    with xr.open_dataset("scales.nc") as stored:
        expected = [note.replace("`sizes`", "--sizes") for note in ends_notes(stored)]
    assert expected
    assert notes(result)[-len(expected) :] == expected


def test_an_interrupted_calibration_names_the_command_that_resumes(
    invoke: Invoke, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    given = ("calibrate", "--checkpoint", checkpoint, "--samples", 1, "--steps", 2, "--sizes", "3,5", "--out", "s.nc")
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.PartFiles.finish", interrupt)
        refused(invoke(*given), 130, "--out s.nc --resume")
    assert not Path("s.nc").exists()
    assert done(invoke("calibrate", "--resume", "--out", "s.nc")).stdout == "s.nc\n"
    (note,) = notes(done(invoke(*given[:-1], "u.nc", "--resume")))
    assert "'u.nc'" in note
