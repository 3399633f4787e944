"""Data sets that do not fit into memory are read in pieces, from every kind of file, and are the same to the bit."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import mosaic
import mosaic.testing
from mosaic_data import image_folder
from mosaic_data.array_file import ArrayFile
from mosaic_data.image_folder import ImageFolder

PIECES = mosaic.DataAccess(pieces=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 5, 4, 3), dtype=np.uint8)  # NHWC
LABELS = np.arange(24) % 3


def npy(path: Path, pixels: np.ndarray) -> dict[str, Any]:
    np.save(path / "x.npy", pixels)
    return {"path": path / "x.npy"}


def npz(save: Callable[..., None]) -> Callable[[Path], dict[str, Any]]:
    def write(path: Path) -> dict[str, Any]:
        save(path / "x.npz", images=PIXELS, labels=LABELS)
        return {"path": path / "x.npz"}

    return write


def netcdf(path: Path, order: tuple[str, ...] = ("sample", "y", "x", "channel"), **encoding: Any) -> dict[str, Any]:
    pixels = PIXELS / 300 if "scale_factor" in encoding else PIXELS
    images = xr.DataArray(pixels, dims=("sample", "y", "x", "channel")).transpose(*order)
    stored = xr.Dataset({"images": images, "labels": ("sample", LABELS)})
    stored.to_netcdf(path / "x.nc", encoding={"images": encoding})
    return {"path": path / "x.nc"}


def zarr_group(path: Path) -> dict[str, Any]:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path / "x.zarr"), mode="w")
    group.create_array("images", data=PIXELS, chunks=(7, 5, 4, 3))
    group.create_array("labels", data=LABELS)
    return {"path": path / "x.zarr"}


def zarr_array(path: Path) -> dict[str, Any]:
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(path / "x.zarr"), PIXELS.transpose(0, 3, 1, 2))
    return {"path": path / "x.zarr"}


FILES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "npy-nhwc": lambda path: npy(path, PIXELS),
    "npy-nchw": lambda path: npy(path, PIXELS.transpose(0, 3, 1, 2).copy()),
    "npy-nhw": lambda path: npy(path, PIXELS[..., 0].copy()),
    "npy-uint16": lambda path: npy(path, PIXELS.astype(np.uint16) * 257),
    "npy-float32": lambda path: npy(path, PIXELS / np.float32(300)),
    "npy-float64": lambda path: npy(path, PIXELS / 300),
    "npy-big-endian": lambda path: npy(path, (PIXELS / 300).astype(">f4")),
    "npy-range": lambda path: {**npy(path, PIXELS.astype(np.int32)), "range": (0, 300)},
    "npz-stored": npz(np.savez),
    "npz-packed": npz(np.savez_compressed),
    "netcdf": netcdf,
    "netcdf-chunks": lambda path: netcdf(path, zlib=True, chunksizes=(5, 5, 4, 3)),
    "netcdf-other-order": lambda path: netcdf(path, ("channel", "y", "sample", "x")),
    "netcdf-scaled": lambda path: netcdf(path, scale_factor=1 / 300, dtype="int16", _FillValue=-1),
    "zarr-group": zarr_group,
    "zarr-array": zarr_array,
}


def both(source: type[mosaic.DataSource], **options: Any) -> list[mosaic.DataSet]:
    """The data set read in pieces, and in memory."""
    return [source(source.Options(**options), access).load() for access in (PIECES, mosaic.DataAccess())]


def assert_same(streamed: mosaic.DataSet, held: mosaic.DataSet) -> None:
    assert isinstance(streamed.images, mosaic.ImageSource)
    assert isinstance(held.images, torch.Tensor)
    assert streamed.images.dtype == torch.float32
    assert torch.equal(streamed.images[:], held.images)
    assert streamed.fingerprint() == held.fingerprint()
    for fact in ("classes", "names", "range", "origin", "shape"):
        assert getattr(streamed, fact) == getattr(held, fact)
    (note,) = set(streamed.notes) - set(held.notes)
    assert "read in pieces" in note


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
@pytest.mark.parametrize("options", [{}, {"limit": 7}, {"limit": 6, "skip": 5, "limit_seed": 1}], ids=str)
def test_files_in_pieces_are_files_in_memory(
    write: Callable[[Path], dict[str, Any]], options: dict[str, Any], tmp_path: Path
) -> None:
    assert_same(*both(ArrayFile, **write(tmp_path), **options))


def folder_of(path: Path, pixels: np.ndarray = PIXELS, grey: bool = False) -> Path:
    for index, image in enumerate(pixels):
        file = path / "abc"[index % 3] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if grey else image).save(file)
    return path


def zip_of(path: Path, labels: Any = (), prefix: str = "00000") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        names = []
        for index, image in enumerate(PIXELS):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            names.append(f"{prefix or 'abc'[index % 3]}/img{index:08}.png")
            archive.writestr(names[-1], content.getvalue())
        if labels is None or len(labels):
            given = None if labels is None else [[name, int(label)] for name, label in zip(names, labels, strict=False)]
            archive.writestr("dataset.json", json.dumps({"labels": given}))
    return path


@pytest.mark.parametrize(
    "options", [{}, {"limit": 7}, {"size": 3}, {"size": (6, 2), "resize": "crop", "limit": 5, "skip": 2}], ids=str
)
@pytest.mark.parametrize("grey", [False, True])
def test_folders_in_pieces_are_folders_in_memory(tmp_path: Path, options: dict[str, Any], grey: bool) -> None:
    streamed, held = both(ImageFolder, path=folder_of(tmp_path / "x", grey=grey), **options)
    assert_same(streamed, held)
    assert isinstance(streamed.images, mosaic.ImageSource)
    assert streamed.images.stored == (np.float32 if "size" in options else np.uint8)
    assert streamed.labels is not None
    assert torch.equal(streamed.labels, held.labels)  # type: ignore[arg-type]


def test_deep_grey_images_keep_their_bits(tmp_path: Path) -> None:
    for index in range(3):
        pixels = PIXELS[index, ..., 0].astype(np.uint16) * 257 + index
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    assert_same(*both(ImageFolder, path=tmp_path))


@pytest.mark.parametrize("access", [PIECES, mosaic.DataAccess()])
def test_a_zip_of_edm_is_a_folder_with_the_labels_it_says(tmp_path: Path, access: mosaic.DataAccess) -> None:
    path = zip_of(tmp_path / "x.zip", LABELS)
    dataset = ImageFolder(ImageFolder.Options(path=path), access).load()
    assert torch.equal(dataset.images[:], torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 127.5 - 1)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.classes == ("0", "1", "2")
    assert dataset.names[4] == "00000/img00000004.png"
    assert isinstance(dataset.images, mosaic.ImageSource) == access.pieces


def test_a_zipped_folder_has_its_classes_and_one_without_labels_none(tmp_path: Path) -> None:
    zipped = ImageFolder(ImageFolder.Options(path=zip_of(tmp_path / "x.zip", prefix=""))).load()
    held = ImageFolder(ImageFolder.Options(path=folder_of(tmp_path / "x"))).load()
    assert zipped.classes == held.classes == ("a", "b", "c")
    assert zipped.labels is not None
    assert zipped.labels.bincount().tolist() == [8, 8, 8]
    assert ImageFolder(ImageFolder.Options(path=zip_of(tmp_path / "y.zip", None))).load().labels is None


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"PK no zip"), "zip"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "no images"),
        (lambda path: zip_of(path, LABELS[:20]), "4 of 24"),
        (lambda path: zip_of(path, [-1] * 24), "24 of 24"),
    ],
)
def test_zips_that_cannot_be_used_say_why(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    write(tmp_path / "x.zip")
    with pytest.raises(mosaic.DataError, match=rf"x\.zip.*{message}"):
        ImageFolder(ImageFolder.Options(path=tmp_path / "x.zip")).load()


def test_what_was_decoded_is_not_decoded_again_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    decode = image_folder.decode
    monkeypatch.setattr(image_folder, "decode", lambda *given: (decoded.append(given), decode(*given))[1])
    path = folder_of(tmp_path / "x")
    first, again = (ImageFolder(ImageFolder.Options(path=path), PIECES).load() for _ in range(2))
    assert len(decoded) == 24
    assert first.fingerprint() == again.fingerprint()
    os.utime(path / "a" / "0.png", (1, 1))
    ImageFolder(ImageFolder.Options(path=path), PIECES).load()
    assert len(decoded) == 48


def test_an_open_file_is_known_again_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ArrayFile.Options(**npy(tmp_path, PIXELS))
    os.utime(options.path, (1, 1))
    first = ArrayFile(options, PIECES).load().fingerprint()

    def read(*given: object) -> np.ndarray:
        raise AssertionError("it reads")

    monkeypatch.setattr(mosaic.FileRows, "read", read)
    assert ArrayFile(options, PIECES).load().fingerprint() == first


def test_what_fits_is_read_into_memory_and_what_does_not_in_pieces(tmp_path: Path) -> None:
    options, need = ArrayFile.Options(**npy(tmp_path, PIXELS)), 8 * PIXELS.size + 64 * 24
    for memory in (need, need - 1):
        images = ArrayFile(options, mosaic.DataAccess(memory=memory)).load().images
        assert isinstance(images, torch.Tensor) == (memory == need)


def test_values_are_checked_in_pieces_too(tmp_path: Path) -> None:
    cases: list[tuple[np.ndarray, str]] = [
        (np.where(PIXELS == 7, np.nan, PIXELS / 300), "NaN"),
        (PIXELS / 100, r"outside \[-1, 1\]"),
    ]
    for pixels, message in cases:
        with pytest.raises(mosaic.DataError, match=message):
            ArrayFile(ArrayFile.Options(**npy(tmp_path, pixels)), PIECES).load()
    unwritten = xr.Dataset({"images": (("n", "y", "x"), np.full((3, 4, 4), 255, np.uint8))})
    unwritten.to_netcdf(tmp_path / "x.nc", encoding={"images": {"_FillValue": None}})
    with pytest.raises(mosaic.DataError, match="never written"):
        ArrayFile(ArrayFile.Options(path=tmp_path / "x.nc"), PIECES).load()


def test_an_array_in_fortran_order_is_read_in_pieces(tmp_path: Path) -> None:
    assert_same(*both(ArrayFile, **npy(tmp_path, np.asfortranarray(PIXELS))))


@pytest.mark.parametrize("name", ["npy-nhwc", "npy-nhw", "npz-stored", "netcdf-chunks"])
@pytest.mark.parametrize("change", ["touched", "removed"])
def test_a_file_that_changes_while_it_is_read_is_refused(name: str, change: str, tmp_path: Path) -> None:
    options = FILES[name](tmp_path)
    images = ArrayFile(ArrayFile.Options(**options), PIECES).load().images
    before = images[:5]
    assert torch.equal(images[:5], before)
    path = options["path"]
    status = path.stat()
    path.unlink() if change == "removed" else os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(mosaic.DataError, match="has changed since it was opened" if change == "touched" else "cannot"):
        images[:5]


@pytest.mark.parametrize("name", ["npy-nhwc", "npz-packed", "netcdf-chunks", "zarr-group"])
def test_files_in_pieces_pass_the_conformance_suite(name: str, tmp_path: Path) -> None:
    options = {"path": str(FILES[name](tmp_path)["path"])}
    for check in mosaic.testing.checks_of("dataset", ArrayFile, options=options, access=PIECES):
        assert check() in ("passed", "does not apply")


@pytest.mark.parametrize("name", ["npy-nhwc", "npz-stored", "netcdf-chunks", "zarr-group"])
def test_threads_read_a_file_at_the_same_time(name: str, tmp_path: Path) -> None:
    options = ArrayFile.Options(**FILES[name](tmp_path))
    images = ArrayFile(options, PIECES).load().images
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda first: images[first : first + 2], [*range(0, 24, 2)] * 10))
    assert torch.equal(torch.cat(blocks), ArrayFile(options).load().images[:].repeat(10, 1, 1, 1))
