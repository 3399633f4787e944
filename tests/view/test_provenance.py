"""Pictures of what runs are made of: tiles by source image, effective candidates, and counts of sources."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.view.colours import PALETTE, tile_colours
from mosaic.view.provenance import draw_entropy, draw_provenance, draw_sources, effective_candidates


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=3, scales="3", save="provenance,entropy", save_steps="all")


def test_what_is_drawn_is_what_the_run_holds(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=4, samples=3, scales="3", save="provenance,n_eff", save_steps="all")
    curve = draw_entropy(run, [0, 1]).subfigs[1].axes[0].lines[0]
    expected = run["n_eff"].isel(sample=[0, 1]).median(["sample", "height", "width"])
    np.testing.assert_allclose(curve.get_ydata(), expected)
    np.testing.assert_allclose(curve.get_xdata(), run["time"])
    bars = [bar.get_height() for bar in draw_sources(run).axes[0].patches]
    assert bars == run.mosaic.sources()["images"].values.ravel().tolist()


def test_a_sample_is_drawn_beside_its_tiles_and_sources(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    figure = draw_provenance(run, [2, 0], tiny)
    axes = np.array(figure.axes).reshape(2, -1)
    for row, sample in enumerate((2, 0)):
        source = run.isel(sample=sample)
        image, tiles, *beside = axes[row]
        expected = ((source["image"].values[0] + 1) / 2).clip(0, 1)
        np.testing.assert_allclose(image.images[0].get_array(), expected, atol=1e-7)
        colours, chosen = tile_colours(source["source_image"].values, source["multiplicity"].values)
        np.testing.assert_allclose(tiles.images[0].get_array(), colours)
        for axis, name, colour in zip(beside, chosen, PALETTE, strict=False):
            np.testing.assert_allclose(axis.images[0].get_array(), (tiny.images[name, 0] + 1) / 2, atol=1e-7)
            used = (source["source_image"].values == name) & (source["multiplicity"].values <= 1)
            (marks,) = axis.lines
            places = {(row, column) for column, row in np.asarray(marks.get_xydata(), int).tolist()}
            assert places == {
                (int(source["source_row"][i, j]), int(source["source_column"][i, j]))
                for i, j in zip(*np.nonzero(used), strict=True)
            }
            assert marks.get_color() == colour
            assert axis.get_title() == f"image {name}\npixels: {used.sum()}"
        assert all(not axis.images for axis in beside[len(chosen) :])


def test_effective_candidates_are_kept_or_follow_from_the_entropy(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    np.testing.assert_allclose(effective_candidates(run), np.exp(run["entropy"].values), rtol=1e-6)
    kept = run.rename(entropy="n_eff")
    assert effective_candidates(kept).identical(kept["n_eff"])
    for lacking in (run.drop_vars("entropy"), run.assign(entropy=run["entropy"].where(run["step"] > 0))):
        with pytest.raises(mosaic.DataError, match="`save` entropy"):
            draw_entropy(lacking, [0])


def test_maps_of_effective_candidates_are_those_of_the_sample_at_the_times_above_them(run: xr.Dataset) -> None:
    figure = draw_entropy(run, [1], columns=2)
    maps = figure.subfigs[0].axes[:2]
    assert [axis.get_title() for axis in maps] == ["t = 1.00", "t = 0.25"]
    for axis, step in zip(maps, (0, 3), strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), np.exp(run["entropy"].values[1, step]), rtol=1e-6)
    with pytest.raises(mosaic.UsageError, match=r"\b3\b.*\b2\b"):
        draw_entropy(run, [3])


def test_shares_of_pixels_in_large_tiles_fall_from_all_to_the_largest_tiles_share(run: xr.Dataset) -> None:
    right = draw_sources(run).axes[1]
    sizes = np.sort(run.mosaic.sources()["tile_size"].sel(pixels="all").values.ravel())
    sizes = sizes[sizes > 0]
    curve = right.lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), sizes)
    expected = [sizes[place:].sum() / sizes.sum() for place in range(len(sizes))]
    np.testing.assert_allclose(curve.get_ydata(), expected)
    with pytest.raises(mosaic.DataError, match="`save` provenance"):
        draw_sources(run.drop_vars("source_image"))
