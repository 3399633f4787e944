"""The picture of a mosaic: its tiles, and the training images beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, pixels_of
from flooding import flooded
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import PathPatch

import mosaic
from mosaic.view.colours import PALETTE, chosen_sources
from mosaic.view.mosaics import tiles_of
from mosaic.view.provenance import FILL, MOST_SAMPLES, draw_provenance, edges_of


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=3, scales="3", labels=[0, -1, 2])


def cells(edges: np.ndarray) -> set[tuple[tuple[float, float], ...]]:
    return {tuple(sorted(map(tuple, side))) for side in edges.tolist()}


def test_the_images_that_most_pixels_without_equals_come_from_are_chosen() -> None:
    image = np.array([[7, 7, 3], [3, 7, 9], [1, 2, 9]])
    multiplicity = np.array([[1, 1, 0], [1, 1, 5], [1, 1, 1]])
    chosen = chosen_sources(image, multiplicity)
    assert [name for name, _ in chosen] == [7, 3, 1, 2, 9]
    for name, used in chosen:
        np.testing.assert_array_equal(used, (image == name) & (multiplicity <= 1))
    assert [name for name, _ in chosen_sources(np.arange(9).reshape(3, 3), np.ones((3, 3)))] == list(range(6))
    assert chosen_sources(image, np.full((3, 3), 2)) == []


def test_edges_are_where_tiles_end() -> None:
    tiles = np.array([[0, 0, 1], [-1, -1, 1]])
    expected = set()
    for (row, column), tile in np.ndenumerate(tiles):
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            beside = row + down, column + right
            inside = 0 <= beside[0] < 2 and 0 <= beside[1] < 3
            if not inside or tiles[beside] != tile:
                y, x = row + down / 2, column + right / 2
                ends = [(x - abs(down) / 2, y - abs(right) / 2), (x + abs(down) / 2, y + abs(right) / 2)]
                expected.add(tuple(ends))
    assert cells(edges_of(tiles)) == expected
    used = tiles == 1
    assert cells(edges_of(np.where(used, 0, -1), used)) == {
        ((1.5, -0.5), (1.5, 0.5)), ((1.5, -0.5), (2.5, -0.5)), ((2.5, -0.5), (2.5, 0.5)),
        ((1.5, 0.5), (1.5, 1.5)), ((1.5, 1.5), (2.5, 1.5)), ((2.5, 0.5), (2.5, 1.5)),
    }  # fmt: skip


def test_a_sample_is_drawn_beside_its_tiles_and_its_sources(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    figure = draw_provenance(run, [2, 0], tiny)
    axes = np.array(figure.axes).reshape(2, 8)
    for row, sample in enumerate((2, 0)):
        one = run.isel(sample=sample)
        image, i, j, multiplicity = (
            one[name].values for name in ("source_image", "source_row", "source_column", "multiplicity")
        )
        whole, mosaic_of, *beside = axes[row]
        grey = ((one["image"].values[0] + 1) / 2).clip(0, 1)
        np.testing.assert_allclose(pixels_of(whole), grey, atol=1e-7)
        assert whole.get_title() == f"sample {sample}\n{'ac'[sample == 2]}"
        faded, tied = np.repeat(0.7 + 0.3 * grey[..., None], 3, -1), multiplicity > 1
        chosen = chosen_sources(image, multiplicity)
        for (_, used), colour in zip(chosen, PALETTE, strict=False):
            faded[used] = (1 - FILL) * faded[used] + FILL * np.array(to_rgb(colour))
        np.testing.assert_allclose(pixels_of(mosaic_of), faded, atol=1e-6)
        masked = np.where(tied, -1, image)
        sizes = flooded(masked, i, j)
        assert mosaic_of.get_title() == f"{len(sizes)} tiles\n{100 * tied.mean():.0f} % of pixels tied"
        (lines,) = (each for each in mosaic_of.collections if isinstance(each, LineCollection))
        assert cells(np.array(lines.get_segments())) == cells(edges_of(tiles_of(masked, i, j)))
        hatched = [patch for patch in mosaic_of.patches if isinstance(patch, PathPatch)]
        assert len(hatched) == tied.any()
        for patch in hatched:
            assert patch.get_hatch()
            inside = {place for place in np.ndindex(6, 5) if patch.get_path().contains_point(place[::-1])}
            assert inside == {tuple(place) for place in np.argwhere(tied).tolist()}
        for axis, (name, used), colour in zip(beside, chosen, PALETTE, strict=False):
            np.testing.assert_allclose(pixels_of(axis), (tiny.images[name, 0] + 1) / 2, atol=1e-7)
            assert axis.get_title() == f"#{name}\n{100 * used.sum() / 30:.1f} %"
            (lines,) = axis.collections
            assert to_hex(lines.get_color()[0]) == colour
            taken = np.zeros((6, 5), bool)
            taken[i[used], j[used]] = True
            assert cells(np.array(lines.get_segments())) == cells(edges_of(np.where(taken, 0, -1), taken))
        assert all(not axis.images for axis in beside[len(chosen) :])


def test_a_sample_that_is_tied_everywhere_has_no_sources(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    figure = draw_provenance(run.assign(multiplicity=run["multiplicity"] * 0 + 2), [0], tiny)
    assert [len(axis.images) for axis in figure.axes] == [1, 1, *[0] * 6]
    assert "0 tiles\n100 %" in figure.axes[1].get_title()


def test_images_in_colour_are_drawn_in_colour_and_their_mosaic_in_grey() -> None:
    images = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
    dataset = mosaic.DataSet("colour", 2 * images - 1)
    run = mosaic.run("els", dataset, steps=2, samples=1, scales="3")
    figure = draw_provenance(run, [0], dataset)
    check_readable(figure)
    shown = np.moveaxis((run["image"].values[0] + 1) / 2, 0, -1).clip(0, 1)
    np.testing.assert_allclose(pixels_of(figure.axes[0]), shown, atol=1e-6)
    image, multiplicity = run["source_image"].values[0], run["multiplicity"].values[0]
    others = ~np.any([used for _, used in chosen_sources(image, multiplicity)], 0)
    assert (np.ptp(pixels_of(figure.axes[1])[others], -1) < 1e-6).all()


def test_too_many_samples_are_refused(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=f"{MOST_SAMPLES + 1}.*{MOST_SAMPLES}"):
        draw_provenance(run, [0] * (MOST_SAMPLES + 1), tiny)


def test_sources_go_by_their_names(tiny: mosaic.DataSet) -> None:
    named = replace(tiny, names=tuple(f"a/${number}$.png" for number in range(len(tiny))))
    run = mosaic.run("els", named, steps=2, samples=1, scales="3")
    figure = draw_provenance(run, [0], named)
    titles = [axis.get_title().split("\n")[0].replace("\\$", "$") for axis in figure.axes[2:] if axis.images]
    one = run.isel(sample=0)
    chosen = chosen_sources(one["source_image"].values, one["multiplicity"].values)
    assert titles == [f"a/${number}$.png" for number, _ in chosen]
    check_readable(figure)
