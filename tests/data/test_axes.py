"""Axes by their names, and by their shape where they have none."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import xarray

import mosaic
from mosaic_data.array_file import ArrayFile
from mosaic_data.axes import AXES, layout_of

HERE = Path("x.nc")


def stored(path: Path, dims: tuple[str, ...], pixels: np.ndarray, **options: str) -> mosaic.DataSet:
    xarray.Dataset({"images": (dims, pixels)}).to_netcdf(path)
    return ArrayFile(ArrayFile.Options.model_validate({"path": path, **options})).load()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_named_axes_are_read_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (7, 3, 4, 5)).astype(np.float32)
    names = [("sample", "channel", "height", "width")[axis] for axis in order]
    dataset = stored(tmp_path / "x.nc", tuple(names), images.transpose(order))
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.notes == ()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_grey_images_have_three_named_axes_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 3)).astype(np.float32)
    dataset = stored(tmp_path / "x.nc", tuple("nyx"[axis] for axis in order), images.transpose(order), layout="auto")
    np.testing.assert_array_equal(dataset.images[:, 0], images)
    assert dataset.notes == ()


def test_every_known_name_means_one_axis() -> None:
    names = [name for names in AXES.values() for name in names]
    assert len(names) == len(set(names))
    assert layout_of((2, 3, 4), ("Sample", "ROW", "Col"), "auto", HERE) == ("NHW", [])


@pytest.mark.parametrize(
    ("dims", "shape", "layout"),
    [
        (("height", "width", "dim_2"), (4, 5, 6), "HWN"),
        (("dim_0", "x", "y"), (6, 4, 5), "NWH"),
        (("sample", "y", "x", "dim_3"), (6, 4, 5, 3), "NHWC"),
        (("a", "b", "c_"), (6, 4, 5), "NHW"),
        (("dim_0", "dim_1", "dim_2", "channel"), (6, 4, 5, 3), "NHWC"),
    ],
)
def test_an_axis_without_a_known_name_is_the_one_that_is_lacking_else_the_shape_decides(
    dims: tuple[str, ...], shape: tuple[int, ...], layout: str
) -> None:
    assert layout_of(shape, dims, "auto", HERE)[0] == layout


@pytest.mark.parametrize(
    ("dims", "shape", "wanted"),
    [
        (("n", "y", "x", "c"), (6, 3, 5, 3), "NCHW"),  # names and setting disagree
        (("dim_0", "dim_1", "sample"), (6, 4, 5), "auto"),  # a name and the shape disagree
        (("dim_0", "channel", "dim_2", "dim_3"), (6, 4, 5, 3), "auto"),
        (("y", "x", "channel"), (4, 5, 3), "auto"),  # one colour image
        (("channel", "y", "dim_2"), (3, 4, 5), "auto"),
        (("n", "row", "y"), (6, 4, 5), "auto"),
        (("y", "x"), (4, 5), "auto"),
        (("sample", "time", "y", "x"), (6, 7, 4, 5), "auto"),  # seven channels that are none
        (("n", "c", "z", "y", "x"), (1, 1, 1, 1, 1), "auto"),
    ],
)
def test_names_that_contradict_are_refused_with_the_names(
    dims: tuple[str, ...], shape: tuple[int, ...], wanted: str
) -> None:
    with pytest.raises(mosaic.DataError, match=", ".join(dims)):
        layout_of(shape, dims, wanted, HERE)


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 9, 4), (3, 8, 9), (2, 30, 3), (4, 4, 3), (4, 20, 30)])
def test_what_looks_like_one_colour_image_is_noted(shape: tuple[int, ...]) -> None:
    layout, notes = layout_of(shape, (), "auto", HERE)
    assert layout == "NHW"
    assert len(notes) == 1
    assert str((1, *shape)) in notes[0]
    assert "`dataset.layout=NHW`" in notes[0]
    for wanted, other in (("NHW", shape), ("auto", (1, 9, 3)), ("auto", (6, 4, 5)), ("auto", (4, 28, 28))):
        assert layout_of(other, (), wanted, HERE)[1] == []


@pytest.mark.parametrize("shape", [(28, 28, 100), (32, 32, 10, 3)])
def test_what_looks_like_images_along_the_last_axis_is_noted(shape: tuple[int, ...]) -> None:
    layout, (note,) = layout_of(shape, (), "auto", HERE)
    assert f"{shape[2]} images of {shape[0]} x {shape[1]}" in note
    assert layout_of(shape, (), layout, HERE) == (layout, [])


def test_places_and_times_are_axes_and_unknown_names_are_noted() -> None:
    assert layout_of((4, 6, 5), ("lat", "lon", "time"), "auto", HERE) == ("HWN", [])
    layout, (note,) = layout_of((4, 6, 5), ("alpha", "beta", "gamma"), "auto", HERE)
    assert layout == "NHW"
    assert "alpha, beta, gamma" in note


def test_labels_are_along_the_axis_of_the_images(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 4, 5), np.uint8), np.arange(4)
    for dim, is_right in (("n", True), ("y", False), ("m", False)):
        file = tmp_path / f"{dim}.nc"
        xarray.Dataset({"images": (("n", "y", "x"), images), "labels": ((dim,), labels)}).to_netcdf(file)
        source = ArrayFile(ArrayFile.Options(path=file, range=(0, 255)))
        if is_right:
            assert source.load().labels is not None
        else:
            with pytest.raises(mosaic.DataError, match=rf"'labels'.*\b{dim}\b.*\bn\b"):
                source.load()
