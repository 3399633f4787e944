"""Measurements of the engines, each in a process of its own: `python -m mosaic.bench.engines CASE`."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from mosaic.bench.cluster import cluster_costs, run_on_workers
from mosaic.bench.training import training_throughput
from mosaic.device import instructions, peak_bytes, processor_name
from mosaic.engine.compiler import kernel_status
from mosaic.engine.compute import Compute
from mosaic.engine.ideal import ideal_posterior
from mosaic.engine.local import equivariant_local_posterior, local_posterior
from mosaic.engine.naive import naive_els
from mosaic.engine.windows import window_axis
from mosaic.errors import DataError, MosaicError, PluginError, UsageError
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet, balanced_subset
from mosaic.interfaces.options import Options
from mosaic.interfaces.schedule import Level
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry
from mosaic.run.batch import run_batch
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered
from mosaic.sampling.scales import preset_names

__all__ = ["ON_CLUSTERS", "ROWS", "Case", "cases", "machine", "measure", "share_of_ceilings"]

ROWS = ("flow", "ls", "is", "calibration", "scaling", "soft", "large", "naive", "training", "tasks", "workers")
ON_CLUSTERS = ("tasks", "workers")  # rows that need Dask; only measured if asked for

CALIBRATION_SCALES = (3, 5, 7, 9, 11, 13, 15, 17)

# Time at which the paper uses about this window (mnist-resnet-zeros), for single steps.
TIME_OF_SCALE = {3: 0.1, 5: 0.2, 7: 0.35, 9: 0.475, 11: 0.575, 13: 0.75, 15: 0.9, 17: 0.95}


class Case(Options):
    """One measurement, in a process of its own."""

    row: str = Field(description="What is measured: one of ROWS.")
    engine: str = Field("auto", description="Engine of LS and ELS.")
    dataset: str = Field("mnist", description="Training set.")
    dataset_options: dict[str, Any] = Field({}, description="Its options.")
    images: int = Field(2000, ge=1, description="Training images, drawn evenly from the classes.")
    samples: int = Field(1, ge=1, description="Samples computed together.")
    scales: str | None = Field(None, description="Locality scales of the flow.")
    labels: str | None = Field(None, description="Classes of the flow's samples.")
    scale: int = Field(9, ge=1, description="Window size of a single step.")
    workers: int = Field(0, ge=0, description="Processes of a cluster; 0 for none.")
    repeats: int = Field(3, ge=1, description="Repetitions.")
    data_dir: str | None = Field(None, description="Folder of data files.")


def cases(rows: Sequence[str], engines: Sequence[str], samples: Sequence[int], common: Mapping[str, Any]) -> list[Case]:
    """List all measurements of these rows, in order; `common` holds the other fields of each case."""
    measurements: list[Case] = []
    images = int(common["images"])
    for row in rows:
        for engine in {"is": ["torch"], "training": ["torch"], "tasks": ["auto"], "workers": ["auto"]}.get(
            row, engines
        ):
            case = {**common, "row": row, "engine": engine}
            if row == "flow":
                measurements += [Case(**case, samples=number) for number in samples]
            elif row == "ls":
                measurements += [Case(**case, scale=scale) for scale in (3, 17)]
            elif row == "is":
                measurements.append(Case(**case, samples=8))
            elif row == "scaling":
                sizes = sorted({min(images, size) for size in (1000, 6000, images)})
                plans = [(9, size, 1) for size in sizes] + [(k, sizes[0], 1) for k in (3, 15)] + [(9, sizes[0], 8)]
                measurements += [Case(**{**case, "scale": k, "images": n, "samples": b}) for k, n, b in plans]
            elif row == "soft":
                measurements += [Case(**{**case, "scale": k, "images": min(images, 1000)}) for k in (5, 9, 15)]
            elif row == "large":
                case |= {"images": min(images, 100), "dataset": "shapes"}
                case["dataset_options"] = {"count": case["images"], "size": 64}
                measurements += [Case(**{**case, "scale": k}) for k in (3, 9, 17, 33)]
            elif row == "tasks":
                measurements += [Case(**case, workers=workers) for workers in (1, 2)]
            elif row == "workers":
                for few in ({"samples": 8, "scale": 9, "images": min(images, 1000)}, {"samples": 1, "scale": 3}):
                    measurements += [Case(**{**case, **few, "workers": workers}) for workers in (0, 1, 2)]
            elif row == "naive":
                measurements += [Case(**{**case, "scale": k, "images": min(images, 200)}) for k in (3, 9, 15)]
            else:
                measurements.append(Case(**case))
    return measurements


def measure(case: Case) -> dict[str, Any]:
    """Run one case in a process of its own; seconds of each repetition, comparisons, peak memory in bytes.

    Raises
    ------
    MosaicError
        If it cannot be run, with its own message.
    """
    command = [sys.executable, "-m", "mosaic.bench.engines", case.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        kinds = {int(kind.exit_code): kind for kind in (UsageError, PluginError, DataError)}
        message = f"The measurement '{case.row}' failed: {lines[-1] if lines else 'no message'}"
        raise kinds.get(done.returncode, MosaicError)(message)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**case.model_dump(mode="json"), **result, "median_seconds": statistics.median(result["seconds"])}


def share_of_ceilings(result: Mapping[str, Any], machine: Mapping[str, Any]) -> float | None:
    """Time that the ceilings of the machine allow for all comparisons of a measurement, over the time it took.

    A comparison of windows of k x k pixels and C channels counts 2 C k^2 float32 operations and one power of two.
    Above 1 if an engine does not make every comparison: it may merge blank windows and skip those of negligible weight.
    None if no windows are compared.
    """
    if not result.get("flop"):
        return None
    products = result["flop"] / machine["flop_per_second"]
    powers = result["comparisons"] / machine["exp2_per_second"]
    return float((products + powers) / result["median_seconds"])


def machine() -> dict[str, Any]:
    """Describe the machine of the measurements, with its ceilings, measured now."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": instructions(),
        "torch": torch.__version__,
        "compiled_engine": kernel_status(),
        **_ceilings(),
    }


def _times(work: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return seconds


def _level(scale: int) -> Level:
    """Level of the cosine schedule at which the paper uses about this scale."""
    time_of = TIME_OF_SCALE[min(TIME_OF_SCALE, key=lambda known: abs(known - scale))]
    signal = math.cos(math.pi / 2 * time_of / 1.008)
    return Level(signal, math.sqrt(1 - signal**2))


def _noisy(images: Tensor, level: Level, count: int) -> Tensor:
    noise = torch.randn(
        count, *images.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu"
    )
    places = torch.arange(count, dtype=torch.int64, device="cpu") % len(images)
    return level.signal * images[places] + level.noise * noise


def pairs(shape: Sequence[int], scale: int) -> int:
    """Window comparisons of one sample with one training image, for boundary `zeros`."""
    rows, cols = (window_axis(size, scale, "zeros") for size in shape[-2:])
    return rows.pairs * cols.pairs


def _run(case: Case) -> dict[str, Any]:
    if case.row == "tasks":
        return {**cluster_costs(case.workers, case.repeats), "comparisons": 0}
    dataset = _load(case)
    return {**_measured(case, dataset), "images": len(dataset)}


def _measured(case: Case, dataset: DataSet) -> dict[str, Any]:
    images, compute = dataset.images[:], Compute(case.engine)  # what is measured is no reading
    level = _level(case.scale)
    x = _noisy(images, level, case.samples)
    if case.row == "workers":
        return _on_workers(case, images)
    if case.row == "soft":
        return _soft(case, dataset, x)
    if case.row == "flow":
        return _flow(case, dataset, x)
    if case.row == "training":
        return training_throughput(dataset, 64, 32, 2 * case.repeats + 1)
    if case.row == "is":
        pixels = images.shape[2] * images.shape[3]
        return _step(case, images, {pixels: len(images)}, lambda: ideal_posterior(x, images, level))
    if case.row == "ls":
        each = {case.scale**2: len(images) * images.shape[2] * images.shape[3]}
        return _step(case, images, each, lambda: local_posterior(x, images, level, case.scale, compute=compute))
    if case.row == "calibration":
        return _calibration(case, images, compute)
    each = {case.scale**2: len(images) * pairs(images.shape, case.scale)}
    work = partial(equivariant_local_posterior, x, images, level, case.scale, compute=compute)
    result = _step(case, images, each, work)
    if case.row == "naive":
        plain = _times(lambda: naive_els(x, images, level, case.scale, product=True), case.repeats)
        result |= {"naive_seconds": plain, "ratio": statistics.median(plain) / statistics.median(result["seconds"])}
    return result


def _flow(case: Case, dataset: DataSet, x: Tensor) -> dict[str, Any]:
    """Measure the reverse flow of one batch."""
    plan = _plan(case, dataset)
    plan.model.denoise(x[:1], _level(case.scale), plan.labels_of(range(1)), 3)  # loads the kernel, starts threads
    seconds = _times(partial(run_batch, plan, plan.batches[0]), case.repeats)
    each = {int(k) ** 2: plan.scales.count(k) * plan.model.traits.comparisons(k) for k in set(plan.scales)}
    amount = _amount(dataset.images[:1], each, plan.comparisons() / sum(each.values()))
    return {"seconds": seconds, **amount, "scales": list(plan.scales)}


def _soft(case: Case, dataset: DataSet, x: Tensor) -> dict[str, Any]:
    """Measure a step of soft ELS, and one of ELS at the same scale."""
    options, level = {"engine": case.engine}, _level(case.scale)
    soft, hard = (registry().make("score", name, options, dataset) for name in ("soft-els", "els"))
    result = _step(case, dataset.images[:1], {}, lambda: soft.denoise(x, level, None, case.scale))
    hard.denoise(x, level, None, case.scale)
    beside = _times(lambda: hard.denoise(x, level, None, case.scale), case.repeats)
    return {
        **result,
        "comparisons": case.samples * soft.traits.comparisons(case.scale),
        "extent": soft.traits.window(case.scale),
        "ratio": statistics.median(result["seconds"]) / statistics.median(beside),
    }


def _on_workers(case: Case, images: Tensor) -> dict[str, Any]:
    """Measure a run whose workers read the data themselves; no ceilings, which are those of one process."""
    named = {"dataset": case.dataset, "dataset_options": {**case.dataset_options, "limit": len(images)}}
    result = run_on_workers({**named, "data_dir": case.data_dir}, case.samples, case.scale, case.workers, case.repeats)
    return {**result, "comparisons": 2 * case.samples * len(images) * pairs(images.shape, case.scale)}


def _step(case: Case, images: Tensor, each: Mapping[int, int], work: Callable[[], object]) -> dict[str, Any]:
    work()  # loads the kernel, starts threads
    return {"seconds": _times(work, case.repeats), **_amount(images, each, case.samples)}


def _amount(images: Tensor, each: Mapping[int, int], samples: float = 1) -> dict[str, Any]:
    """Comparisons, and the float32 operations of their products; `each`: comparisons by pixels compared."""
    flop = sum(2 * images.shape[1] * pixels * comparisons for pixels, comparisons in each.items())
    return {"comparisons": round(samples * sum(each.values())), "flop": samples * flop}


def _calibration(case: Case, images: Tensor, compute: Compute) -> dict[str, Any]:
    """Measure ELS at every scale on the same x, one after the other."""
    level = _level(9)
    x = _noisy(images, level, 1)
    scales = [k for k in CALIBRATION_SCALES if k <= min(images.shape[2:])]
    single = {}
    for k in scales:
        seconds = _times(partial(equivariant_local_posterior, x, images, level, k, compute=compute), case.repeats)
        single[k] = statistics.median(seconds)
    return {
        "seconds": [sum(single.values())],
        **_amount(images, {k**2: len(images) * pairs(images.shape, k) for k in scales}),
        "single_seconds": single,
        "ratio_to_slowest_k": sum(single.values()) / max(single.values()),
    }


def _ceilings() -> dict[str, float]:
    """Measure the best rates of all cores together: float32 operations by convolution, and powers of two."""
    shapes = ((16, 16, 64, 64), (128, 16, 9, 9), (2**20,))
    images, filters, many = (torch.rand(shape, dtype=torch.float32, device="cpu") for shape in shapes)
    torch.conv2d(images, filters)
    products = 16 * 128 * 56 * 56 * 16 * 81
    convolution = min(_times(lambda: torch.conv2d(images, filters), 20))
    powers = min(_times(lambda: torch.exp2_(many), 60))
    return {"flop_per_second": 2 * products / convolution, "exp2_per_second": len(many) / powers}


def _load(case: Case) -> DataSet:
    access = DataAccess(Path(case.data_dir) if case.data_dir else None, False)
    dataset = load_dataset(case.dataset, case.dataset_options, access)
    if case.images >= len(dataset):
        return dataset
    return dataset.select(balanced_subset(len(dataset), case.images, 0, dataset.labels))


def _plan(case: Case, dataset: DataSet) -> Plan:
    settings: dict[str, Any] = {
        "score": "els",
        "score_options": {"engine": case.engine},
        "samples": case.samples,
        "batch_size": case.samples,
        "device": "cpu",
    }
    preset = f"paper/{case.dataset.split('_')[0]}-resnet-zeros"
    scales = case.scales or (preset if preset in preset_names() else None)
    settings |= {name: value for name, value in (("scales", scales), ("labels", case.labels)) if value}
    return prepare(layered(RunConfig, settings), DataAccess(), dataset=dataset)


if __name__ == "__main__":
    try:
        result = _run(Case.model_validate_json(sys.argv[1]))
    except MosaicError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(int(error.exit_code))
    sys.stdout.write(json.dumps({**result, "peak_bytes": peak_bytes()}) + "\n")
