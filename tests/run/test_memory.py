"""The memory budget: what is predicted is enough, and less of it changes speed, never numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from built_kernel import MISSING
from forks import Run, forks
from pydantic import ValidationError

import mosaic
from mosaic.device import physical_memory
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.memory import parse_memory, predict_memory
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered


@pytest.fixture(scope="module")
def forked() -> Iterator[Run]:
    """Processes whose peaks are measured."""
    with forks() as run:
        yield run


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2**31), ("1.5GiB", 3 * 2**29), ("500 mb", 500 * 2**20), ("7", 7), ("3k", 3072)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_memory(text) == size
    assert parse_memory(size) == parse_memory(float(size)) == size


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


def test_a_stored_run_takes_the_memory_of_a_batch() -> None:
    few, many = ({"samples": samples, "batch_size": 4, "score": "gaussian"} for samples in (4, 400))
    in_memory, stored = (
        [
            predict_memory(plan.model, plan.size)["trajectory"]
            for settings in (few, many)
            for plan in [prepare(layered(RunConfig, settings), DataAccess(), is_stored=is_stored)]
        ]
        for is_stored in (False, True)
    )
    assert stored[0] == stored[1] == in_memory[0] == in_memory[1] / 100


def test_a_small_budget_changes_no_number() -> None:
    settings = {"steps": 2, "samples": 2, "score_options": {"engine": "torch"}}
    plan = planned(**settings)
    need = sum(predict_memory(plan.model, plan.size).values())
    runs = [mosaic.run(memory=memory, **settings) for memory in (None, str(need + 2**22))]  # type: ignore[arg-type]
    np.testing.assert_array_equal(runs[0]["image"], runs[1]["image"])


def big_file(count: int, path: str = "x.npy") -> dict[str, Any]:
    """Images that take 8 KiB each while they are read, as a data set by name."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32), dtype=np.uint8)
    np.save(path, pixels)
    return {"dataset": "file", "dataset_options": {"path": path}, "score": "ls", "scales": "3"}


def test_what_does_not_fit_is_read_in_pieces_and_changes_no_number() -> None:
    settings = {**big_file(8_000), "steps": 1, "samples": 1, "save": "none"}
    with pytest.warns(mosaic.MosaicWarning, match="read in pieces"):
        runs = [mosaic.run(memory=memory, **settings) for memory in ("420M", "2G")]
    np.testing.assert_array_equal(runs[0]["image"], runs[1]["image"])
    assert runs[0].attrs["dataset_fingerprint"] == runs[1].attrs["dataset_fingerprint"]
    need = predict_memory(planned("420M", **settings).model, planned("420M", **settings).size)
    held = predict_memory(planned("2G", **settings).model, planned("2G", **settings).size)
    assert need["dataset"] < 2**20 < held["dataset"] == 8 * 8_000 * 1024
    assert need["thread"] > held["thread"]


def test_what_fits_alone_but_not_beside_the_work_is_read_in_pieces() -> None:
    settings = big_file(8_000)
    held = predict_memory(planned("2G", **settings).model, planned("2G", **settings).size)
    both = sum(held.values())
    assert isinstance(planned(str(both), **settings).dataset.images, torch.Tensor)
    plan = planned(str(both - 1), **settings)
    assert isinstance(plan.dataset.images, mosaic.ImageSource)
    assert any("read in pieces" in note for note in plan.notes)


STREAMED = """
import sys, numpy as np
from mosaic_cli.main import cli
from mosaic.device import peak_bytes
try:
    cli(sys.argv[1:])
finally:
    print(peak_bytes(), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("score", "memory"), [("is", 800), ("ls", 640), ("els", 500), ("gaussian", 640)])
def test_a_set_larger_than_the_memory_allowed_is_computed_with_within_it(score: str, memory: int) -> None:
    """100,000 colour images of 16 x 16 pixels: 73 MiB of bytes, 293 MiB of numbers, which count twice."""
    rng, count = np.random.default_rng(0), 100_000
    pixels = np.lib.format.open_memmap("x.npy", "w+", np.uint8, (count, 16, 16, 3))
    for first in range(0, count, 10_000):
        pixels[first : first + 10_000] = rng.integers(0, 256, (10_000, 16, 16, 3), dtype=np.uint8)
    pixels.flush()
    settings = ["--dataset", "file", "-o", "dataset.path=x.npy", "--steps", "1", "--samples", "1", "--score", score]
    settings += ["--scales", "3"] if score in ("ls", "els") else []
    images = []
    for allowed in (f"{memory}M", "3G"):
        command = [sys.executable, "-c", STREAMED, "run", *settings, "--memory", allowed, "--out", f"{allowed}.nc"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=True)
        is_small = allowed != "3G"
        assert ("read in pieces" in done.stderr) == is_small
        assert not is_small or int(done.stderr.split()[-1]) < memory * 2**20
        with xr.open_dataset(f"{allowed}.nc") as run:
            images.append(run["image"].values)
    np.testing.assert_array_equal(*images)


PROBE = """
import sys
from pathlib import Path
import torch, mosaic
from mosaic.device import peak_bytes
from mosaic.interfaces.data_source import DataAccess
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
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before = peak_bytes()
plan.model.denoise(x, level, None, 5)
print(peak_bytes() - before, predict_memory(plan.model, plan.size)["thread"])
"""


@pytest.mark.system
@pytest.mark.parametrize("noise", ["0.05", "0.8"])
@pytest.mark.parametrize(
    "case",
    ["els compiled float32 1", "els torch float32 3", "els torch float64 1", "ls torch float32 1", "es  float32 1"],
)
def test_a_thread_needs_no_more_than_predicted(forked: Run, case: str, noise: str) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell the peak of a process from a moment on")
    score, engine, dtype, channels = case.split(" ")
    if engine == "compiled" and MISSING:
        pytest.skip(MISSING)
    used, predicted = map(int, forked(PROBE, score, engine, dtype, noise, channels).split())
    assert 0 < used <= predicted


HELD = """
import json, sys
from pathlib import Path
import torch, mosaic
from mosaic.disk import facts
from mosaic.device import peak_bytes
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.memory import predict_memory
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered

torch.set_num_threads(1)
facts.cache_folder = lambda: Path(".cache")  # the test's own folder: in-degrees are to be computed
options, (channels, size, count, scale) = json.loads(sys.argv[1]), map(int, sys.argv[2:])
images = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
level = mosaic.Level(1.0, options.pop("noise", 0.8))
config = layered(RunConfig, {"steps": 1, "samples": 8, "batch_size": 8, "scales": str(scale), **options})
plan = prepare(config, DataAccess(), dataset=mosaic.DataSet("d", images, torch.arange(count) % 3))
x, labels = plan.starts(plan.batches[0]), plan.labels_of(plan.batches[0])
few = type(plan.model)(plan.model.options, plan.dataset.select(torch.arange(9)))
few.denoise(x[:3], level, None, scale)  # loads libraries
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before = peak_bytes()
plan.model.denoise(x, level, labels, scale)
need = predict_memory(plan.model, plan.size)
print(peak_bytes() - before, need["model"], need["thread"])
"""


def held(forked: Run, settings: dict[str, Any], *sizes: int) -> tuple[int, int, int]:
    """Bytes that a model takes for a batch, and those predicted of what it holds and of a thread.

    The sizes are channels, side and number of images, and scale.
    """
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell the peak of a process from a moment on")
    used, model, thread = map(int, forked(HELD, json.dumps(settings), *map(str, sizes)).split())
    return used, model, thread


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, (1, 48, 10, 5)),
        ({"attention": "top1"}, (1, 48, 10, 5)),
        ({"embedding": "window"}, (1, 16, 3000, 9)),
        ({"form": "mixture"}, (1, 32, 32, 5)),
    ],
)
def test_attention_holds_about_what_is_predicted(forked: Run, options: dict[str, str], sizes: tuple[int, ...]) -> None:
    """At sizes at which what it holds is most of it: all pairs of pixels, or all windows."""
    used, model, thread = held(
        forked, {"score": "els-attention", "score_options": {**options, "engine": "torch"}}, *sizes
    )
    assert model / 4 < used <= model + thread
    assert model > thread


CLASSES = "0,1,2,0,1,2,0,1"
HOLDING: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("pca-locality", {}, (1, 32, 2000, 5)),
    ("pca-locality", {"labels": CLASSES}, (3, 24, 3000, 5)),
    ("gaussian", {"labels": CLASSES}, (3, 24, 3000, 5)),
    ("gaussian", {}, (3, 32, 1500, 5)),
    ("gaussian-mixture", {}, (3, 24, 3000, 5)),
    ("gaussian-mixture", {"score_options": {"components": 5}}, (1, 16, 20_000, 5)),
    ("patch-posterior", {}, (3, 32, 600, 5)),
    ("patch-posterior", {"dtype": "float64"}, (1, 32, 600, 5)),
    ("patch-posterior", {"score_options": {"flips": True, "boundary": "circular"}}, (1, 28, 3000, 8)),
    ("filtered", {"score_options": {"window": "soft", "mirrored": True, "turned": True}}, (1, 28, 1500, 5)),
    ("golden-subset", {"score_options": {"proxy": 32}}, (1, 32, 4000, 5)),
    ("golden-subset", {"score_options": {"high": 1.0}, "labels": CLASSES}, (3, 16, 6000, 5)),
    ("smoothed", {"score_options": {"draws": 20}}, (3, 64, 10, 5)),
    ("smoothed", {"score_options": {"draws": 2, "neighbours": 200}}, (3, 32, 3000, 5)),
    ("is", {"dtype": "float64"}, (3, 32, 8000, 5)),
    ("nearest", {}, (3, 32, 8000, 5)),
    ("es", {"dtype": "float64"}, (1, 28, 2000, 5)),
    ("els", {"score_options": {"engine": "torch"}}, (3, 32, 500, 9)),
    ("ls", {"dtype": "float64", "noise": 0.05}, (1, 28, 5000, 5)),
    ("nearest-patch", {}, (1, 32, 300, 5)),
    ("switch", {"score_options": {"below": "els", "at": 0.5}}, (3, 24, 3000, 5)),
]


@pytest.mark.system
@pytest.mark.parametrize(
    ("score", "settings", "sizes"),
    [pytest.param(*case, marks=[] if case is HOLDING[0] else [pytest.mark.slow]) for case in HOLDING],
)
def test_every_model_takes_no_more_than_predicted(
    forked: Run, score: str, settings: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    """At sizes at which it takes more than one of both, where it has both."""
    used, model, thread = held(forked, {"score": score, **settings}, *sizes)
    assert 0 < used <= model + thread


COMPILED: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("els", {}, (3, 64, 16, 33)),
    ("els", {"boundary": "circular"}, (3, 32, 16, 63)),
    ("els", {"boundary": "circular"}, (4, 8, 100, 65)),
    ("els", {"boundary": "valid"}, (3, 64, 16, 63)),
    ("els", {}, (16, 24, 100, 5)),
    ("ls", {"boundary": "circular"}, (1, 28, 60_000, 27)),
    ("soft-els", {}, (5, 32, 16, 17)),
]


@pytest.mark.system
@pytest.mark.skipif(bool(MISSING), reason=f"no compiled kernel: {MISSING}")
@pytest.mark.parametrize(("score", "options", "sizes"), COMPILED)
def test_the_compiled_engine_takes_no_more_than_predicted(
    forked: Run, score: str, options: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    used, model, thread = held(forked, {"score": score, "score_options": {**options, "engine": "compiled"}}, *sizes)
    assert 0 < used <= model + thread


def test_every_registered_model_says_what_it_needs_or_is_refused(tiny: mosaic.DataSet) -> None:
    unknown = []
    for name in mosaic.registry().names("score"):
        kind = mosaic.registry().get("score", name)
        try:
            model = kind(kind.Options(), tiny)
        except ValidationError:  # it needs options
            continue
        unknown += [name] if model.traits.memory(2, 3, torch.float32, (-1,)) is None else []
    assert unknown == []


def test_a_model_that_does_not_say_what_it_needs_is_refused_a_budget() -> None:
    assert mosaic.run(lambda x, t: 0 * x, steps=1, samples=1).sizes["sample"] == 1
    with pytest.raises(mosaic.UsageError, match="`memory`"):
        mosaic.run(lambda x, t: 0 * x, steps=1, samples=1, memory="1G")
