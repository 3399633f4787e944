"""Damaged files: reading one gives a data set or a sentence, soon, within the memory allowed, and unpickles nothing."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from mutations import mutated
from PIL import Image

import mosaic
from mosaic_data.array_file import ArrayFile
from mosaic_data.idx import IdxFile
from mosaic_data.image_folder import ImageFolder

ALLOWED = mosaic.DataAccess(memory=2**26)
SECONDS = 10.0  # for one file of some kilobytes

IMAGES = np.random.default_rng(0).integers(1, 256, (9, 6, 5), np.uint8)
LABELS = np.arange(9) % 3
PICTURE = np.random.default_rng(1).integers(0, 256, (12, 10, 3), np.uint8)


def read_array(path: Path) -> Any:
    return ArrayFile(ArrayFile.Options(path=path, limit=5), ALLOWED).load()


def read_folder(path: Path) -> Any:
    return ImageFolder(ImageFolder.Options(path=path.parent), ALLOWED).load()


def read_idx(path: Path) -> Any:
    stored = IdxFile(path.with_suffix(""), 3) if path.suffix == ".gz" else IdxFile(path, 3)
    mosaic.registry().make("dataset", "digits", {}, ALLOWED).check_memory(stored.shape[0], stored.shape[1:])
    pixels = stored.read(np.arange(min(5, stored.shape[0])))
    return mosaic.DataSet("idx", pixels[:, None].float() / 127.5 - 1)


def saved(save: Callable[..., object], *arguments: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *arguments, **options)
    return stream.getvalue()


def picture(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(lambda stream: Image.fromarray(pixels).save(stream, kind, exif=exif, **options))


def netcdf(path: Path, **options: Any) -> bytes:
    variables = {"images": (("sample", "y", "x"), IMAGES), "labels": ("sample", LABELS)}
    xarray.Dataset(variables).to_netcdf(path / "whole.nc", **options)
    return (path / "whole.nc").read_bytes()


def classic(path: Path) -> bytes:
    images = xarray.Variable(("sample", "y", "x"), IMAGES.view(np.int8), {"_Unsigned": "true"})
    xarray.Dataset({"images": images}).to_netcdf(path / "whole.nc", format="NETCDF3_CLASSIC")
    return (path / "whole.nc").read_bytes()


IDX = bytes((0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 5)) + IMAGES.tobytes()
DEEP = PICTURE[..., 0].astype(np.uint16) * 257

KINDS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], Any]]] = {
    "x.npy": (lambda _: saved(np.save, IMAGES), read_array),
    "objects.npy": (lambda _: saved(np.save, np.array([{}, print], object), allow_pickle=True), read_array),
    "x.npz": (lambda _: saved(np.savez, images=IMAGES, labels=LABELS), read_array),
    "packed.npz": (lambda _: saved(np.savez_compressed, images=IMAGES, labels=LABELS), read_array),
    "x.nc": (netcdf, read_array),
    "packed.nc": (lambda path: netcdf(path, encoding={"images": {"zlib": True, "_FillValue": 0}}), read_array),
    "classic.nc": (classic, read_array),
    "idx": (lambda _: IDX, read_idx),
    "idx.gz": (lambda _: gzip.compress(IDX, mtime=0), read_idx),
    "x.png": (lambda _: picture(PICTURE, "PNG"), read_folder),
    "deep.png": (lambda _: picture(DEEP, "PNG"), read_folder),
    "x.jpg": (lambda _: picture(PICTURE, "JPEG"), read_folder),
    "x.webp": (lambda _: picture(PICTURE, "WEBP", lossless=True), read_folder),
    "x.bmp": (lambda _: saved(lambda stream: Image.fromarray(PICTURE).save(stream, "BMP")), read_folder),
    "x.ppm": (lambda _: saved(lambda stream: Image.fromarray(PICTURE).save(stream, "PPM")), read_folder),
    "x.tiff": (lambda _: picture(PICTURE, "TIFF"), read_folder),
    "deep.tiff": (lambda _: picture(DEEP, "TIFF"), read_folder),
    "lzw.tiff": (lambda _: picture(PICTURE, "TIFF", compression="tiff_lzw"), read_folder),
}


def refuse_pickle(*_: Any, **__: Any) -> None:
    raise AssertionError("something was unpickled")


@pytest.fixture(autouse=True)
def _nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse_pickle)


def try_damaged(name: str, folder: Path, count: int, seed: int) -> int:
    """Read `count` damaged files of a kind; gives how many were refused."""
    make, read = KINDS[name]
    content, donor = make(folder), saved(np.savez, images=IMAGES)
    generator = random.Random(f"{name} {seed}")
    path, messages = folder / "class" / name, []
    path.parent.mkdir(exist_ok=True)
    for _ in range(count):
        path.write_bytes(mutated(content, donor, generator))
        begin = time.perf_counter()
        try:
            assert isinstance(read(path), mosaic.DataSet)
        except mosaic.MosaicError as error:
            messages.append(str(error))
        assert time.perf_counter() - begin < SECONDS  # `path` is left for whoever looks into it
    assert all(message.isprintable() for message in messages)
    return len(messages)


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    make, read = KINDS[name]
    path = tmp_path / "class" / name
    path.parent.mkdir()
    path.write_bytes(make(tmp_path))
    if name == "objects.npy":
        with pytest.raises(mosaic.DataError):
            read(path)
    else:
        assert len(read(path)) in (1, 5)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    assert try_damaged(name, tmp_path, 40, 0) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("name", KINDS)
def test_thousands_of_damaged_files_are_read_or_refused(name: str, seed: int, tmp_path: Path) -> None:
    try_damaged(name, tmp_path, 500, seed)
