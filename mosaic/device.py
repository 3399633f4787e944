"""What a computation runs on: devices, precision, threads, memory, and interrupts that must wait."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache, reduce
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from mosaic.errors import MosaicError, UsageError, warn_of

__all__ = [
    "accumulator_dtype",
    "begin_work",
    "chosen_device",
    "device_name",
    "instructions",
    "interrupts_held",
    "limited_threads",
    "multiplies_bfloat16",
    "peak_bytes",
    "physical_memory",
    "processor_name",
    "single_threaded",
    "standard_torch",
    "thread_limit",
]

CPU = torch.device("cpu")
CPUINFO = Path("/proc/cpuinfo")

# Where Linux tells how much memory this process's container may take: a number of bytes, or "max".
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def chosen_device(name: str, dtype: str, given: torch.device | None) -> torch.device:
    """Choose the device called `name`; `auto` is the device of the objects given, else cuda if available, else cpu.

    Raises
    ------
    UsageError
        If it cannot be used here with `dtype`.
    """
    if name == "auto":
        return given or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device, dtype=getattr(torch, dtype)).item()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"Device '{name}' cannot be used here with {dtype}: {reason}.") from None
    return device


def device_name(device: torch.device) -> str:
    """Name a device and the hardware behind it, for the record."""
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device} ({hardware})"


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """Precision of long sums: float64 on every device that has it."""
    return torch.float32 if device.type == "mps" else torch.float64


class _Setting(NamedTuple):
    """A global setting of torch that changes numbers: how to read and write it, and the values that are right here."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    right: tuple[Any, ...]


def _attribute(path: str, *right: Any) -> _Setting:
    """The setting at `torch.backends.PATH`."""
    *places, name = path.split(".")
    place = reduce(getattr, places, torch.backends)
    return _Setting(lambda: getattr(place, name), lambda value: setattr(place, name, value), right)


@cache
def _settings(tf32: bool) -> list[_Setting]:
    """All of them. Those of older torch come first: writing one also writes what has taken its place."""
    settings = [
        _Setting(torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
        _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, ("highest",)),
        _attribute("cudnn.allow_tf32", tf32),
        _attribute("cuda.matmul.allow_fp16_reduced_precision_reduction", True),
        _attribute("cuda.matmul.allow_bf16_reduced_precision_reduction", True),
    ]
    if torch.backends.mkldnn.is_available():
        settings.append(_attribute("mkldnn.enabled", True))
    if hasattr(torch.backends, "fp32_precision"):  # from torch 2.9 on
        full, convolutions = ("ieee", "none"), ("cudnn.conv", "cudnn.rnn")
        kinds = ("cuda.matmul", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
        settings += [_attribute(f"{kind}.fp32_precision", *full) for kind in kinds]
        settings += [_attribute(f"{kind}.fp32_precision", *(("tf32",) if tf32 else full)) for kind in convolutions]
    return settings


def _read(setting: _Setting) -> Any:
    try:
        return setting.read()
    except RuntimeError:  # torch refuses to say how an older setting stands once a newer one has been used
        return None


class _Standard:
    """The settings of torch while at least one block of `standard_torch` is at work; they are those of all threads."""

    lock = threading.RLock()
    blocks: ClassVar[list[bool]] = []  # `tf32` of each, the latest last
    before: ClassVar[list[tuple[_Setting, Any]]] = []  # what the caller had set when the first one began

    @classmethod
    def enter(cls, tf32: bool) -> None:
        with cls.lock:
            if not cls.blocks:
                cls.before = [(each, value) for each in _settings(tf32) if (value := _read(each)) is not None]
            cls.blocks.append(tf32)
            cls._apply()

    @classmethod
    def leave(cls, tf32: bool) -> None:
        with cls.lock:
            del cls.blocks[len(cls.blocks) - 1 - cls.blocks[::-1].index(tf32)]
            if cls.blocks:
                cls._apply()
                return
            for setting, value in cls.before:
                if _read(setting) != value:
                    setting.write(value)

    @classmethod
    def _apply(cls) -> None:
        for setting in _settings(cls.blocks[-1]):
            value = _read(setting)
            if value is not None and value not in setting.right:
                setting.write(setting.right[0])


@contextmanager
def standard_torch(tf32: bool = False) -> Iterator[None]:
    """Compute as in a fresh process and in full float32, whatever torch has been told globally; also a decorator.

    Default dtype and device, precision of products, autocast, inference mode: none of them may change a number. What
    the caller has set comes back at the end, of the last block where several threads are in one.

    Parameters
    ----------
    tf32 : bool
        Whether convolutions on CUDA may use TensorFloat-32, torch's default, with errors of 1e-3 and more.

    Raises
    ------
    MosaicError
        In a process that was forked while mosaic was at work in another thread.
    """
    begin_work()
    kinds = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
    is_grad = torch.is_grad_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(is_grad))  # which leaving inference mode would turn on
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != CPU:  # only then: it makes every operation slower
            stack.enter_context(CPU)
        with interrupts_held():  # an interrupt in between would leave them as they are here
            _Standard.enter(tf32)
            stack.callback(_Standard.leave, tf32)
        yield


_one_at_a_time = threading.Lock()


@contextmanager
def single_threaded(stopped: Callable[[], bool] = lambda: False) -> Iterator[int]:
    """Let torch use one thread per operation inside the block; yields the number of threads it may use in all.

    One block is at work at a time; the next waits for it, unless `stopped()`.

    Raises
    ------
    KeyboardInterrupt
        If it has stopped waiting.
    """
    while not _one_at_a_time.acquire(timeout=0.1):
        if stopped():
            raise KeyboardInterrupt
    try:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)
    finally:
        _one_at_a_time.release()


_thread_limit: ContextVar[int | None] = ContextVar("thread_limit", default=None)


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Work on at most `count` blocks of candidates at a time (None: as many as torch has threads).

    This limits memory and does not change any number.
    """
    token = _thread_limit.set(count)
    try:
        yield
    finally:
        _thread_limit.reset(token)


def thread_limit() -> int | None:
    """Give the limit that `limited_threads` has set; None for none."""
    return _thread_limit.get()


def physical_memory() -> int | None:
    """Bytes of memory this machine has, or this container may take; None if the system does not say."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(installed, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):
        return installed


def peak_bytes(device: torch.device = CPU) -> int | None:
    """Peak memory of this process so far, program and data included; None if the system does not say.

    On a GPU, that of the tensors there.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # Linux's own count for this process: getrusage starts from the peak of the parent process
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def _processor() -> dict[str, str]:
    """Properties of the last processor in /proc/cpuinfo; empty if not on Linux."""
    if not CPUINFO.exists():
        return {}
    lines = (line.split(":", 1) for line in CPUINFO.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def processor_name() -> str:
    """Model name in /proc/cpuinfo; where there is none, what `platform` says of the processor or the machine."""
    return _processor().get("model name") or platform.processor() or platform.machine()


def instructions() -> list[str]:
    """List the instruction sets of the processor, among those that matter here; empty if not on Linux."""
    flags = _processor().get("flags", "").split()
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]


def multiplies_bfloat16() -> bool:
    """Whether the processor has products of bfloat16 numbers."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(instructions())


class _Forks:
    """Whether this process was forked, without the threads that torch had started; and from the midst of work."""

    forked = at_work = False

    @classmethod
    def note_child(cls) -> None:
        cls.forked, cls.at_work = True, cls.at_work or bool(_Standard.blocks)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_Forks.note_child)


def begin_work() -> None:
    """Let torch use one thread in a process that was forked, and say so: it would wait for ever for those left behind.

    Raises
    ------
    MosaicError
        In a process that was forked while mosaic was at work: what another thread had locked stays locked.
    """
    if _Forks.at_work:
        raise MosaicError(
            "This process was forked while mosaic was at work in another thread, and would wait for ever for what that "
            "had locked; start it with the method 'spawn', as multiprocessing.get_context('spawn') does."
        )
    if _Forks.forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        warn_of(
            [
                "This process was forked, and torch's threads were not: it works with one. Start it with the method "
                "'spawn', as multiprocessing.get_context('spawn') does, to use more."
            ]
        )


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C, however often it is pressed, until the block ends; yields a function that says whether it was.

    Then the handler that was there is called; Python's own raises KeyboardInterrupt. If another one returns, or holds
    in its turn, the program goes on: work that has stopped early because of an interrupt must raise KeyboardInterrupt
    itself. Outside the main thread, where Python receives no signals, nothing is held.
    """
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(handler):  # the system's own, or none
        yield lambda: False
        return
    heard = False

    def hold(number: int, frame: Any) -> None:
        nonlocal heard
        heard = True

    signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: heard
    finally:
        signal.signal(signal.SIGINT, handler)
        if heard:
            handler(signal.SIGINT, None)
