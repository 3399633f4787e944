"""Tasks are as large as they must be, and a forecast obeys its limits."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

import mosaic
from mosaic.engine.stream import SHARD, tasks_of
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.scaling import forecast, takes_shards, task_size

MODULE = sys.modules[forecast.__module__]


def test_tasks_are_as_large_as_they_must_be() -> None:
    x = torch.zeros(1, 1, 32, 32)
    sizes = {workers: task_size("equivariant_local_posterior", x, 128, workers) for workers in (1, 4, 16)}
    assert sizes == {1: 32, 4: 8, 16: 2}
    assert task_size("ideal_posterior", x, 128, 16) == 32  # one shard would take two milliseconds
    assert len(tasks_of(range(20), 32)) == 1


def test_shards_are_tasks_where_parts_do_not_serve_all_workers() -> None:
    assert not takes_shards(4, 10 * SHARD, 4)
    assert takes_shards(3, 10 * SHARD, 4)
    assert not takes_shards(3, 3 * SHARD, 4)
    assert not takes_shards(1, 0, 4)


def plan_of(images: int, **settings: Any) -> Plan:
    dataset = mosaic.DataSet("many", torch.zeros(1, 1, 8, 8).expand(images, 1, 8, 8))
    config = RunConfig(score="els", steps=4, scales="3", **settings)
    machine = mosaic.registry().get("score", "els")
    return prepare(config, DataAccess(), score=machine(machine.Options(), dataset), dataset=dataset)


@pytest.fixture
def _free_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OVERHEAD", "LATENCY", "LEAST"):
        monkeypatch.setattr(MODULE, name, 0.0)
    monkeypatch.setattr(MODULE, "BANDWIDTH", float("inf"))


@pytest.mark.usefixtures("_free_cluster")
def test_a_cluster_that_costs_nothing_divides_the_time_by_whole_tasks() -> None:
    batches = plan_of(16, samples=12, batch_size=2)
    assert [forecast(batches, 60.0, workers) for workers in (1, 2, 4, 6)] == pytest.approx([60, 30, 20, 10])
    shards = plan_of(8 * SHARD, samples=1)
    assert [forecast(shards, 60.0, workers) for workers in (2, 4, 8, 100)] == pytest.approx([30, 15, 7.5, 7.5])


def test_what_a_cluster_costs_limits_what_many_workers_gain() -> None:
    shards = plan_of(8 * SHARD, samples=1)
    assert forecast(shards, 1e-3, 4) > 1e-3
    assert forecast(shards, 1e4, 4) == pytest.approx(1e4 / 4, rel=0.01)
    assert forecast(shards, 1e4, 8) > 1e4 / 8  # a task of one shard would take too little time
