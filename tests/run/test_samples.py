"""The samples of a run: the noise they start from, their seeds and labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic

VARIABLES = ("state", "denoised", "image")


def same_bytes(actual: xr.Dataset, expected: xr.Dataset) -> bool:
    return all(actual[name].values.tobytes() == expected[name].values.tobytes() for name in VARIABLES)


def test_init_starts_from_the_noise_and_labels_of_another_run_whatever_its_schedule(
    tiny: mosaic.DataSet, tmp_path: Path
) -> None:
    first = mosaic.run(dataset=tiny, samples=3, steps=4, seed=9, schedule="edm", labels="0,2,1", out=tmp_path / "a.nc")
    second = mosaic.run(score="ls", dataset=tiny, steps=7, init=tmp_path / "a.nc", schedule="linear")
    unit = [run["state"].isel(step=0) / float(run["noise"][0]) for run in (first, second)]
    np.testing.assert_allclose(unit[0], unit[1], atol=1e-6)
    np.testing.assert_array_equal(first["label"], second["label"])
    np.testing.assert_array_equal(first["seed"], second["seed"])
    again = mosaic.run(dataset=tiny, samples=3, steps=4, schedule="edm", init=tmp_path / "a.nc")
    assert same_bytes(again, first)
    first.close()


def test_init_takes_runs_arrays_and_tensors(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    first = mosaic.run("is", tiny, steps=2, samples=3, labels="random", dtype="float64", out=tmp_path / "a.nc")
    settings: dict[str, Any] = {"score": "ls", "dataset": tiny, "steps": 2, "scales": "3", "dtype": "float64"}
    expected = mosaic.run(**settings, init=tmp_path / "a.nc")
    assert same_bytes(mosaic.run(**settings, init=first), expected)
    assert same_bytes(mosaic.run(**settings, init=first.isel(sample=[1])), expected.isel(sample=[1]))
    noise = first["state"].isel(step=0).values / float(first["noise"][0])
    labels = first["label"].values.tolist()
    for array in (noise, torch.from_numpy(noise), torch.from_numpy(noise).requires_grad_()):
        assert same_bytes(mosaic.run(**settings, init=array, labels=labels), expected)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_init_without_seeds_is_like_an_array(tiny: mosaic.DataSet, sampler: str) -> None:
    first = mosaic.run("is", tiny, steps=3, samples=2, dtype="float64")
    noise = first["state"].isel(step=0).values / float(first["noise"][0])
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "steps": 3, "sampler": sampler, "dtype": "float64"}
    run = mosaic.run(**settings, init=first.drop_vars("seed"))
    assert run["seed"].values.tolist() == [-1, -1]
    assert same_bytes(run, mosaic.run(**settings, init=noise))


def test_a_run_from_an_array_resumes_from_the_same_array_only(tiny: mosaic.DataSet) -> None:
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "steps": 1, "out": "a.nc"}
    noise = torch.randn(2, *tiny.shape, generator=torch.Generator().manual_seed(0))
    mosaic.run(**settings, init=noise).close()
    mosaic.run(**settings, init=noise.numpy(), resume=True).close()
    with pytest.raises(mosaic.UsageError, match="init_fingerprint"):
        mosaic.run(**settings, init=-noise, resume=True)


@pytest.mark.parametrize("init", [torch.zeros(2, 2), np.zeros((1, 1, 6, 5), int), np.full((1, 1, 6, 5), np.nan), 3, []])
def test_an_init_of_another_kind_is_refused(tiny: mosaic.DataSet, init: Any) -> None:
    with pytest.raises(mosaic.UsageError, match="`init`"):
        mosaic.run("is", tiny, steps=1, init=init)


def test_init_takes_an_array_of_unit_noise(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 1, 6, 5))
    np.save(tmp_path / "noise.npy", noise)
    run = mosaic.run(dataset=tiny, steps=3, init=tmp_path / "noise.npy")
    np.testing.assert_allclose(run["state"].isel(step=0), noise * float(run["noise"][0]), atol=1e-6)
    assert run["seed"].values.tolist() == [-1, -1]


def test_ancestral_noise_follows_the_seeds_of_the_samples(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3, "sampler": "ddpm"}
    with mosaic.run(**settings, seed=4, samples=2, labels="0,1", out=tmp_path / "a.nc") as first:
        with pytest.raises(mosaic.UsageError, match="`seed`"):
            mosaic.run(**settings, seed=5, init=tmp_path / "a.nc")
        again = mosaic.run(**settings, init=tmp_path / "a.nc")
        assert same_bytes(first, again)
        assert again["label"].values.tolist() == [0, 1]
        free = mosaic.run(**settings, init=tmp_path / "a.nc", labels="none")
        assert free["label"].values.tolist() == [-1, -1]


def test_a_stored_run_is_noise_by_its_names_only(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3}
    mosaic.run(**settings, samples=2, out=tmp_path / "a.nc").close()
    with xr.open_dataset("a.nc") as whole:
        whole.load()
    whole.transpose("width", "step", "channel", "sample", "height").to_netcdf("turned.nc")
    whole.isel(step=slice(None, None, -1)).to_netcdf("reversed.nc")
    whole.isel(sample=1).to_netcdf("single.nc")
    expected = mosaic.run(**settings, init="a.nc")
    for name in ("turned.nc", "reversed.nc"):
        assert same_bytes(mosaic.run(**settings, init=name), expected)
    single = mosaic.run(**settings, init="single.nc")
    np.testing.assert_array_equal(single["state"][:, 0], expected["state"][1:, 0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: run.isel(step=slice(1, None)),
        lambda run: run.isel(step=2),
        lambda run: run.assign_coords(time=("step", [1.5, 0.25, 0.125])),
        lambda run: run.assign_coords(noise=("step", [0.0, 0.25, 0.125])),
        lambda run: run.rename(height="rows"),
    ],
)
def test_a_stored_run_that_does_not_hold_its_noise_is_refused(
    tiny: mosaic.DataSet, damage: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    mosaic.run(dataset=tiny, steps=3, samples=2, out="a.nc").close()
    with xr.open_dataset("a.nc") as whole:
        damage(whole.load()).to_netcdf("b.nc")
    with pytest.raises(mosaic.UsageError, match=r"`init`.*'b\.nc'"):
        mosaic.run(dataset=tiny, steps=3, init="b.nc")


@pytest.mark.parametrize("name", ["time", "noise", "label"])
def test_a_run_that_lacks_a_coordinate_is_no_init(tiny: mosaic.DataSet, tmp_path: Path, name: str) -> None:
    mosaic.run("is", tiny, steps=2, samples=2).drop_vars(name).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(mosaic.UsageError, match=rf"a\.nc'.*\b{name}\b"):
        mosaic.run("is", tiny, steps=2, init=tmp_path / "a.nc")


def test_arrays_of_noise_in_any_order_of_bytes_are_read_and_empty_ones_refused(
    tiny: mosaic.DataSet, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 1, 6, 5)).astype(np.float32)
    images = []
    for order in "<>":
        np.save(tmp_path / "a.npy", noise.astype(noise.dtype.newbyteorder(order)))
        images.append(mosaic.run("is", tiny, steps=2, init=tmp_path / "a.npy")["image"].values)
    np.testing.assert_array_equal(*images)
    np.save(tmp_path / "a.npy", noise[:0])
    with pytest.raises(mosaic.UsageError, match=r"\(0, 1, 6, 5\)"):
        mosaic.run("is", tiny, steps=2, init=tmp_path / "a.npy")


def test_a_seed_beside_init_is_refused_where_nothing_depends_on_it(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((2, 1, 6, 5)))
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "steps": 3, "init": tmp_path / "a.npy"}
    with pytest.raises(mosaic.UsageError, match=r"`seed`.*`init`"):
        mosaic.run(**settings, seed=5)
    mosaic.run(**settings, seed=0)  # as it is by default
    for used in ({"labels": "random"}, {"sampler": "ddpm"}):
        runs = [mosaic.run(**settings, **used, seed=seed) for seed in (5, 6)]
        assert not same_bytes(*runs)


@pytest.mark.parametrize("largest", [np.nan, np.inf, 1e300, np.longdouble("1e4000")])
def test_noise_that_overflows_is_refused(tiny: mosaic.DataSet, tmp_path: Path, largest: float) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 1, 6, 5)).astype(np.longdouble)
    np.save(tmp_path / "a.npy", noise)
    wanted = mosaic.run("is", tiny, steps=1, init=tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", noise.astype(np.float64))
    assert wanted["image"].equals(mosaic.run("is", tiny, steps=1, init=tmp_path / "b.npy")["image"])
    noise[1, 0, 2, 3] = largest
    np.save(tmp_path / "a.npy", noise)
    with pytest.raises(mosaic.UsageError, match=r"a\.npy"):
        mosaic.run("is", tiny, steps=1, init=tmp_path / "a.npy")


def test_labels_of_init_that_are_other_classes_here_are_refused(tiny: mosaic.DataSet) -> None:
    first = mosaic.run("is", tiny, steps=1, samples=2, labels="1,2")
    other = mosaic.DataSet("other", tiny.images, tiny.labels, classes=("b", "c", "a"))
    with pytest.raises(mosaic.UsageError, match=r"'b'.*'c'.*`labels`"):
        mosaic.run("is", other, steps=1, init=first)
    assert mosaic.run("is", other, steps=1, init=first, labels=[0, 1])["label"].values.tolist() == [0, 1]
    assert mosaic.run("is", tiny, steps=1, init=first)["label"].values.tolist() == [1, 2]


@pytest.mark.parametrize("factor", [0.0, 0.3, 80.0])
def test_noise_that_is_not_standard_normal_is_noted(tiny: mosaic.DataSet, factor: float) -> None:
    noise = torch.randn(4, *tiny.shape, generator=torch.Generator().manual_seed(0))
    mosaic.run("is", tiny, steps=1, init=noise)
    with pytest.warns(mosaic.MosaicWarning, match="standard deviation"):
        mosaic.run("is", tiny, steps=1, init=factor * noise)
