"""What stored runs are opened from: files and stores, whole or damaged."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import mosaic
from mosaic.containers.access import open_container, root_of_store


@pytest.fixture
def store(tiny: mosaic.DataSet, tmp_path: Path) -> Path:
    mosaic.run("els", tiny, samples=2, steps=2, out=tmp_path / "a.zarr", progress=False)
    return tmp_path / "a.zarr"


def test_values_are_read_when_they_are_asked_for(store: Path) -> None:
    run = mosaic.open(store)
    assert run.encoding["source"] == str(store)
    chunk = store / "state" / "c.0.0.0.0.0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run["image"].isel(sample=1).values.shape == run["image"].shape[1:]
    assert run["state"].isel(sample=1, step=[1, 0]).values.shape == run["state"].shape[1:]
    with pytest.raises(mosaic.DataError, match=r"a\.zarr.*damaged"):
        run["state"].isel(sample=0).load()
    chunk.write_bytes(content)
    xr.testing.assert_identical(pickle.loads(pickle.dumps(open_container(store))), open_container(store))


def test_a_chunk_that_is_not_there_is_not_taken_for_values(store: Path) -> None:
    (store / "image" / "c.1.0.0.0").unlink()
    with pytest.raises(mosaic.DataError, match="image"):
        mosaic.open(store).mosaic.to_images()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"attributes": 7}'])
def test_a_store_whose_root_is_damaged_is_refused(store: Path, damage: str) -> None:
    (store / "zarr.json").write_text(damage)
    assert root_of_store(store) == {}
    with pytest.raises(mosaic.DataError, match=r"a\.zarr"):
        mosaic.open(store)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "file.zarr").touch()
    xr.Dataset({"x": ("y", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    for name in ("folder", "file", "other", "none"):
        with pytest.raises(mosaic.DataError, match=rf"{name}\.zarr"):
            mosaic.open(tmp_path / f"{name}.zarr")


def test_a_store_that_xarray_wrote_of_part_of_a_run_is_opened(store: Path, tmp_path: Path) -> None:
    part = mosaic.open(store).isel(sample=[1]).drop_indexes("time")
    part.to_zarr(tmp_path / "part.zarr", consolidated=False)
    xr.testing.assert_equal(mosaic.open(tmp_path / "part.zarr").drop_indexes("time"), part)


def test_without_zarr_one_sentence_says_what_to_install(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "zarr":
            raise ModuleNotFoundError("No module named 'zarr'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(mosaic.UsageError, match=r"mosaic-diffusion\[zarr\]"):
        mosaic.run("els", tiny, samples=1, steps=1, out=tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []
