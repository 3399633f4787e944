"""The memory budget: what is predicted is enough, and less of it changes speed, never numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mosaic
from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess
from mosaic.memory import fit, parse_memory, peak_bytes, physical_memory, predict_memory
from mosaic.plan import Plan, prepare


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2**31), ("1.5GiB", 3 * 2**29), ("500 mb", 500 * 2**20), ("7", 7), ("3k", 3072)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(("limit", "least"), [("4096\n", 4096), ("max\n", 2**20), (None, 2**20)])
def test_a_container_has_no_more_memory_than_its_limit(
    limit: str | None, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(limit)
    monkeypatch.setattr("mosaic.memory.CONTAINER_LIMIT", path)
    found = physical_memory()
    assert found is not None
    assert found == 4096 if least == 4096 else found > least


@pytest.mark.parametrize("text", ["", "much", "0", "-1G", "2 GG", "1e9", "0.3", "9" * 400])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(mosaic.UsageError, match="--memory"):
        parse_memory(text)


def planned(**settings: object) -> Plan:
    return prepare(layered(RunConfig, {"steps": 2, "samples": 1, **settings}), DataAccess())


def test_a_budget_limits_threads_and_refuses_what_does_not_fit() -> None:
    plan = planned(score_options={"engine": "torch"})
    need = predict_memory(plan)
    least = sum(need.values())
    for tiles in (1, 2):
        fitted = fit(plan, str(least + (tiles - 1) * need["thread"] + 1))
        assert fitted.model.compute.workers == min(tiles, torch.get_num_threads())
    assert plan.model.compute.workers is None  # the plan that was given is as it was
    with pytest.raises(mosaic.UsageError, match=r"needs .* MiB .* --memory"):
        fit(plan, str(least - 1))
    assert (physical_memory() or 2**40) > least


def test_a_small_budget_changes_no_number() -> None:
    settings = {"steps": 2, "samples": 2, "score_options": {"engine": "torch"}}
    need = sum(predict_memory(planned(**settings)).values())
    runs = [mosaic.run(memory=memory, **settings) for memory in (None, str(need + 2**22))]  # type: ignore[arg-type]
    np.testing.assert_array_equal(runs[0]["image"], runs[1]["image"])


PROBE = """
import sys
import torch, mosaic
from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess
from mosaic.memory import peak_bytes, predict_memory
from mosaic.plan import prepare

score, engine, dtype, noise, channels = sys.argv[1:]
torch.set_num_threads(1)
images = torch.rand(200, int(channels), 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
options = {"score_options": {"engine": engine}} if engine else {}
config = layered(RunConfig, {"score": score, "steps": 1, "samples": 4, "dtype": dtype, "scales": "5", **options})
plan = prepare(config, DataAccess(), dataset=mosaic.DataSet("d", images))
x, level = plan.starts(plan.batches[0]), mosaic.Level(1.0, float(noise))
before = peak_bytes()
plan.model.denoise(x, level, None, 5)
print(peak_bytes() - before, predict_memory(plan)["thread"])
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
    done = subprocess.run(
        [sys.executable, "-c", PROBE, score, engine, dtype, noise, channels],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "compiled engine cannot be used" in done.stderr:
        pytest.skip("no compiled kernel")
    used, predicted = map(int, done.stdout.split())
    assert 0 < used <= predicted


HELD = """
import json, sys
from pathlib import Path
import torch, mosaic, mosaic.tensor_cache
from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess
from mosaic.memory import peak_bytes, predict_memory
from mosaic.plan import prepare

torch.set_num_threads(1)
mosaic.tensor_cache.cache_folder = lambda: Path(".cache")  # the test's own folder: in-degrees are to be computed
size, count, scale = map(int, sys.argv[2:])
images = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
options = {"score": "els-attention", "score_options": json.loads(sys.argv[1])}
config = layered(RunConfig, {"steps": 1, "samples": 8, "batch_size": 8, "scales": str(scale), **options})
plan = prepare(config, DataAccess(), dataset=mosaic.DataSet("d", images))
x, level = plan.starts(plan.batches[0]), mosaic.Level(1.0, 0.8)
before = peak_bytes()
plan.model.denoise(x, level, None, scale)
need = predict_memory(plan)
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


def test_a_budget_that_limits_nothing_is_told() -> None:
    plan = prepare(RunConfig(score="gaussian", samples=1, steps=2), mosaic.DataAccess())
    assert fit(plan).notes == ()
    assert fit(plan, "1G").notes == ("--memory does not limit score model 'gaussian'.",)


def test_the_peak_on_a_gpu_is_that_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 7 if device.type == "cuda" else 0)
    assert peak_bytes(torch.device("cuda")) == 7


def test_the_peak_of_a_process_is_its_own() -> None:
    """Not that of a parent which is larger: getrusage would tell its."""
    ballast = torch.ones(2**27)  # 512 MiB
    command = [sys.executable, "-c", "from mosaic.memory import peak_bytes; print(peak_bytes())"]
    told = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    own = peak_bytes()
    assert own is not None
    assert own > ballast.numel() * 4
    assert 2**26 < told < own - ballast.numel() * 3
