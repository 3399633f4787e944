"""Runs: what they compute, that they repeat, and that they can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.config import layered
from mosaic.dataset import DataAccess
from mosaic.estimate import predict_seconds
from mosaic.plan import prepare

VARIABLES = ("state", "denoised", "image")


def same_bytes(one: xr.Dataset, other: xr.Dataset) -> bool:
    return all(one[name].values.tobytes() == other[name].values.tobytes() for name in VARIABLES)


def test_the_stored_run_follows_the_schema_and_opens_with_plain_xarray(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    mosaic.run(dataset=tiny, steps=5, samples=3, batch_size=2, labels=[0, 2, -1], out=tmp_path / "a.nc").close()
    with xr.open_dataset(tmp_path / "a.nc") as run:
        assert run["state"].dims == ("sample", "step", "channel", "height", "width")
        assert run["state"].shape == run["denoised"].shape == (3, 5, 1, 6, 5)
        assert run["image"].dims == ("sample", "channel", "height", "width")
        assert {run[name].dtype for name in VARIABLES} == {np.dtype("float32")}
        for name in ("time", "signal", "noise", "scale"):
            assert run[name].dims == ("step",)
        for name in ("seed", "label"):
            assert run[name].dims == ("sample",)
        assert run["time"].values.tolist() == [1.0, 0.8, 0.6, 0.4, 0.2]
        assert run["label"].values.tolist() == [0, 2, -1]
        assert all({"long_name", "units"} <= set(run[name].attrs) for name in run.variables)
        np.testing.assert_array_equal(run["image"], run["denoised"].isel(step=-1))
        assert run["state"].encoding["zlib"]
        assert run["state"].encoding["shuffle"]
        assert run["state"].encoding["chunksizes"] == (1, 5, 1, 6, 5)
        for name in ("created", "command_line", "plugins", "dataset_fingerprint", "torch_version", "device"):
            assert run.attrs[name]
        configuration = json.loads(run.attrs["configuration"])
        assert configuration["score_options"] == {"boundary": "zeros"}
        assert run.attrs["dataset_fingerprint"] == json.dumps(tiny.fingerprint)


def test_each_state_follows_from_the_one_before_by_the_ddim_rule(tiny: mosaic.DataSet) -> None:
    run = mosaic.run(dataset=tiny, steps=6, samples=2, dtype="float64")
    a, s = run["signal"], run["noise"]
    eps = (run["state"] - a * run["denoised"]) / s
    expected = (a.shift(step=-1) * run["denoised"] + s.shift(step=-1) * eps).isel(step=slice(0, -1))
    expected = expected.transpose(*run["state"].dims)
    np.testing.assert_allclose(run["state"].isel(step=slice(1, None)).values, expected.values, atol=2e-6)
    first = run["state"].isel(step=0) / s.isel(step=0)
    assert 0.5 < float(first.std()) < 1.5


@pytest.mark.parametrize("score", ["is", "es", "ls", "els"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_run_repeats_byte_for_byte(tiny: mosaic.DataSet, score: str, sampler: str) -> None:
    settings: dict[str, Any] = {"score": score, "dataset": tiny, "sampler": sampler, "steps": 4, "samples": 3}
    assert same_bytes(mosaic.run(**settings), mosaic.run(**settings))


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_batch_size_changes_no_noise_and_images_by_rounding_only(sampler: str) -> None:
    settings: dict[str, Any] = {"steps": 10, "samples": 8, "sampler": sampler, "labels": "random"}
    settings["dataset_options"] = {"limit": 300}
    runs = [mosaic.run(batch_size=size, **settings) for size in (1, 3, 8)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run["state"].isel(step=0), runs[0]["state"].isel(step=0))
        np.testing.assert_allclose(run["image"], runs[0]["image"], atol=1e-3)


def test_is_ends_on_training_images(tiny: mosaic.DataSet) -> None:
    run = mosaic.run(score="is", dataset=tiny, samples=8)
    images = torch.from_numpy(run["image"].values)
    distances = (images[:, None] - tiny.images[None]).flatten(2).norm(dim=2)
    assert float(distances.min(1).values.max()) < 1e-3
    assert len(set(distances.argmin(1).tolist())) > 1


def test_labels_restrict_the_candidates_to_the_class(tiny: mosaic.DataSet) -> None:
    assert tiny.labels is not None
    run = mosaic.run(score="is", dataset=tiny, samples=3, labels="0,1,2")
    for i in range(3):
        members = tiny.images[tiny.labels == i]
        distance = (torch.from_numpy(run["image"].values[i]) - members).flatten(1).norm(dim=1).min()
        assert float(distance) < 1e-3
    assert mosaic.run(dataset=tiny, samples=30, steps=1, labels="random")["label"].to_index().nunique() == 3


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


def test_init_takes_an_array_of_unit_noise(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 1, 6, 5))
    np.save(tmp_path / "noise.npy", noise)
    run = mosaic.run(dataset=tiny, steps=3, init=tmp_path / "noise.npy")
    np.testing.assert_allclose(run["state"].isel(step=0), noise * float(run["noise"][0]), atol=1e-6)
    assert run["seed"].values.tolist() == [-1, -1]


def test_a_callable_eps_and_a_score_model_object_need_no_plugin(tiny: mosaic.DataSet) -> None:
    times: list[float] = []

    def eps(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert t.shape == (len(x),)
        times.append(float(t[0]))
        angle = torch.pi / 2 / 1.008 * t[0]
        return (x - torch.cos(angle) * 0.25) / torch.sin(angle)  # every image is 0.25 everywhere

    run = mosaic.run(score=eps, dataset=tiny, steps=4, samples=2)
    np.testing.assert_allclose(run["image"], 0.25, atol=1e-4)
    assert times == [1.0, 0.75, 0.5, 0.25]
    els = mosaic.registry().get("score", "els")(None, tiny)
    assert same_bytes(mosaic.run(score=els, steps=3), mosaic.run(score="els", dataset=tiny, steps=3))


def test_float64_and_float32_runs_agree(tiny: mosaic.DataSet) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 10, "samples": 4}
    single, double = (mosaic.run(dtype=dtype, **settings) for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(single["state"].isel(step=0), double["state"].isel(step=0))
    np.testing.assert_allclose(single["image"], double["image"], atol=1e-3)


class Stop(Exception):
    """Stands for a kill between two steps."""


def test_a_run_stopped_anywhere_resumes_to_the_same_bytes(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3, "samples": 5, "batch_size": 2, "sampler": "ddpm"}
    whole = mosaic.run(**settings)
    calls = 0

    def stop_at_seven(batch: int, step: int, steps: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Stop

    with pytest.raises(Stop):
        mosaic.run(**settings, out=tmp_path / "a.nc", progress=stop_at_seven)
    parts = sorted((tmp_path / "a.nc.parts").glob("part-*.nc"))
    assert len(parts) == 2
    for part in parts:
        with xr.open_dataset(part) as stored:
            assert stored.sizes["sample"] == 2
    steps: list[tuple[int, int]] = []
    resumed = mosaic.run(
        **settings,
        out=tmp_path / "a.nc",
        resume=True,
        progress=lambda batch, step, _: steps.append((batch, step)),
    )
    assert steps == [(2, 1), (2, 2), (2, 3)]
    assert same_bytes(resumed, whole)
    resumed.close()
    assert not (tmp_path / "a.nc.parts").exists()
    with mosaic.run(**settings, out=tmp_path / "a.nc", resume=True) as again:  # all there: nothing is computed
        assert same_bytes(again, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 4}, {"score_options": {"boundary": "circular"}}])
def test_resume_refuses_another_configuration(tiny: mosaic.DataSet, tmp_path: Path, change: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3, "samples": 2}
    mosaic.run(**settings, out=tmp_path / "a.nc").close()
    with pytest.raises(mosaic.UsageError, match=next(iter(change))):
        mosaic.run(**(settings | change), out=tmp_path / "a.nc", resume=True)


def test_resume_refuses_other_data(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    mosaic.run(dataset=tiny, steps=2, samples=1, out=tmp_path / "a.nc").close()
    with pytest.raises(mosaic.UsageError, match="dataset_fingerprint"):
        mosaic.run(dataset=tiny.select(torch.arange(11)), steps=2, samples=1, out=tmp_path / "a.nc", resume=True)


def test_an_existing_run_is_kept_unless_overwrite_is_said(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 1, "out": tmp_path / "a.nc"}
    mosaic.run(**settings).close()
    before = (tmp_path / "a.nc").read_bytes()
    with pytest.raises(mosaic.UsageError, match="exists already"):
        mosaic.run(**settings, seed=5)
    assert (tmp_path / "a.nc").read_bytes() == before
    with mosaic.run(**settings, seed=5, overwrite=True) as run:
        assert json.loads(run.attrs["configuration"])["seed"] == 5


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(mosaic.DataError, match="no run"):
        mosaic.open(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(mosaic.DataError, match="not a readable netCDF"):
        mosaic.open(tmp_path / "text.nc")
    xr.Dataset({"a": ("x", [1])}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(mosaic.DataError, match="not a stored run"):
        mosaic.open(tmp_path / "other.nc")


def test_comparisons_count_pairs_of_windows_that_hang_over_alike() -> None:
    images = torch.zeros(3, 1, 6, 5)
    images[0] = 1
    data = mosaic.DataSet("d", images)
    for boundary, k in (("zeros", 3), ("zeros", 5), ("zeros", 11), ("circular", 3), ("valid", 3)):
        radius, pairs = k // 2, 0
        grid = [(i, j) for i in range(6) for j in range(5)]

        def hangs(i: int, j: int, r: int = radius) -> tuple[int, ...]:
            return max(0, r - i), max(0, i + r - 5), max(0, r - j), max(0, j + r - 4)

        for p in grid:
            for q in grid:
                inside = not any(hangs(*q))
                alike = hangs(*p) == hangs(*q)
                pairs += {"zeros": alike, "circular": True, "valid": inside}[boundary]
        model = mosaic.registry().get("score", "els").Options(boundary=boundary)
        assert mosaic.registry().get("score", "els")(model, data).comparisons(k) == 3 * pairs


def test_the_prediction_is_of_the_order_of_the_run(tiny: mosaic.DataSet) -> None:
    config = layered({"dataset": "digits", "steps": 4, "samples": 2, "score": "els"})
    seconds = predict_seconds(prepare(config, DataAccess()))
    assert seconds is not None
    assert 1e-4 < seconds < 60
    eps = prepare(config, DataAccess(), score=lambda x, t: x, dataset=tiny)
    assert predict_seconds(eps) is None
