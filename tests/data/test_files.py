"""The plugin of data sets made from the user's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mosaic
from mosaic_data.array_file import ArrayFile
from mosaic_data.image_folder import ImageFolder


def test_both_are_registered() -> None:
    assert mosaic.registry().get("dataset", "folder") is ImageFolder
    assert mosaic.registry().get("dataset", "file") is ArrayFile


def test_both_come_from_the_plugin_of_files_and_need_a_path(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 2)))
    for name, path in (("folder", tmp_path), ("file", tmp_path / "x.npy")):
        assert mosaic.registry().owner("dataset", name) == "mosaic-diffusion:files"
        assert mosaic.registry().make("dataset", name, {"path": str(path)}).available() is None
        assert mosaic.registry().get("dataset", name).Options.model_fields["path"].is_required()
