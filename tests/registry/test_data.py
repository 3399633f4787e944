"""Data sets by name, and where their files may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mosaic
from mosaic.registry.data import data_access, load_dataset


def test_data_are_looked_for_in_the_folder_given_then_in_mosaic_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOSAIC_DATA", raising=False)
    assert data_access(None) == mosaic.DataAccess(None, False)
    monkeypatch.setenv("MOSAIC_DATA", "")
    assert data_access(None).root is None
    monkeypatch.setenv("MOSAIC_DATA", "theirs")
    assert data_access(None, download=True) == mosaic.DataAccess(Path("theirs"), True)
    assert data_access("mine").root == data_access(Path("mine")).root == Path("mine")


def test_a_data_set_is_loaded_with_its_options_and_from_its_place(tiny_file: Path, tiny: mosaic.DataSet) -> None:
    loaded = load_dataset("file", {"path": str(tiny_file), "limit": "6"}, data_access(None))
    assert loaded.name == "file"
    assert loaded.labels is not None
    assert loaded.labels.bincount().tolist() == [2, 2, 2]
    whole = load_dataset("file", {"path": str(tiny_file)}, data_access(None))
    np.testing.assert_array_equal(whole.images, tiny.images)
    with pytest.raises(mosaic.DataError, match="nowhere"):
        load_dataset("mnist", {}, data_access("nowhere"))


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(mosaic.PluginError, match=r"'digts'.*'digits'"):
        load_dataset("digts", {}, data_access(None))
    with pytest.raises(mosaic.UsageError, match=r"'limt'.*'limit'"):
        load_dataset("digits", {"limt": 3}, data_access(None))
    with pytest.raises(mosaic.UsageError, match=r"'limit'.*0"):
        load_dataset("digits", {"limit": 0}, data_access(None))
