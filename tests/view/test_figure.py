"""Figures: shown by notebooks, with texts that fit and ticks at whole numbers, whatever is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, drawn_texts
from PIL import Image

import mosaic
from mosaic.view.figure import IMAGE, Picture, count_along, fitted, grid, sides_of
from mosaic.view.plot import kinds_of

LONG = "a-very-long-name_" * 6 + "$x_1$ of it"


def made(shape: tuple[int, int, int], name: str, samples: int) -> tuple[dict[str, xr.Dataset], mosaic.DataSet]:
    """A run and comparisons of random images of this shape, of classes with long names."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(12, *shape, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1
    dataset = mosaic.DataSet(name, images, torch.arange(12) % 2, (f"dog {name}", f"cat {name}"))
    few = {"steps": 2, "scales": "3", "labels": "random"}
    run = mosaic.run("els", dataset, samples=samples, save="provenance,entropy", save_steps="all", **few)
    run.attrs["title"] = f"els on {name}: reverse flow"
    other = mosaic.run("ls", dataset, steps=2, scales="3", init=run)
    return {
        "run": run,
        "two": mosaic.compare(run, other, metrics="pearson_r"),
        "three": mosaic.compare(run, other, run, metrics="pearson_r", dataset=dataset),
    }, dataset


@pytest.mark.parametrize(
    ("shape", "name", "samples"), [((1, 8, 8), "a", 1), ((3, 4, 20), LONG, 2), ((1, 12, 4), "b", 17)]
)
def test_every_text_is_inside_and_on_no_other_and_no_image_is_tiny(
    shape: tuple[int, int, int], name: str, samples: int
) -> None:
    results, dataset = made(shape, name, samples)
    for result in results.values():
        for kind in kinds_of(result):
            draw: Callable[..., Picture] = getattr(result.mosaic.plot, kind)
            is_of_some = kind in ("flow", "provenance", "entropy")
            arguments = {"samples": list(range(min(samples, 2)))} if is_of_some else {}
            check_readable(draw(**arguments, **({"dataset": dataset} if kind == "provenance" else {})))


def test_ticks_of_what_is_counted_are_whole_numbers_of_what_there_is() -> None:
    for samples in (1, 3):
        results, _ = made((1, 6, 5), "a", samples)
        figure = results["run"].mosaic.plot.sources()
        shown = {text for text, _ in drawn_texts(figure)}
        axis = figure.axes[0]
        low, high = axis.get_xlim()
        ticks = [tick for tick in axis.get_xticks() if low <= tick <= high]
        assert set(ticks) <= set(range(samples))
        assert {str(n) for n in range(samples)} <= shown
    for places in (axis.get_yticks(), results["two"].mosaic.plot.agreement().axes[1].get_yticks()):
        np.testing.assert_array_equal(places, np.round(places))


@pytest.mark.parametrize("most", [0.4, 1, 3, 1000])
def test_counts_have_no_halves(most: float) -> None:
    axis = Picture(3, 2).subplots()
    axis.plot([0, most], [0, most])
    count_along(axis.xaxis, axis.yaxis)
    np.testing.assert_array_equal(axis.get_xticks(), np.round(axis.get_xticks()))


def test_a_notebook_shows_a_picture_once_as_png() -> None:
    figure = mosaic.run("is", "digits", samples=1, steps=2, save="none").mosaic.plot.images()
    with Image.open(io.BytesIO(figure._repr_png_())) as image:
        assert image.format == "PNG"
        assert image.size == tuple((figure.get_size_inches() * figure.dpi).astype(int))
    assert plt.get_fignums() == []  # pyplot's figures are shown by the notebook itself


def test_titles_take_the_lines_they_need() -> None:
    short, long = (Picture(3, 2, title) for title in ("mine", "mine " * 40))
    assert short.get_figheight() < long.get_figheight()
    assert long.get_suptitle().split() == ["mine"] * 40
    assert Picture(3, 2).get_size_inches().tolist() == [3, 2]


def test_texts_are_broken_at_blanks_or_cut() -> None:
    assert fitted("mine", 2, 9) == "mine"
    assert fitted("of one and another", 0.8, 9, 3) == "of one and\nanother"
    assert set(fitted("w" * 30, 1, 9, 9).replace("\n", "")) == {"w"}
    assert fitted("w" * 30, 1, 9).endswith("w…")
    assert fitted("a\nb", 1, 9, 2) == "a\nb"
    assert fitted("", 1, 9) == ""
    for width in (0.3, 0.7, 2.0):
        figure = Picture(4, 2)
        figure.text(0, 0, fitted(LONG, width, 9, 2), fontsize=9)
        ((_, box),) = drawn_texts(figure)
        assert box.width <= 1.05 * width * figure.dpi
    figure.text(0, 0.5, fitted("costs $1 and $2", 3, 9))
    assert figure.texts[1].get_text().replace("\\", "") == "costs $1 and $2"
    assert len(drawn_texts(figure)) == 2


def test_images_of_a_grid_have_the_size_and_the_shape_that_were_asked_for() -> None:
    for shape in ((8, 8), (28, 9), (6, 30)):
        figure, axes = grid(2, 3, shape, "mine", side=1.5, above=[10, 0], left=0.5)
        assert axes.shape == (2, 3)
        height, width = sides_of(shape, 1.5)
        assert max(height, width) >= 1.5 > IMAGE
        assert height / width == pytest.approx(shape[0] / shape[1])
        for axis in axes.flat:
            box = axis.get_window_extent()
            assert (box.height / figure.dpi, box.width / figure.dpi) == pytest.approx((height, width))
            assert len(axis.get_xticks()) == len(axis.get_yticks()) == 0
