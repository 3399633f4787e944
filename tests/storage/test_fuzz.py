"""Damaged files of every kind: what opens is whole in form, and what does not says so in one sentence."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mutations import mutated
from odd_json import odd_json
from small_training import train

import mosaic
from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.evaluate.compare import open_comparison
from mosaic.run.config import RunConfig
from mosaic.run.settings import from_file, layered
from mosaic.sampling.scales import resolve_scales
from mosaic.storage.files import write_netcdf
from mosaic.storage.output import Output
from mosaic.train.checkpoint import load_tensors

FEW_OR_MANY = pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.slow)])

Mutation = Callable[[bytes, random.Random], bytes]


def damaged(content: bytes, generator: random.Random) -> bytes:
    return mutated(content, content, generator)


def each_damage(path: Path, mutation: Mutation, count: int) -> Iterator[int]:
    """Damage a file in `count` ways, one after the other."""
    whole = path.read_bytes()
    for seed in range(count):
        path.write_bytes(mutation(whole, random.Random(seed)))
        yield seed
    path.write_bytes(whole)


def opened(work: Callable[[], Any]) -> Any:
    """What `work` gives; None if it fails, which it may only do with a sentence."""
    try:
        return work()
    except mosaic.MosaicError as error:
        message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    return None


@pytest.fixture
def run_file(tiny: mosaic.DataSet, tmp_path: Path) -> Path:
    mosaic.run("els", tiny, steps=3, samples=2, scales="3", out=tmp_path / "a.nc", progress=False).close()
    return tmp_path / "a.nc"


@FEW_OR_MANY
def test_a_damaged_run_opens_in_form_or_is_refused(run_file: Path, count: int) -> None:
    def read() -> bool:
        with mosaic.open(run_file) as run:
            run.load()
            assert run["state"].dims == ("sample", "step", "channel", "height", "width")
        return True

    results = [opened(read) for _ in each_damage(run_file, damaged, count)]
    assert None in results  # some damage is found
    assert read()


# What HDF5 keeps beside the values: headers of variables, with their attributes and filters, and indices of chunks.
STRUCTURES = (b"OHDR", b"OCHK", b"FHDB", b"FRHP", b"BTHD", b"BTLF", b"TREE", b"GCOL")


@FEW_OR_MANY
def test_a_run_whose_structure_is_damaged_holds_the_same_or_is_refused(run_file: Path, count: int) -> None:
    content = run_file.read_bytes()
    places = {kind: [found.start() for found in re.finditer(kind, content)] for kind in STRUCTURES}
    with mosaic.open(run_file) as run:
        whole = run.load()

    def flipped(content: bytes, generator: random.Random) -> bytes:
        damaged = bytearray(content)
        kind = generator.choice([kind for kind in STRUCTURES if places[kind]])
        place = generator.choice(places[kind]) + generator.randrange(300)
        damaged[min(place, len(damaged) - 1)] ^= 1 << generator.randrange(8)
        return bytes(damaged)

    def read() -> bool:
        with mosaic.open(run_file) as run:
            assert run.load().identical(whole)
        return True

    results = [opened(read) for _ in each_damage(run_file, flipped, 2 * count)]
    assert 0 < results.count(None) < len(results)


@FEW_OR_MANY
def test_a_damaged_run_is_resumed_only_if_it_can_be(run_file: Path, tiny: mosaic.DataSet, count: int) -> None:
    for _ in each_damage(run_file, damaged, count // 6):
        opened(lambda: Output(run_file, resume=True).kept_settings(RunConfig))
        opened(lambda: resolve_scales(str(run_file), [mosaic.Level(0.6, 0.8)]))


@FEW_OR_MANY
@pytest.mark.parametrize("name", ["identity.json", "part-00000.nc", "part-00000.sha256"])
@pytest.mark.filterwarnings("ignore::mosaic.MosaicWarning")
def test_work_in_progress_with_a_damaged_file_ends_in_the_same_bytes_or_is_refused(
    tiny: mosaic.DataSet, tmp_path: Path, name: str, count: int
) -> None:
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "steps": 2, "samples": 2, "batch_size": 1}
    whole, out, kept = mosaic.run(**settings), tmp_path / "a.nc", tmp_path / "kept"

    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith("batch 2"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mosaic.run(**settings, out=out, progress=stop)
    parts = tmp_path / "a.nc.parts"
    parts.rename(kept)

    def resume() -> None:
        with mosaic.run(**settings, out=out, resume=True, progress=False) as run:
            assert run["state"].values.tobytes() == whole["state"].values.tobytes()

    for _ in each_damage(kept / name, odd_json if name.endswith("json") else damaged, count // 10):
        shutil.rmtree(parts, ignore_errors=True)
        out.unlink(missing_ok=True)
        shutil.copytree(kept, parts)
        opened(resume)


@FEW_OR_MANY
def test_a_damaged_checkpoint_loads_in_form_or_is_refused(tiny: mosaic.DataSet, count: int) -> None:
    train(tiny, epochs=1)

    def use() -> None:
        checkpoint = mosaic.load_checkpoint("net")
        checkpoint.progress()
        assert checkpoint.load()(torch.zeros(1, 1, 6, 5), torch.ones(1), None).shape == (1, 1, 6, 5)

    use()
    for name, mutation in (("checkpoint.json", odd_json), ("weights.safetensors", damaged)):
        for _ in each_damage(Path("net", name), mutation, count // 3):
            opened(use)
    for _ in each_damage(Path("net/training.safetensors"), damaged, count // 3):
        opened(lambda: load_tensors(Path("net/training.safetensors")))


@FEW_OR_MANY
def test_damaged_scales_give_a_scale_or_are_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "scales.json"
    path.write_text('{"scales": [3, 5, 7], "noise_to_signal": [0.1, 1.0, 3.0]}')
    for _ in each_damage(path, odd_json, count):
        scales = opened(lambda: resolve_scales(str(path), [mosaic.Level(0.6, 0.8)]))
        assert scales is None or (len(scales) == 1 and scales[0] % 2 == 1)


@FEW_OR_MANY
def test_a_damaged_calibration_and_comparison_open_in_form_or_are_refused(tiny: mosaic.DataSet, count: int) -> None:
    train(tiny, epochs=1)
    mosaic.calibrate("net", "els", tiny, out="scales.nc", samples=2, steps=2, sizes="3,5", progress=False).close()
    runs = [mosaic.run(score, tiny, steps=2, samples=2, progress=False) for score in ("els", "is")]
    write_netcdf(mosaic.compare(*runs, dataset=tiny, progress=False), Path("comparison.nc"))

    def scales() -> list[int]:
        open_calibration("scales.nc").load().close()
        return resolve_scales("scales.nc", [mosaic.Level(0.6, 0.8)])

    assert scales()
    for _ in each_damage(Path("scales.nc"), damaged, count // 2):
        found = opened(scales)
        assert found is None or found[0] % 2 == 1
    for _ in each_damage(Path("comparison.nc"), damaged, count // 2):
        opened(lambda: open_comparison("comparison.nc").load().close())


@FEW_OR_MANY
def test_a_damaged_configuration_is_validated_or_refused(count: int) -> None:
    path = Path("run.toml")
    path.write_text('steps = 5\nscales = "3,5"\n[score]\nname = "els"\nboundary = "circular"\n[dataset]\nlimit = 50\n')
    assert layered(RunConfig, from_file(path, RunConfig)).dataset_options == {"limit": 50}
    for _ in each_damage(path, damaged, 5 * count):
        opened(lambda: layered(RunConfig, from_file(path, RunConfig)))
    path.write_text(f"steps = {'[' * 10**5}")
    with pytest.raises(mosaic.UsageError, match=r"run\.toml"):
        from_file(path, RunConfig)
