"""Runs are selected from by time, and xarray draws their images the right way up."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure

import mosaic
from mosaic.storage.files import open_stored, write_netcdf
from mosaic.storage.indexes import evenly_spread, indexed
from mosaic.storage.schema import PLACES, TRAJECTORY_SCHEMA

FIRST = Path(__file__).parents[1] / "stored" / "first-schema.nc"


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=5, samples=2, scales="3", save_steps="all", out="a.nc")


def test_places_are_spread_from_the_first_to_the_last() -> None:
    for total in range(1, 30):
        for count in range(1, 40):
            chosen = evenly_spread(total, count)
            assert len(chosen) == min(total, count)
            assert chosen[0] == 0
            assert count == 1 or chosen[-1] == total - 1
            gaps = np.diff(chosen)
            assert (gaps >= 1).all()
            assert not len(gaps) or np.ptp(gaps) <= 2


@pytest.fixture
def colour() -> xr.Dataset:
    images = torch.rand(4, 3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
    return mosaic.run("is", mosaic.DataSet("colour", 2 * images - 1), steps=2, samples=2, save="none")


def drawn_rows(axis: mpl.axes.Axes) -> np.ndarray:
    """What is drawn in axes, as rows from the top of the picture down, each from left to right."""
    (image,) = axis.images
    left, right, bottom, top = image.get_extent()
    values = np.asarray(image.get_array())
    if image.origin == "lower":
        values = values[::-1]
    upwards, rightwards = axis.get_ylim()[1] > axis.get_ylim()[0], axis.get_xlim()[1] > axis.get_xlim()[0]
    values = values if (top > bottom) == upwards else values[::-1]
    return values if (right > left) == rightwards else values[:, ::-1]


def test_xarray_draws_images_the_right_way_up(run: xr.Dataset, colour: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    shown = colour.mosaic.to_images()
    assert np.ptp(shown.values) > 0.5
    for images, expected in (
        (run["image"].squeeze("channel"), run["image"].values[:, 0, ..., None]),
        (run["state"].isel(channel=0, step=-1), run["state"].values[:, -1, 0, ..., None]),
        (run["source_row"], run["source_row"].values[..., None]),
        (run.mosaic.collapse_time().fillna(0), run.mosaic.collapse_time().fillna(0).values[..., None]),
        (run.mosaic.to_images().squeeze("channel"), run.mosaic.to_images().values),
        (shown, shown.values),
    ):
        grid = images.plot.imshow(col="sample")
        for axis, image in zip(grid.axs.flat, expected, strict=True):
            actual = drawn_rows(axis).reshape(6, 5, -1)[..., : image.shape[-1]]  # xarray adds an alpha channel
            np.testing.assert_allclose(actual, image, atol=0.01)  # colours are drawn in bytes
        plt.close(grid.fig)
    axis = Figure().subplots()
    run["image"].isel(channel=0, sample=0).plot.imshow(ax=axis)
    np.testing.assert_allclose(drawn_rows(axis), run["image"].values[0, 0])


def test_a_run_is_selected_from_by_time(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    in_memory = mosaic.run("els", tiny, steps=5, samples=2, scales="3", save_steps="all")
    for each in (run, mosaic.open("a.nc"), in_memory):
        times = each["time"].values
        for t in (0.0, 0.29, 0.31, 0.5, 0.71, 1.0):
            chosen = each.sel(time=t, method="nearest")
            assert float(chosen["time"]) == min(times, key=lambda time, t=t: abs(time - t))
            assert chosen.identical(each.mosaic.at_time(t))
        assert each.sel(time=slice(0.8, 0.4))["step"].values.tolist() == [1, 2, 3]
        assert each.isel(step=[2]).sel(step=2)["time"].item() == times[2]
        assert {"time", "step"} <= set(each.xindexes)
        each.drop_indexes("time").to_netcdf("again.nc")
        assert xr.open_dataset("again.nc").equals(each.drop_indexes("time"))


def test_runs_of_other_times_are_combined_by_step_without_the_index_of_time(
    run: xr.Dataset, tiny: mosaic.DataSet
) -> None:
    other = mosaic.run("els", tiny, steps=3, samples=2, scales="3")
    with pytest.raises(ValueError, match="step"):
        run["state"] - other["state"]
    difference = run["state"].drop_indexes("time") - other["state"].drop_indexes("time")
    np.testing.assert_array_equal(difference, run["state"].values[:, :3] - other["state"].values)


def test_rows_and_columns_count_as_arrays_and_plots_do(run: xr.Dataset) -> None:
    with xr.open_dataset("a.nc") as stored:
        assert stored["row"].values.tolist() == list(range(6))
        assert stored["column"].values.tolist() == stored["width"].values.tolist() == list(range(5))
        assert stored["height"].values.tolist() == [5, 4, 3, 2, 1, 0]
        np.testing.assert_array_equal(stored["image"].sel(height=5, width=4), stored["image"][..., 0, 4])
    part = run.isel(height=slice(2, 4))
    assert part["row"].values.tolist() == [2, 3]
    assert part.mosaic.to_images()["row"].values.tolist() == [2, 3]


def test_files_without_places_get_them_when_they_are_opened_and_nothing_else_is_read() -> None:
    with xr.open_dataset(FIRST) as plain, mosaic.open(FIRST) as run:
        assert not set(PLACES) & set(plain.variables)
        for name in ("state", "denoised", "image"):
            assert not run[name].variable._in_memory
            np.testing.assert_array_equal(run[name], plain[name])
        assert run["height"].values.tolist() == list(range(8))[::-1]
        for name, variable in PLACES.items():
            assert run[name].attrs == {"long_name": variable.description, "units": variable.units}
    with open_stored(FIRST, (TRAJECTORY_SCHEMA,), "a run") as stored:
        assert indexed(stored) is stored


def test_a_finished_run_without_places_is_still_that_run(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    older = run.load().drop_vars([*PLACES])
    run.close()
    write_netcdf(older.drop_indexes("time"), Path("a.nc"))
    again = mosaic.run("els", tiny, steps=5, samples=2, scales="3", save_steps="all", out="a.nc", resume=True)
    assert again["image"].equals(run["image"])


def test_what_is_no_run_stays_as_it_is() -> None:
    other = xr.Dataset({"a": ("step", [1.0])}, {"time": ("step", [0.5])})
    assert indexed(other) is other
    odd = xr.Dataset({"image": ("x", [1.0])}, {"time": ("x", [0.5])}, {"schema": TRAJECTORY_SCHEMA})
    assert indexed(odd) is odd
