"""Grids of images: which, where, in which grey levels, and how they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import mosaic
from mosaic.storage.requirements import check_samples
from mosaic.view.figure import Picture
from mosaic.view.images import draw_flow, draw_image, draw_images, save_figure


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=3, scales="3", labels=[2, -1, 0], save="none")


def test_an_image_is_clamped_to_the_range_of_its_data(run: xr.Dataset) -> None:
    axes = Picture(2, 1).subplots(1, 2)
    values = np.array([[[-1.0, 0.0, 1.0], [-9.0, 0.5, 9.0]]])
    for axis, array in zip(axes.flat, (values, values.repeat(3, 0)), strict=True):
        draw_image(axis, xr.DataArray(array, dims=("channel", "height", "width")), run)
    grey, colour = (np.asarray(axis.images[0].get_array()) for axis in axes.flat)
    assert grey.tolist() == [[0, 0.5, 1], [0, 0.75, 1]]
    assert colour.shape == (2, 3, 3)
    np.testing.assert_array_equal(colour[..., 1], grey)


def test_final_images_are_drawn_with_their_classes(run: xr.Dataset) -> None:
    figure = draw_images(run)
    assert [axis.get_title() for axis in figure.axes] == ["c", "", "a"]
    for axis, image in zip(figure.axes, run["image"].values[:, 0], strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), ((image + 1) / 2).clip(0, 1), atol=1e-7)
    assert figure.get_suptitle() == "els on tiny"
    assert [len(axis.images) for axis in draw_images(run, limit=2).axes] == [1, 1]
    assert draw_images(run, limit=2).get_suptitle() == "els on tiny, the first 2 of 3 samples"


def test_more_than_eight_images_continue_in_the_next_row(run: xr.Dataset) -> None:
    many = xr.concat([run] * 3, "sample", data_vars="minimal", coords="minimal")
    figure = draw_images(many)
    assert [len(axis.images) for axis in figure.axes] == [1] * 9 + [0] * 7
    first, last, next_row = (figure.axes[n].get_position() for n in (0, 7, 8))
    assert first.y0 == last.y0 > next_row.y1
    assert next_row.x0 == first.x0 < last.x0


def test_a_flow_has_states_above_denoised_images_with_first_and_last_step(run: xr.Dataset) -> None:
    figure = draw_flow(run, [2, 1], columns=3)
    axes = np.array(figure.axes).reshape(4, 3)
    for row, (sample, name) in enumerate([(2, "state"), (2, "denoised"), (1, "state"), (1, "denoised")]):
        for column, step in enumerate((0, 2, 3)):
            expected = ((run[name].values[sample, step, 0] + 1) / 2).clip(0, 1)
            np.testing.assert_allclose(axes[row, column].images[0].get_array(), expected, atol=1e-7)
    assert [axis.get_title() for axis in axes[0]] == ["t = 1.00\nk = 3", "t = 0.50\nk = 3", "t = 0.25\nk = 3"]
    assert axes[0, 0].get_ylabel().startswith("sample 2 a\n")
    assert len(draw_flow(run, [0], columns=10).axes) == 2 * 4


@pytest.mark.parametrize("samples", [[3], [0, -1]])
def test_a_sample_that_is_not_in_the_run_is_refused(run: xr.Dataset, samples: list[int]) -> None:
    check_samples(run, [0, 1, 2])
    with pytest.raises(mosaic.UsageError, match=rf"{samples[-1]}\b.*\b2\b"):
        draw_flow(run, samples)


def test_a_figure_is_written_in_the_format_of_its_name(run: xr.Dataset, tmp_path: Path) -> None:
    figure = draw_images(run)
    for name in ("a.png", "b.PNG", "c.pdf"):
        save_figure(figure, tmp_path / name)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == tuple((figure.get_size_inches() * figure.dpi).astype(int))
        pixels = np.asarray(picture.convert("L"))
        assert pixels.max() == 255
        assert pixels.min() < 100
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.PNG", "c.pdf"]
    with pytest.raises(mosaic.UsageError, match="nowhere"):
        save_figure(figure, tmp_path / "nowhere" / "a.png")


def test_scales_that_are_no_window_sizes_are_written_to_three_digits(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("soft-els", tiny, steps=3, samples=1, scales="0.75,2,4.5678")
    titles = [axis.get_title() for axis in draw_flow(run, [0], columns=3).axes[:3]]
    assert titles == ["t = 1.00\nk = 4.57", "t = 0.67\nk = 2", "t = 0.33\nk = 0.75"]
