"""Devices, memory and processors, and torch's global settings."""

from __future__ import annotations

import ast
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.device import interrupts_held, peak_bytes, physical_memory, single_threaded, standard_torch
from mosaic.interfaces.data_source import DataAccess
from mosaic.registry.data import load_dataset


@pytest.mark.parametrize(("limit", "least"), [("4096\n", 4096), ("max\n", 2**20), (None, 2**20)])
def test_a_container_has_no_more_memory_than_its_limit(
    limit: str | None, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(limit)
    monkeypatch.setattr("mosaic.device.CONTAINER_LIMIT", path)
    actual = physical_memory()
    assert actual is not None
    assert actual == 4096 if least == 4096 else actual > least


def test_the_peak_on_a_gpu_is_that_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 7 if device.type == "cuda" else 0)
    assert peak_bytes(torch.device("cuda")) == 7


@pytest.mark.system
def test_the_peak_of_a_process_is_its_own() -> None:
    """Not that of a parent which is larger: getrusage would tell its."""
    ballast = torch.ones(2**27)  # 512 MiB
    command = [sys.executable, "-c", "from mosaic.device import peak_bytes; print(peak_bytes())"]
    output = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    own = peak_bytes()
    assert own is not None
    assert own > ballast.numel() * 4
    assert 2**26 < output < own - ballast.numel() * 3


DATASETS: dict[str, dict[str, Any]] = {"pairs": {"count": 20}, "shapes": {"count": 20}}


def with_float64() -> list[AbstractContextManager[object]]:
    return [
        changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
        changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
        torch.no_grad(),
    ]


def with_bfloat16() -> list[AbstractContextManager[object]]:
    return [
        changed(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
        changed(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True),
        torch.inference_mode(),
    ]


def on_meta() -> list[AbstractContextManager[object]]:
    return [changed(lambda: None, torch.set_default_device, "meta"), np.errstate(all="raise")]


def with_autocast() -> list[AbstractContextManager[object]]:
    return [torch.autocast("cpu", torch.bfloat16), torch.device("meta")]


def without_mkldnn() -> list[AbstractContextManager[object]]:
    place = torch.backends.mkldnn
    setting = changed(lambda: place.enabled, lambda value: setattr(place, "enabled", value), False)
    return [setting, torch.autocast("cpu", enabled=False)]


@contextmanager
def changed(read: Callable[[], Any], write: Callable[[Any], object], value: object) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def numbers(folder: Path) -> dict[str, str]:
    """Digests of what is computed: data sets, runs of machines of every kind, a training, a comparison."""
    digests = {name: load_dataset(name, options, DataAccess()).fingerprint() for name, options in DATASETS.items()}
    dataset = load_dataset("digits", {"limit": 12}, DataAccess())
    network = {"channels": 4, "blocks": 1}
    checkpoint = mosaic.train(
        "resnet", dataset, out=folder, epochs=1, batch_size=6, precision="float32", network_options=network
    )
    digests["weights"] = checkpoint.fingerprint()
    half = {"epochs": 2, "batch_size": 6, "precision": "bfloat16", "learning_rate": 0.1, "network_options": network}
    digests["weights of half precision"] = mosaic.train("resnet", dataset, out=f"{folder}-half", **half).fingerprint()
    cases: list[tuple[str, dict[str, Any]]] = [
        ("els", {"sampler": "ddpm", "save": "provenance,entropy", "labels": "random"}),
        ("els", {"score_options": {"engine": "torch"}}),
        ("ls", {"score_options": {"engine": "reference", "boundary": "circular"}, "dtype": "float64"}),
        ("es", {}),
        ("smoothed", {}),
        ("gaussian-mixture", {}),
        ("pca-locality", {}),
        ("patch-posterior", {}),
        ("els-attention", {"score_options": {"form": "mixture"}}),
        ("network", {"score_options": {"checkpoint": str(folder)}}),
    ]
    runs = [mosaic.run(score, dataset, steps=2, samples=2, **settings) for score, settings in cases]
    for (score, _), run in zip(cases, runs, strict=True):
        arrays = (f"{name} {run[name].dtype}".encode() + run[name].values.tobytes() for name in sorted(run.variables))
        digests[f"{len(digests)} {score}"] = hashlib.sha256(b"".join(arrays)).hexdigest()
    x = torch.linspace(-1, 1, 128, dtype=torch.float32, device="cpu").reshape(2, 1, 8, 8)
    for score, settings in cases:  # a score model by itself
        model = mosaic.registry().get("score", score)
        model = model(model.Options(**settings.get("score_options", {})), dataset)
        denoised = model.denoise(x, mosaic.Level(0.6, 0.8), None, 3)
        digests[f"{len(digests)} {score} alone"] = mosaic.digest_of(denoised)
    comparison = mosaic.compare(runs[1], runs[3], dataset=dataset)
    digests["comparison"] = hashlib.sha256(b"".join(v.values.tobytes() for v in comparison.values())).hexdigest()
    return digests


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return numbers(tmp_path_factory.mktemp("plain") / "net")


def global_state() -> list[Any]:
    backends = torch.backends
    return [
        torch.random.get_rng_state().tolist(),
        repr(np.random.get_state()),  # noqa: NPY002 - the state that everybody shares
        random.getstate(),
        np.geterr(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_float32_matmul_precision(),
        (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32),
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        torch.get_num_threads(),
    ]


@pytest.mark.parametrize("settings", [with_float64, with_bfloat16, on_meta, with_autocast, without_mkldnn])
def test_nothing_global_changes_a_number_or_is_changed(
    settings: Callable[[], list[AbstractContextManager[object]]], plain: dict[str, str], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for setting in settings():
            stack.enter_context(setting)
        torch.manual_seed(99)
        before = global_state()
        actual = numbers(tmp_path / "net")
        after = global_state()
    assert actual == plain
    assert after == before


FACTORIES = (
    *("arange", "as_tensor", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn"),
    *("randperm", "scalar_tensor", "tensor", "zeros"),
)


def test_every_tensor_is_made_with_a_dtype_and_on_a_device() -> None:
    """Those made like another tensor (`zeros_like`, `new_full`) or from an array have its own."""
    root, factories, vague = Path(mosaic.__file__).parents[1], [f"torch.{name}" for name in FACTORIES], []
    for file in (file for room in ("mosaic", "plugins", "data") for file in sorted((root / room).rglob("*.py"))):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            given = {keyword.arg for keyword in call.keywords}
            if ast.unparse(call.func) in factories and not {"dtype", "device"} <= given:
                vague.append(f"{file.relative_to(root)}:{call.lineno}: {ast.unparse(call)}")
    assert vague == []


PRECISIONS = """
from functools import reduce
import torch
from mosaic.device import standard_torch
for kind in ([], ["mkldnn", "matmul"], ["mkldnn", "conv"], ["cudnn", "conv"], ["cuda", "matmul"]):
    place = reduce(getattr, kind, torch.backends)
    place.fp32_precision = "tf32"
    with standard_torch():
        inside = {torch.backends.mkldnn.matmul.fp32_precision, torch.backends.mkldnn.conv.fp32_precision}
        inside |= {torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision}
        assert inside <= {"ieee", "none"}, (kind, inside)
    assert place.fp32_precision == "tf32"
    place.fp32_precision = "none"
"""


@pytest.mark.system
@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="settings of torch 2.9 and later")
def test_products_are_in_full_float32_and_settings_come_back() -> None:
    """In a process of its own: torch cannot take back that its older and newer settings have been mixed."""
    subprocess.run([sys.executable, "-c", PRECISIONS], check=True)


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """Python's own handler of Ctrl-C, also where the tests run in the background of a shell, which ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("times", [1, 3])
def test_interrupts_wait_for_the_end_of_a_block_however_many(times: int) -> None:
    heard: list[bool] = []

    def nested() -> None:
        with interrupts_held() as outer:
            with interrupts_held() as inner:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)
                heard.append(inner())
            heard.append(outer())

    with pytest.raises(KeyboardInterrupt):
        nested()
    assert heard == [True, True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_interrupts")
def test_an_interrupt_is_not_lost_with_a_failure() -> None:
    def failing() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        failing()


def test_another_handler_of_interrupts_is_called_after_the_block() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


FORKED = """
import os, signal, sys, warnings
import torch
import mosaic
from mosaic.device import standard_torch

def work(name):
    with mosaic.run("els", "digits", steps=2, samples=2, progress=False, out=f"{name}.nc") as run:
        image = run["image"].values.tobytes()
    training = {"batch_size": 512, "epochs": 1, "network_options": {"channels": 4, "blocks": 1}}
    mosaic.train("resnet", "digits", out=name, progress=False, **training)
    scales = mosaic.calibrate(name, "els", steps=2, samples=1, sizes="3,5", progress=False)["k"].values.tolist()
    nearest = mosaic.nearest_images(torch.zeros(1, 1, 8, 8), mosaic.run("is", steps=1).mosaic.training_set().images)
    return image, scales, nearest[0].tolist()

def child(task):
    if os.fork() == 0:
        signal.alarm(50)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            print(task(), [note.category.__name__ for note in told], torch.get_num_threads(), flush=True)
        os._exit(0)
    os.wait()

def refused():
    try:
        mosaic.run("is", "digits", steps=1, samples=1)
    except mosaic.MosaicError as error:
        return "'spawn'" in str(error)

torch.set_num_threads(2)
(torch.zeros(4_000_000) + 1).sum()  # starts torch's threads
child(lambda: work("before") and True)
here = work("here")
child(lambda: work("after") == here)
with standard_torch():
    child(refused)
child(lambda: child(lambda: work("below") == here))
"""


SPAWNED = """
import multiprocessing
import mosaic

def work(queue):
    with mosaic.run("els", "digits", steps=2, samples=2, progress=False) as run:
        queue.put(run["image"].values.tobytes())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    here, there = multiprocessing.SimpleQueue(), context.SimpleQueue()
    work(here)
    child = context.Process(target=work, args=(there,))
    child.start()
    print(there.get() == here.get())
    child.join()
"""


@pytest.mark.system
def test_work_in_a_spawned_process_gives_the_same_images(tmp_path: Path) -> None:
    (tmp_path / "spawned.py").write_text(SPAWNED)
    command = [sys.executable, "spawned.py"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout == "True\n"


@pytest.mark.system
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_work_in_a_forked_process_has_one_thread_and_gives_the_same_numbers() -> None:
    """Where only torch had worked before, and after work of ours; but not in its midst."""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=240, check=True
    ).stdout
    told = "True ['MosaicWarning'] 1"
    assert output.splitlines() == [told, told, "True [] 2", told, "None [] 2"]


def test_settings_come_back_when_the_last_of_several_threads_is_done() -> None:
    def within(begun: threading.Event, ends: threading.Event) -> torch.dtype:
        with standard_torch():
            begun.set()
            ends.wait(10)
            return torch.get_default_dtype()

    torch.set_default_dtype(torch.float64)
    try:
        events = [threading.Event() for _ in range(4)]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(within, events[0], events[1])
            events[0].wait(10)
            second = pool.submit(within, events[2], events[3])
            events[2].wait(10)
            events[1].set()
            assert first.result() == torch.float32
            events[3].set()
            assert second.result() == torch.float32  # though the first one has ended
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_block_within_another_may_differ_in_precision() -> None:
    allowed = []
    with standard_torch(tf32=True):
        with standard_torch():
            allowed.append(torch.backends.cudnn.allow_tf32)
        allowed.append(torch.backends.cudnn.allow_tf32)
    assert allowed == [False, True]


def test_who_waits_for_another_threads_work_stops_when_told() -> None:
    busy, ends = threading.Event(), threading.Event()

    def work() -> None:
        with single_threaded():
            busy.set()
            ends.wait(10)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work)
        busy.wait(10)
        with pytest.raises(KeyboardInterrupt), single_threaded(lambda: True):
            pass
        ends.set()
    with single_threaded() as threads:
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads
