"""The memory budget: what is predicted is enough, and less of it changes speed, never numbers."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from built_kernel import MISSING

import mosaic
from mosaic.device import peak_bytes, physical_memory
from mosaic.interfaces.dataset import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.memory import parse_memory, predict_memory
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2**31), ("1.5GiB", 3 * 2**29), ("500 mb", 500 * 2**20), ("7", 7), ("3k", 3072)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "0", "-1G", "2 GG", "1e9", "0.3", "9" * 400])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(mosaic.UsageError, match="memory"):
        parse_memory(text)


def planned(memory: str | None = None, **settings: object) -> Plan:
    return prepare(layered(RunConfig, {"steps": 2, "samples": 1, **settings}), DataAccess(), memory=memory)


def test_a_budget_limits_threads_and_refuses_what_does_not_fit() -> None:
    options = {"engine": "torch"}
    plan = planned(score_options=options)
    need = predict_memory(plan.model, plan.size)
    least = sum(need.values())
    for blocks in (1, 2):
        limited = planned(str(least + (blocks - 1) * need["thread"] + 1), score_options=options)
        assert limited.threads == min(blocks, torch.get_num_threads())
    with pytest.raises(mosaic.UsageError, match=r"MiB"):
        planned(str(least - 1), score_options=options)
    assert (physical_memory() or 2**40) > least


def test_a_small_budget_changes_no_number() -> None:
    settings = {"steps": 2, "samples": 2, "score_options": {"engine": "torch"}}
    plan = planned(**settings)
    need = sum(predict_memory(plan.model, plan.size).values())
    runs = [mosaic.run(memory=memory, **settings) for memory in (None, str(need + 2**22))]  # type: ignore[arg-type]
    np.testing.assert_array_equal(runs[0]["image"], runs[1]["image"])


PROBE = """
import sys
import torch, mosaic
from mosaic.device import peak_bytes
from mosaic.interfaces.dataset import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.memory import predict_memory
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered

score, engine, dtype, noise, channels = sys.argv[1:]
torch.set_num_threads(1)
images = torch.rand(200, int(channels), 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
options = {"score_options": {"engine": engine}} if engine else {}
config = layered(RunConfig, {"score": score, "steps": 1, "samples": 4, "dtype": dtype, "scales": "5", **options})
plan = prepare(config, DataAccess(), dataset=mosaic.DataSet("d", images))
x, level = plan.starts(plan.batches[0]), mosaic.Level(1.0, float(noise))
before = peak_bytes()
plan.model.denoise(x, level, None, 5)
print(peak_bytes() - before, predict_memory(plan.model, plan.size)["thread"])
"""


@pytest.mark.parametrize("noise", ["0.05", "0.8"])
@pytest.mark.parametrize(
    "case",
    ["els compiled float32 1", "els torch float32 3", "els torch float64 1", "ls torch float32 1", "es  float32 1"],
)
def test_a_thread_needs_no_more_than_predicted(case: str, noise: str) -> None:
    if peak_bytes() is None:
        pytest.skip("the system does not tell the peak of a process")
    score, engine, dtype, channels = case.split(" ")
    if engine == "compiled" and MISSING:
        pytest.skip(MISSING)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, score, engine, dtype, noise, channels],
        capture_output=True,
        text=True,
        timeout=300,
    )
    used, predicted = map(int, done.stdout.split())
    assert 0 < used <= predicted


HELD = """
import json, sys
from pathlib import Path
import torch, mosaic
from mosaic.storage import tensor_cache
from mosaic.device import peak_bytes
from mosaic.interfaces.dataset import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.memory import predict_memory
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered

torch.set_num_threads(1)
tensor_cache.cache_folder = lambda: Path(".cache")  # the test's own folder: in-degrees are to be computed
size, count, scale = map(int, sys.argv[2:])
images = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
options = {"score": "els-attention", "score_options": json.loads(sys.argv[1])}
config = layered(RunConfig, {"steps": 1, "samples": 8, "batch_size": 8, "scales": str(scale), **options})
plan = prepare(config, DataAccess(), dataset=mosaic.DataSet("d", images))
x, level = plan.starts(plan.batches[0]), mosaic.Level(1.0, 0.8)
before = peak_bytes()
plan.model.denoise(x, level, None, scale)
need = predict_memory(plan.model, plan.size)
print(peak_bytes() - before, need["machine"], need["thread"])
"""


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, (48, 10, 5)),
        ({"attention": "top1"}, (48, 10, 5)),
        ({"embedding": "window"}, (16, 3000, 9)),
        ({"form": "mixture"}, (32, 32, 5)),
    ],
)
def test_attention_holds_about_what_is_predicted(options: dict[str, str], sizes: tuple[int, int, int]) -> None:
    """At sizes at which what it holds is most of it: all pairs of pixels, or all windows."""
    if peak_bytes() is None:
        pytest.skip("the system does not tell the peak of a process")
    command = [sys.executable, "-c", HELD, json.dumps({**options, "engine": "torch"}), *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    used, machine, thread = map(int, done.stdout.split())
    assert machine / 4 < used <= machine + thread
    assert machine > thread


def test_a_budget_that_limits_nothing_is_noted() -> None:
    assert planned(score="gaussian").notes == ()
    (note,) = planned("1G", score="gaussian").notes
    assert "memory" in note
    assert "gaussian" in note
