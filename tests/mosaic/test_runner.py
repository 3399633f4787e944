"""Runs: what they compute, that they repeat, and that they can be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess
from mosaic.entry import core_digest
from mosaic.estimate import _arithmetic, predict_seconds
from mosaic.origin import is_of_other_code
from mosaic.plan import Plan, prepare
from mosaic.sampler import reverse_levels

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
        assert configuration["score_options"] == {"boundary": "zeros", "engine": "auto"}
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


def test_a_network_multiplies_in_full_float32(tiny: mosaic.DataSet) -> None:
    """CUDA's default for convolutions is less; what a user's own code multiplies in is left as it was."""
    backends, seen = torch.backends, []

    def eps(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32))
        return x

    before = backends.cudnn.allow_tf32
    mosaic.run(score=eps, dataset=tiny, steps=2, samples=1)
    assert set(seen) == {(False, False)}
    assert backends.cudnn.allow_tf32 == before


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
    assert (single["state"].dtype, double["state"].dtype) == (np.float32, np.float64)
    start = double["state"].isel(step=0)
    np.testing.assert_array_equal(single["state"].isel(step=0), start.astype(np.float32))
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


def test_a_run_that_other_code_began_tells_both(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "samples": 4, "steps": 2, "batch_size": 2}

    def stop(batch: int, done: int, steps: int) -> None:
        if batch == 1:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr("mosaic.store.core_digest", lambda: "another")
        with pytest.raises(Stop):
            mosaic.run(**settings, out=tmp_path / "a.nc", progress=stop)
    mosaic.run(**settings, out=tmp_path / "a.nc", resume=True).close()
    mosaic.run(**settings, out=tmp_path / "b.nc").close()
    assert is_of_other_code(tmp_path / "a.nc")
    assert not is_of_other_code(tmp_path / "b.nc")
    with mosaic.open(tmp_path / "a.nc") as run:
        assert sorted(run.attrs["code"].split()) == sorted([core_digest(), "another"])
    assert mosaic.run(**settings).attrs["code"] == core_digest()


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
    with pytest.raises(mosaic.DataError, match="There is no file"):
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


def test_the_prediction_adds_up_the_time_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config = layered(
        RunConfig, {"steps": 5, "samples": 12, "batch_size": 3, "scales": "3,3,5,5,7", "dataset": "digits"}
    )
    plan = prepare(config, DataAccess())
    asked = []

    def seconds(plan: Plan, index: int, count: int) -> float:
        asked.append(count)
        return 0.5 + count * plan.scales[index] * 1e-3  # an overhead, and time in proportion to the images

    monkeypatch.setattr("mosaic.estimate._seconds", seconds)
    expected = sum(0.5 + 1797 * k * 1e-3 for k in plan.scales) * 12 / 3
    for long_enough in (1e9, 1e-9):  # timed on the whole set; extrapolated from subsets
        asked.clear()
        monkeypatch.setattr("mosaic.estimate.LONG_ENOUGH", long_enough)
        assert predict_seconds(plan) == pytest.approx(expected)
        assert (max(asked) == 1797) == (long_enough == 1e9)


def test_steps_whose_arithmetic_differs_are_timed_apart() -> None:
    config = layered(RunConfig, {"score": "is", "samples": 1, "dataset": "digits", "dataset_options": {"limit": 50}})
    assert len({_arithmetic(plan, i) for plan in [prepare(config, DataAccess())] for i in range(20)}) == 2


def test_no_time_is_predicted_for_a_callable(tiny: mosaic.DataSet) -> None:
    plan = prepare(layered(RunConfig, {"steps": 2}), DataAccess(), score=lambda x, t: x, dataset=tiny)
    assert predict_seconds(plan) is None


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_in_any_phase_of_storing_leaves_a_run_that_resumes(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1}
    whole, out, moment, kills = mosaic.run(**settings), tmp_path / "a.nc", 0, 0
    while True:
        moment += 1
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if overwrite:  # a finished run and an unfinished one of other settings are in the place
            mosaic.run(**{**settings, "seed": 1}, out=out).close()
            (tmp_path / "a.nc.parts").mkdir()
            (tmp_path / "a.nc.parts" / "part-00000.nc").write_bytes(b"of another run")
        with monkeypatch.context() as patched:
            calls = kill_at(moment, patched)
            try:
                mosaic.run(**settings, out=out, overwrite=overwrite).close()
            except Killed:
                kills += 1
        began = (tmp_path / "a.nc.parts" / "identity.json").exists()
        if overwrite and not began and not finished_with(out, 0):
            with pytest.raises(mosaic.UsageError, match="seed: 1, now 0"):  # still the old run's place
                mosaic.run(**settings, out=out, resume=True)
        else:
            with mosaic.run(**settings, out=out, resume=True) as resumed:
                assert same_bytes(resumed, whole)
            assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
        if len(calls) < moment:
            break
    assert kills >= 6


def finished_with(path: Path, seed: int) -> bool:
    if not path.exists():
        return False
    with mosaic.open(path) as run:
        return bool(json.loads(run.attrs["configuration"])["seed"] == seed)


def kill_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Raise `Killed` before the moment-th move, removal or making of a folder; give the calls made."""
    calls: list[str] = []

    def guarded(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if "a.nc" in str(args[0]) and not str(args[0]).endswith(".tmp.tmp"):
                calls.append(name)
                if len(calls) == moment:
                    raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    guarded(Path, "replace")
    guarded(Path, "mkdir")
    guarded(shutil, "rmtree")
    return calls


def test_parts_without_identity_are_not_taken_for_ones_own(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1}
    with pytest.raises(Killed):
        mosaic.run(**settings, seed=1, out=tmp_path / "a.nc", progress=killing_after(4))
    (tmp_path / "a.nc.parts" / "identity.json").unlink()
    with mosaic.run(**settings, out=tmp_path / "a.nc", resume=True) as resumed:
        assert same_bytes(resumed, mosaic.run(**settings))


def killing_after(steps: int) -> Any:
    left = iter(range(steps))

    def progress(*_: int) -> None:
        if next(left, None) is None:
            raise Killed

    return progress


def test_objects_that_cannot_be_told_apart_cannot_be_resumed(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with pytest.raises(mosaic.UsageError, match="cannot be resumed"):
        mosaic.run(score=lambda x, t: x, dataset=tiny, out=tmp_path / "a.nc", resume=True)
    with pytest.raises(mosaic.UsageError, match="exclude"):
        mosaic.run(dataset=tiny, out=tmp_path / "a.nc", resume=True, overwrite=True)


def test_a_score_that_gives_nan_or_no_tensor_stops_the_run(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.MosaicError, match="NaN or infinity at step 0"):
        mosaic.run(score=lambda x, t: x * float("nan"), dataset=tiny)
    with pytest.raises(mosaic.UsageError, match="gave a NoneType"):
        mosaic.run(score=lambda x, t: None, dataset=tiny)


def test_arguments_of_the_wrong_type_are_named(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"mosaic\.DataSet, not a Tensor"):
        mosaic.run("els", tiny.images)
    with pytest.raises(mosaic.UsageError, match="not a Dataset"):
        mosaic.run(dataset=tiny, init=xr.Dataset())
    with pytest.raises(mosaic.DataError, match="name must be a string, not a Tensor"):
        mosaic.DataSet(tiny.images, tiny.labels)


def test_what_is_seldom_meant_is_noted(tiny: mosaic.DataSet) -> None:
    bright = mosaic.DataSet("bright", (tiny.images + 1) / 2)
    notes = prepare(layered(RunConfig, {"scales": "7"}), DataAccess(), dataset=bright).notes
    assert "no pixel below 0" in notes[0]
    assert "exceed the images' 5 pixels" in notes[1]
    assert prepare(layered(RunConfig, {"scales": "5"}), DataAccess(), dataset=tiny).notes == ()


def test_two_processes_do_not_work_on_one_run(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 2, "out": tmp_path / "a.nc"}
    for more in ({}, {"resume": True}, {"overwrite": True}):

        def meanwhile(batch: int, step: int, steps: int, more: dict[str, Any] = more) -> None:
            with pytest.raises(mosaic.UsageError, match="another process is at work"):
                mosaic.run(**settings, **more)

        mosaic.run(**settings, overwrite=True, progress=meanwhile).close()


def test_a_run_that_fails_before_its_first_batch_leaves_nothing(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with pytest.raises(mosaic.UsageError, match="takes no labels"):
        mosaic.run(score=lambda x, t: x, dataset=tiny, labels="0", out=tmp_path / "a.nc")
    with pytest.raises(mosaic.UsageError, match="gave shape"):
        mosaic.run(score=lambda x, t: x[:, :, :3], dataset=tiny, out=tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_ancestral_noise_follows_the_seeds_of_the_samples(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3, "sampler": "ddpm"}
    with mosaic.run(**settings, seed=4, samples=2, labels="0,1", out=tmp_path / "a.nc") as first:
        again = mosaic.run(**settings, seed=5, init=tmp_path / "a.nc")
        assert same_bytes(first, again)
        assert again["label"].values.tolist() == [0, 1]
        free = mosaic.run(**settings, init=tmp_path / "a.nc", labels="none")
        assert free["label"].values.tolist() == [-1, -1]


def test_a_score_model_must_be_where_the_run_is(tiny: mosaic.DataSet) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    model.dataset = SimpleNamespace(name="d", images=torch.empty(1, 1, 6, 5, device="meta"))
    with pytest.raises(mosaic.UsageError, match="meta"):
        mosaic.run(score=model, device="cpu")
    with pytest.raises(mosaic.UsageError, match="'meta' cannot be used"):
        mosaic.run(dataset=tiny, device="meta")


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_large_windows_are_cut_in_blocks_to_the_same_result(tiny: mosaic.DataSet, engine: str) -> None:
    x = torch.randn(2, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for boundary in ("zeros", "circular", "valid"):
        whole, cut = (
            mosaic.equivariant_windows(
                x, tiny.images, mosaic.Level(0.6, 0.8), 3, boundary, compute=mosaic.Compute(engine, tile=tile)
            ).mean()
            for tile in (2**20, 10)
        )
        torch.testing.assert_close(cut, whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("k", "boundary"), [(4, "zeros"), (0, "zeros"), (3, "zero"), (7, "valid")])
def test_candidate_functions_refuse_what_they_cannot_do(tiny: mosaic.DataSet, k: int, boundary: str) -> None:
    x = torch.zeros(1, 1, 6, 5)
    for candidates in (mosaic.equivariant_windows, mosaic.aligned_windows):
        with pytest.raises(mosaic.UsageError):
            candidates(x, tiny.images, mosaic.Level(0.6, 0.8), k, boundary)


# What a run requires of a score model


class Careless(mosaic.ScoreModel):
    """The mean image; spoils what its option names."""

    name = "careless"
    spoils = ""

    def denoise(self, x, level, labels=None, scale=0):
        if self.spoils == "none":
            return None
        {"x": x, "images": self.dataset.images, "": torch.zeros(1)}[self.spoils].add_(1e-3)
        return self.dataset.images.mean(0).to(x).expand_as(x).clone()


@pytest.mark.parametrize(
    ("spoils", "message"),
    [("x", "changed x; it must work on a copy"), ("images", "changed the training images"), ("none", "a NoneType")],
)
def test_a_score_model_that_spoils_what_it_is_lent_is_stopped(tiny, spoils, message):
    model = Careless(None, tiny)
    model.spoils = spoils
    with pytest.raises(mosaic.MosaicError, match=message):
        mosaic.run(model, steps=2, samples=1)


def test_a_class_in_place_of_a_score_model_is_refused(tiny):
    with pytest.raises(mosaic.UsageError, match="score is the class Careless"):
        mosaic.run(Careless, tiny, steps=1)


def test_a_schedule_whose_noise_does_not_fall_is_refused():
    class Rising(mosaic.NoiseSchedule):
        """Less noise at higher t."""

        name = "rising"

        def signal_noise(self, t):
            return torch.ones_like(t), 2 - t

    with pytest.raises(mosaic.UsageError, match="'rising': the noise-to-signal ratio does not fall"):
        reverse_levels(Rising(), 3)
