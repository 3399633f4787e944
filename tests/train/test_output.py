"""Where a training is kept: what is refused there, and the settings of what is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_training import train

import mosaic
from mosaic.disk.failures import WriteError
from mosaic.train.output import CheckpointOutput

NAME = Path("net")


def test_a_folder_that_cannot_hold_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for taken in ("file", "mine", "nowhere/net"):
        for how in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(mosaic.UsageError, match=taken.partition("/")[0]):
                CheckpointOutput(Path(taken), **how).check()


def test_a_checkpoint_is_refused_unless_resumed_or_replaced(tiny: mosaic.DataSet) -> None:
    CheckpointOutput(NAME).check()
    train(tiny)
    with pytest.raises(mosaic.UsageError, match=r"'net'.*`resume`.*`overwrite`"):
        CheckpointOutput(NAME).check()
    CheckpointOutput(NAME, resume=True).check()
    CheckpointOutput(NAME, overwrite=True).check()
    with pytest.raises(mosaic.UsageError, match=r"`resume`.*`overwrite`"):
        CheckpointOutput(NAME, resume=True, overwrite=True)


def test_settings_are_kept_for_what_is_resumed_only(tiny: mosaic.DataSet) -> None:
    assert CheckpointOutput(NAME, resume=True).kept_settings(mosaic.TrainConfig) == {}
    config = train(tiny).config
    assert CheckpointOutput(NAME, resume=True).kept_settings(mosaic.TrainConfig) == config.model_dump(mode="json")
    assert CheckpointOutput(NAME).kept_settings(mosaic.TrainConfig) == {}


def test_a_name_that_is_too_long_is_refused(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(WriteError, match=r"\b300\b"):
            train(tiny, "x" * 300, **how)
    with pytest.raises(mosaic.DataError, match="xxx"):
        mosaic.load_checkpoint("x" * 300)
    assert not list(tmp_path.iterdir())
    assert train(tiny, "x" * 252, epochs=1).load() is not None
