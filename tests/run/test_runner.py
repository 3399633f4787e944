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

VARIABLES = ("state", "denoised", "image")


def same_bytes(run: xr.Dataset, again: xr.Dataset) -> bool:
    return all(run[name].values.tobytes() == again[name].values.tobytes() for name in VARIABLES)


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


def test_a_data_set_that_would_not_be_used_is_refused(tiny: mosaic.DataSet) -> None:
    els = mosaic.registry().get("score", "els")(None, tiny)
    with pytest.raises(mosaic.UsageError, match=r"'tiny'.*`dataset`"):
        mosaic.run(els, "digits", steps=1)
    assert same_bytes(mosaic.run(els, tiny, steps=1), mosaic.run(els, steps=1))


def test_notes_reach_the_caller(tiny: mosaic.DataSet) -> None:
    with pytest.warns(mosaic.MosaicWarning, match="99"):
        mosaic.run("ls", tiny, steps=1, samples=1, scales="99")


def test_float64_and_float32_runs_agree(tiny: mosaic.DataSet) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 10, "samples": 4}
    single, double = (mosaic.run(dtype=dtype, **settings) for dtype in ("float32", "float64"))
    assert (single["state"].dtype, double["state"].dtype) == (np.float32, np.float64)
    start = double["state"].isel(step=0)
    np.testing.assert_array_equal(single["state"].isel(step=0), start.astype(np.float32))
    np.testing.assert_allclose(single["image"], double["image"], atol=1e-3)


def test_a_run_resumes_with_its_own_settings(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 3, "samples": 3, "batch_size": 1, "seed": 7, "dataset_options": {"limit": 40}}

    def interrupt(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith("batch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mosaic.run("is", "digits", out=tmp_path / "a.nc", progress=interrupt, **settings)
    with pytest.raises(mosaic.UsageError, match=r"configuration\.seed: 7, now 8"):
        mosaic.run(out=tmp_path / "a.nc", resume=True, seed=8)
    with mosaic.run(out=tmp_path / "a.nc", resume=True) as resumed:
        assert same_bytes(resumed, mosaic.run("is", "digits", **settings))


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
        assert mosaic.registry().get("score", "els")(model, data).traits.comparisons(k) == 3 * pairs


# What a run requires of a score model


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"dataset_options": {"limit": 5}}, "dataset_options"),
        ({"data_dir": "data"}, "data_dir"),
        ({"download": True}, "download"),
        ({"save": "none", "save_steps": "all"}, "save_steps"),
        ({"score": "gaussian", "save_steps": "0"}, "save_steps"),
        ({"resume": True}, "resume"),
        ({"overwrite": True}, "overwrite"),
    ],
)
def test_what_would_not_be_used_is_refused(tiny: mosaic.DataSet, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=f"`{named}` would not be used"):
        mosaic.run(**{"score": "is", "dataset": tiny, "steps": 1, "samples": 1, **settings})


def test_options_of_a_score_model_that_is_given_would_not_be_used(tiny: mosaic.DataSet) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    with pytest.raises(mosaic.UsageError, match="`score_options` would not be used"):
        mosaic.run(model, score_options={"boundary": "circular"})
    with pytest.raises(mosaic.UsageError, match="`data_dir` would not be used"):
        mosaic.run(model, data_dir="data")


def test_a_data_set_knows_how_it_was_loaded_so_that_runs_record_it() -> None:
    data = mosaic.score("is", "digits", dataset_options={"limit": 30}).model.dataset
    assert data.options["limit"] == 30
    run = mosaic.run("els", data, steps=2, samples=1, scales="3")
    assert json.loads(run.attrs["configuration"])["dataset_options"]["limit"] == 30
    assert len(run.mosaic.training_set()) == 30
    trained = mosaic.train("resnet", data, out="net", epochs=1, network_options={"channels": 4, "blocks": 0})
    assert trained.config.dataset_options["limit"] == 30


def test_a_run_of_an_object_is_resumed_with_it(tiny: mosaic.DataSet) -> None:
    own = mosaic.score(eps_of_half, tiny)
    mosaic.run(own, steps=1, samples=1, out="own.nc").close()
    with pytest.raises(mosaic.UsageError, match=r"eps_of_half.*`score`"):
        mosaic.run(out="own.nc", resume=True)
    mosaic.run(own, steps=1, samples=1, out="own.nc", resume=True).close()


def eps_of_half(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return 0.5 * x
