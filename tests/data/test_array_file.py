"""The data set `file`: what it makes of good files, and what it refuses."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray

import mosaic
from mosaic_data.array_file import ArrayFile

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def file(path: Path, **options: Any) -> mosaic.DataSet:
    return ArrayFile(ArrayFile.Options(path=path, **options)).load()


def test_missing_file_is_known_before_reading_and_refused_on_it(tmp_path: Path) -> None:
    lost = tmp_path / "lost.npz"
    assert f"'{lost}'" in (ArrayFile(ArrayFile.Options(path=lost)).available() or "")
    with pytest.raises(mosaic.DataError, match=r"lost\.npz'.*dataset\.path"):
        file(lost)


def test_arrays_that_are_not_read_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=GREY[None], labels=np.array([0]))
    assert file(tmp_path / "x.npz").notes == ()
    np.savez(tmp_path / "y.npz", images=GREY[None], label=np.array([0]), Labels=np.array([0]))
    (note,) = file(tmp_path / "y.npz").notes
    assert "label, Labels" in note


def test_path_is_required_and_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(mosaic.UsageError, match=r"dataset\.file.*'path'"):
        ArrayFile.Options.parse({}, "dataset.file")
    np.save(tmp_path / "x.npy", GREY[None])
    monkeypatch.chdir(tmp_path)
    assert len(file(Path("x.npy"))) == 1


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((6, 4, 5), "auto", (6, 1, 4, 5)),
        ((6, 4, 5, 3), "auto", (6, 3, 4, 5)),
        ((6, 1, 4, 5), "auto", (6, 1, 4, 5)),
        ((6, 3, 4, 3), "NCHW", (6, 3, 4, 3)),
        ((6, 3, 4, 3), "NHWC", (6, 3, 3, 4)),
        ((6, 4, 5, 2), "NHWC", (6, 2, 4, 5)),
    ],
)
def test_file_takes_each_layout(tmp_path: Path, shape: Any, layout: str, expected: Any) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, shape)
    np.save(tmp_path / "x.npy", images)
    read = file(tmp_path / "x.npy", layout=layout).images
    assert read.shape == expected
    assert read.dtype == torch.float32
    last = layout == "NHWC" or (shape[-1] == 3 and layout == "auto")
    reference = np.moveaxis(images, -1, 1) if last else images.reshape(expected)
    np.testing.assert_array_equal(read.numpy(), reference.astype(np.float32))


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        (
            (6, 3, 4, 1),
            "auto",
            r"\(6, 3, 4, 1\).*dataset\.layout=NCHW.*dataset\.layout=NHWC",
        ),
        ((6, 4, 4, 5), "auto", r"\(6, 4, 4, 5\).*dataset\.layout"),
        ((4, 5), "auto", r"\(4, 5\).*NHW, NHWC.*NCHW"),
        ((6, 4, 5), "NCHW", r"\(6, 4, 5\).*dataset\.layout=NCHW"),
        ((0, 4, 5), "auto", r"\(0, 4, 5\)"),
    ],
)
def test_file_refuses_a_shape_without_a_layout(tmp_path: Path, shape: Any, layout: str, message: str) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    with pytest.raises(mosaic.DataError, match=message):
        file(tmp_path / "x.npy", layout=layout)


def test_file_maps_bytes_and_keeps_floats(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", images=GREY[None])
    torch.testing.assert_close(
        file(tmp_path / "b.npz").images[0, 0].double(),
        torch.from_numpy(GREY).double() / 127.5 - 1,
        rtol=0,
        atol=1e-7,
    )
    floats = np.linspace(-1, 1, 20).reshape(1, 4, 5)
    np.savez(tmp_path / "f.npz", images=floats.astype(">f8"))
    np.testing.assert_array_equal(file(tmp_path / "f.npz").images[0].numpy(), floats.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_file_maps_a_given_range_linearly(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "x.npy", np.array([[[0, 1, 2, 4]]], dtype))
    options = ArrayFile.Options.parse({"path": str(tmp_path / "x.npy"), "range": "0,4"}, "dataset.file")
    assert ArrayFile(options).load().images.flatten().tolist() == [-1, -0.5, 0, 1]


@pytest.mark.parametrize("text", ["1,0", "0,inf", "0", "a,b"])
def test_file_refuses_a_range_that_does_not_rise_or_end(text: str) -> None:
    with pytest.raises(mosaic.UsageError, match=r"dataset\.file.*'range"):
        ArrayFile.Options.parse({"path": "x.npy", "range": text}, "dataset.file")


def test_file_refuses_floats_out_of_range(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[[0.0, 255.0]]]))
    with pytest.raises(mosaic.DataError, match=r"\[0, 255\].*\[-1, 1\].*dataset\.range=LOW,HIGH"):
        file(tmp_path / "x.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_file_names_the_image_that_is_not_finite(tmp_path: Path, bad: float) -> None:
    images = np.zeros((5, 2, 2))
    images[3, 0, 1] = bad
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(mosaic.DataError, match=r"\b3\b"):
        file(tmp_path / "x.npy")


@pytest.mark.parametrize("dtype", ["int8", "int16", ">i4", "int64", "uint32"])
def test_integers_that_suggest_no_range_need_one(tmp_path: Path, dtype: str) -> None:
    levels = GREY[None] // 2
    np.save(tmp_path / "x.npy", levels.astype(dtype))
    with pytest.raises(mosaic.DataError, match=r"int.*dataset\.range"):
        file(tmp_path / "x.npy")
    np.save(tmp_path / "byte.npy", levels)
    expected = file(tmp_path / "byte.npy", range=(0, 127))
    np.testing.assert_allclose(file(tmp_path / "x.npy", range=(0, 127)).images, expected.images, atol=1e-6)
    with pytest.raises(mosaic.DataError, match=r"114.*\[0, 100\].*dataset\.range"):
        file(tmp_path / "x.npy", range=(0, 100))


def test_wide_integers_keep_their_differences(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", 2**40 + np.array([[[0, 1, 2, 4]]]))
    assert file(tmp_path / "x.npy", range=(2.0**40, 2.0**40 + 4)).images.flatten().tolist() == [-1, -0.5, 0, 1]


def test_file_takes_sixteen_bits_and_booleans(tmp_path: Path) -> None:
    np.save(tmp_path / "deep.npy", np.array([[[0, 65535]]], np.uint16))
    np.save(tmp_path / "mask.npy", np.array([[[False, True]]]))
    for name in ("deep.npy", "mask.npy"):
        assert file(tmp_path / name).images.flatten().tolist() == [-1, 1]


def test_file_labels_need_not_be_contiguous(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=np.stack([GREY] * 3), labels=np.array([4, 1, 4], np.uint8))
    dataset = file(tmp_path / "x.npz")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [4, 1, 4]
    assert dataset.classes == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1, 1], r"labels.*\[-1, 1\].*\[0, 65535\]"),
        ([0, 10**9, 1], r"labels.*\[0, 1000000000\].*\[0, 65535\]"),
        ([0, 1], r"labels.*\b3\b.*int64.*\(2,\)"),
        ([0.0, 1.0, 2.0], r"labels.*float64"),
    ],
)
def test_file_refuses_labels_that_number_no_classes(tmp_path: Path, labels: list[float], message: str) -> None:
    np.savez(tmp_path / "x.npz", images=np.stack([GREY] * 3), labels=np.array(labels))
    with pytest.raises(mosaic.DataError, match=message):
        file(tmp_path / "x.npz")


def test_file_reads_netcdf(tmp_path: Path) -> None:
    images = np.stack([RGB, 255 - RGB])
    variables = {"images": (("n", "y", "x", "c"), images), "labels": ("n", np.array([1, 0]))}
    xarray.Dataset(variables).to_netcdf(tmp_path / "x.nc")
    dataset = file(tmp_path / "x.nc")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0]
    expected = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(dataset.images, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
def test_file_without_images_lists_what_is_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, image=GREY, label=np.zeros(1))
    else:
        xarray.Dataset({"image": (("y", "x"), GREY), "label": ("n", np.zeros(1))}).to_netcdf(path)
    with pytest.raises(mosaic.DataError, match=r"'images'.*image, label"):
        file(path)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".nc"])
@pytest.mark.parametrize("share", [0.0, 0.6], ids=["empty", "truncated"])
def test_file_that_is_damaged_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"x{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
    if suffix == ".nc":
        xarray.Dataset({"images": (("n", "y", "x"), noise)}).to_netcdf(path)
    else:
        (np.savez if suffix == ".npz" else np.save)(path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(mosaic.DataError, match=rf"x\{suffix}'"):
        file(path)


def test_file_never_unpickles(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(mosaic.DataError, match=r"x\.npy'.*objects"):
        file(tmp_path / "x.npy")


def test_file_takes_one_colour_image_for_grey_ones_with_a_note(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((8, 8, 3), np.float32))
    dataset = file(tmp_path / "x.npy")
    assert dataset.images.shape == (8, 1, 8, 3)
    assert any("`dataset.layout=NHW`" in note for note in dataset.notes)
    assert file(tmp_path / "x.npy", layout="NHW").notes == ()


@pytest.mark.parametrize(("most", "fix"), [(0, "0,1"), (1, "0,1"), (15, "0,15"), (255, None)])
def test_file_notes_bytes_that_hardly_use_their_range(tmp_path: Path, most: int, fix: str | None) -> None:
    np.save(tmp_path / "x.npy", np.array([[[0, most]]], np.uint8))
    notes = file(tmp_path / "x.npy").notes
    assert [f"`dataset.range={fix}`" in note for note in notes] == ([] if fix is None else [True])
    assert file(tmp_path / "x.npy", range=(0, 255)).notes == ()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".nc"])
@pytest.mark.parametrize("seed", [0, 1])
def test_file_reads_of_a_subset_what_it_would_of_all(tmp_path: Path, suffix: str, seed: int) -> None:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (900, 40, 41), np.uint8), generator.integers(0, 5, 900)
    path = tmp_path / f"x{suffix}"
    if suffix == ".nc":
        xarray.Dataset({"images": (("n", "y", "x"), images), "labels": ("n", labels)}).to_netcdf(path)
    else:
        np.save(path, images) if suffix == ".npy" else np.savez_compressed(path, images=images, labels=labels)
    whole = file(path)
    for skip in (0, 30):
        chosen = mosaic.balanced_subset(900, 11, seed, whole.labels, skip)
        part = file(path, limit=11, limit_seed=seed, skip=skip)
        assert part.fingerprint() == whole.select(chosen).fingerprint()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".nc"])
def test_file_is_read_within_the_memory_allowed(tmp_path: Path, suffix: str) -> None:
    images, path = np.zeros((300, 100, 100), np.uint8), tmp_path / f"x{suffix}"
    if suffix == ".nc":
        xarray.Dataset({"images": (("n", "y", "x"), images)}).to_netcdf(path)
    else:
        np.save(path, images) if suffix == ".npy" else np.savez_compressed(path, images=images)
    allowed = mosaic.DataAccess(memory=5 * 2**20)
    (note,) = [each for each in ArrayFile(ArrayFile.Options(path=path), allowed).load().notes if "pieces" in each]
    assert "300 images of 1 x 100 x 100 would take 23 MiB" in note
    for limit in (50, None):  # in memory, and in pieces
        before = traced(lambda limit=limit: ArrayFile(ArrayFile.Options(path=path, limit=limit), allowed).load())
        assert before < 5 * 2**20


def traced(read: Callable[[], object]) -> int:
    """Peak of what numpy and Python allocate meanwhile."""
    tracemalloc.start()
    read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_file_that_inflates_to_more_than_there_is_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"shape": (100, 1024, 1024), "fortran_order": False, "descr": "|u1"}
        )
        for _ in range(100):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    source = ArrayFile(ArrayFile.Options(path=path), mosaic.DataAccess(memory=2**26))
    assert traced(source.load) < 2**26
    assert isinstance(source.load().images, mosaic.ImageSource)


@pytest.mark.parametrize("count", [10**6, 10**15])
def test_a_header_that_asks_for_more_than_the_file_has_is_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.npy"
    with path.open("wb") as stream:
        header = {"shape": (count, 8, 8), "fortran_order": False, "descr": "|u1"}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(6400))
    with pytest.raises(mosaic.DataError, match=rf"6400 bytes.*{64 * count}"):
        file(path, limit=10)


def test_file_takes_either_order_of_memory(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (30, 4, 5)).astype(np.float32)
    for name, options in (("c", {}), ("f", {"order": "F"})):
        stored = np.array(images, **options)
        np.save(tmp_path / f"{name}.npy", stored)
        np.savez(tmp_path / f"{name}.npz", images=stored)
        for suffix in ("npy", "npz"):
            read = file(tmp_path / f"{name}.{suffix}", limit=20).images[:, 0]
            np.testing.assert_array_equal(read, images[mosaic.balanced_subset(30, 20, 0)])


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"")
    with pytest.raises(mosaic.DataError, match=r"x\.mat'.*\.npz, \.npy, \.nc"):
        file(tmp_path / "x.mat")


def test_a_narrow_range_of_large_doubles_keeps_its_digits(tmp_path: Path) -> None:
    values = np.linspace(1e6, 1e6 + 1, 16).reshape(1, 4, 4)
    np.savez(tmp_path / "a.npz", images=values)
    source = mosaic.registry().get("dataset", "file")
    images = source(source.Options(path=tmp_path / "a.npz", range=(1e6, 1e6 + 1))).load().images
    np.testing.assert_allclose(images.numpy().ravel(), np.linspace(-1, 1, 16), atol=1e-6)
