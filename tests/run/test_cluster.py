"""Jobs on a Dask cluster give the bits of a run on one machine, or say in one sentence why they do not."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
import xarray as xr
from distributed import Client, LocalCluster
from small_training import SMALL

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.registry.data import load_dataset
from mosaic.run.cluster import Cluster, connected, scheduler_in_use
from mosaic.run.config import RunConfig
from mosaic.run.scaling import task_size
from mosaic.run.worker import CODE, PROCESSOR, here, short
from mosaic.storage.executor import Recipe, executing
from mosaic.storage.job import FileJob, Part

# `mosaic.run` is a function, too.
MODULE, WORKER, scaling = (sys.modules[each.__module__] for each in (Cluster, here, task_size))

SETTINGS: dict[str, Any] = {
    "samples": 5,
    "batch_size": 2,
    "steps": 3,
    "scales": "3",
    "seed": 1,
    "dataset_options": {"limit": 40},
    "progress": False,
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers in this process."""
    how: dict[str, Any] = {"processes": False, "dashboard_address": ":0", "memory_limit": 0}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **how) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def assert_equal_bits(run: xr.Dataset, wanted: xr.Dataset) -> None:
    assert list(run.variables) == list(wanted.variables)
    for name in wanted.variables:
        assert run[name].values.tobytes() == wanted[name].values.tobytes(), name
    own = {"created", "command", "title"}
    differing = {name for name in wanted.attrs if run.attrs.get(name) != wanted.attrs[name]}
    assert differing <= own


@pytest.mark.parametrize("save", ["none", "provenance,entropy"])
def test_a_run_on_a_cluster_has_the_bits_of_one_without(client: Client, save: str, tmp_path: Path) -> None:
    wanted = mosaic.run("els", "digits", **SETTINGS, save=save)
    assert_equal_bits(mosaic.run("els", "digits", **SETTINGS, save=save, client=client), wanted)
    for name in ("run.nc", "run.zarr"):
        with mosaic.run("els", "digits", **SETTINGS, save=save, client=client, out=tmp_path / name) as stored:
            assert_equal_bits(stored, wanted)


def test_a_run_starts_on_a_cluster_from_the_noise_of_a_file(client: Client, tmp_path: Path) -> None:
    mosaic.run("is", "digits", **{**SETTINGS, "scales": None, "seed": 7}, out=tmp_path / "noise.nc").close()
    own = {key: value for key, value in SETTINGS.items() if key not in ("samples", "seed")}
    wanted = mosaic.run("els", "digits", **own, init=tmp_path / "noise.nc")
    assert_equal_bits(mosaic.run("els", "digits", **own, init=tmp_path / "noise.nc", client=client), wanted)


def test_shards_of_the_training_images_are_compared_by_the_workers(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.engine.stream.SHARD", 4)
    monkeypatch.setattr(scaling, "SHARD", 4)
    monkeypatch.setattr(scaling, "LEAST", 0.0)
    sent: list[Any] = []
    submit = Cluster._submit
    monkeypatch.setattr(Cluster, "_submit", lambda self, *given: sent.append(given[3]) or submit(self, *given))
    settings = {**SETTINGS, "samples": 1, "save": "provenance,entropy"}
    for score in ("is", "es", "ls", "els", "soft-els"):
        own = {**settings, "scales": None if score in ("is", "es") else "3"}
        wanted = mosaic.run(score, "digits", **own)
        assert not sent
        assert_equal_bits(mosaic.run(score, "digits", **own, client=client), wanted)
        assert len(sent) > 8
        sent.clear()


def test_a_calibration_on_a_cluster_has_the_bits_of_one_without(client: Client, tmp_path: Path) -> None:
    network = mosaic.train(
        "resnet", "digits", out=tmp_path / "net", **{**SMALL, "epochs": 1}, dataset_options={"limit": 10}
    )
    settings: dict[str, Any] = {"samples": 4, "batch_size": 2, "steps": 2, "sizes": "3,5", "progress": False}
    wanted = mosaic.calibrate(network, **settings)
    assert_equal_bits(mosaic.calibrate(network, **settings, client=client), wanted)


def test_parts_that_were_finished_before_are_not_computed_again(client: Client, tmp_path: Path) -> None:
    out, done = tmp_path / "run.nc", []

    def interrupting(finished: float, total: float, unit: str, note: str = "") -> None:
        if finished > 0:
            raise KeyboardInterrupt

    own = {**SETTINGS, "progress": interrupting}
    with pytest.raises(KeyboardInterrupt):
        mosaic.run("els", "digits", **own, client=client, out=out)
    kept = sorted((tmp_path / "run.nc.parts").glob("part-*.nc"))
    assert len(kept) < 3
    submit = Cluster._submit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "_submit", lambda self, *given: done.append(given[3]) or submit(self, *given))
        with mosaic.run("els", "digits", **SETTINGS, client=client, out=out, resume=True) as run:
            assert_equal_bits(run, mosaic.run("els", "digits", **SETTINGS))
    assert len(done) == 3 - len(kept)


def test_a_data_set_that_was_loaded_by_its_name_is_opened_by_the_workers(client: Client) -> None:
    dataset = load_dataset("digits", {"limit": 40}, DataAccess())
    own = {key: value for key, value in SETTINGS.items() if key != "dataset_options"}
    assert_equal_bits(mosaic.run("els", dataset, **own, client=client), mosaic.run("els", dataset, **own))


def test_objects_are_computed_here_and_it_is_said(client: Client, tiny: mosaic.DataSet) -> None:
    own = {key: value for key, value in SETTINGS.items() if key != "dataset_options"}
    chosen = load_dataset("digits", {"limit": 40}, DataAccess()).select(torch.arange(20))
    for dataset in (tiny, chosen):
        with pytest.warns(mosaic.MosaicWarning, match="cannot make by names alone"):
            run = mosaic.run("els", dataset, **own, client=client)
        assert_equal_bits(run, mosaic.run("els", dataset, **own))


def test_long_entries_of_an_identity_are_sent_as_digests() -> None:
    sent = short({"labels": list(range(10_000)), "seed": 1})
    assert sent["seed"] == 1
    assert len(sent["labels"]) == 64
    assert sent != short({"labels": list(range(9_999)), "seed": 1})


def test_a_worker_with_other_code_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "here", lambda: {**here(), CODE: "other code"})
    with pytest.raises(mosaic.UsageError, match=r"On the worker at .*other code"):
        mosaic.run("els", "digits", **{**SETTINGS, "seed": 5}, client=client)
    monkeypatch.setenv("MOSAIC_MIXED_WORKERS", "1")
    with pytest.raises(mosaic.UsageError, match=r"On the worker at .*other code"):
        mosaic.run("els", "digits", **{**SETTINGS, "seed": 5}, client=client)


@pytest.mark.parametrize("name", [None, "run.nc", "run.zarr"])
def test_workers_with_other_processors_are_refused_or_recorded(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str | None
) -> None:
    own: dict[str, Any] = {**SETTINGS, "seed": 6} | ({"out": tmp_path / name} if name else {})
    wanted = mosaic.run("els", "digits", **{**SETTINGS, "seed": 6})
    same = here()
    monkeypatch.setattr(MODULE, "here", lambda: {**same, PROCESSOR: "abacus"})
    with pytest.raises(mosaic.UsageError, match=r"worker_processor: \"abacus\".*MOSAIC_MIXED_WORKERS=1"):
        mosaic.run("els", "digits", **own, client=client)
    monkeypatch.setenv("MOSAIC_MIXED_WORKERS", "1")
    kinds = iter(["abacus", "quipu", "abacus"])
    monkeypatch.setattr(WORKER, "instructions", lambda: [next(kinds)])
    monkeypatch.setattr(WORKER, "here", lambda: {**same, PROCESSOR: "quipu"})
    with mosaic.run("els", "digits", **own, client=client) as run:
        named = run.attrs["workers"].split()
        assert [each.split("/")[-1] for each in named] == ["abacus", "quipu"]
        del run.attrs["workers"]
        assert_equal_bits(run, wanted)
    assert "workers" not in wanted.attrs


def test_a_worker_refuses_what_would_be_computed_otherwise(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_text", lambda job: json.dumps({**job.identity, "dataset_fingerprint": "other"}))
    with pytest.raises(mosaic.UsageError, match=r"On the worker at .*dataset_fingerprint: .*the same data"):
        mosaic.run("els", "digits", **SETTINGS, client=client)


def _failing() -> FileJob:
    def part(progress: Any) -> xr.Dataset:
        raise mosaic.DataError("The disk is gone.")

    return FileJob(Path(), {"failing": 1}, "none", "a test", [Part(1.0, part)] * 2, "step", dict, recipe=RECIPE)


def _nothing(config: Any, access: Any, memory: Any = None) -> None:
    """Prepare a test whose job needs no plan."""


RECIPE = Recipe(_nothing, lambda plan, path: _failing(), RunConfig(), DataAccess())


def test_an_error_of_a_worker_is_raised_with_its_kind(client: Client) -> None:
    with executing(Cluster(client)), pytest.raises(mosaic.DataError, match=r"On the worker at .*The disk is gone"):
        _failing().compute()


def test_a_recipe_is_sent_without_images() -> None:
    recipe = replace(RECIPE, folder="there", images=torch.zeros(3), threads=2)
    sent = pickle.loads(cloudpickle.dumps(recipe))
    assert (sent.images, sent.threads) == (None, None)
    assert (sent.config, sent.access, sent.folder) == (recipe.config, recipe.access, "there")


def test_the_scheduler_in_use_is_that_of_the_context(client: Client) -> None:
    for address, wanted in (
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("inproc://1", None),
        ("tls://1:2", None),
    ):
        assert scheduler_in_use() is None
        with connected(client):
            MODULE._CLUSTER.get().address = address
            assert scheduler_in_use() == wanted
    assert scheduler_in_use() is None


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [
        ("local:0", "local:2"),
        ("local:x", "local:2"),
        ("tcp://127.0.0.1:9", "no scheduler"),
        ("nonsense://1", "no scheduler"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_sentence(
    scheduler: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "TIMEOUT", 1)
    with pytest.raises(mosaic.UsageError, match=reason):
        mosaic.run("els", "digits", **SETTINGS, client=scheduler)


@pytest.mark.parametrize("scheduler", ["local:2", "tcp://127.0.0.1:1"])
def test_without_dask_it_is_said_how_to_install_it(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(mosaic.UsageError, match=r"Dask is not installed; .*\[dask\]"), connected(scheduler):
        pass
