"""What a run needs of memory, and how many tiles fit a budget at a time.

The sizes of tiles never depend on memory, so neither do the numbers of a run: a smaller budget means fewer tiles at a
time, and a slower run.
"""

from __future__ import annotations

import copy
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import torch

from mosaic.errors import UsageError
from mosaic.machine import AnalyticMachine
from mosaic.plan import Plan
from mosaic.saving import saved_bytes

__all__ = ["fit", "parse_memory", "peak_bytes", "physical_memory", "predict_memory"]

CPU = torch.device("cpu")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# Interpreter, torch and xarray, as loaded (measured with the CPU build of torch: 290 MiB; 365 MiB once MNIST was read).
PROGRAM = 384 * 2**20

# Bytes that a thread needs for each logit of a tile, at most: logits in float64, their products, weights and copies;
# the reference engine cuts out windows, too.
BYTES_PER_LOGIT = {"torch": 128, "reference": 640}


def parse_memory(text: str) -> int:
    """Read a size such as 2G, 500M, 1.5GiB or a number of bytes.

    Raises
    ------
    UsageError
        If it is no size.
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = 0 if found is None else int(float(found[1]) * UNITS[found[2].upper()])
    if size == 0:
        raise UsageError(f"--memory '{text}' is no size; write 2G, 500M (powers of 1024) or a number of bytes.")
    return size


# Where Linux tells how much memory this process's container may take: a number of bytes, or "max".
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def physical_memory() -> int | None:
    """Bytes of memory this machine has, or this container may take; None where the system does not tell."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(installed, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):
        return installed


def predict_memory(plan: Plan) -> dict[str, int]:
    """Bytes, at most, of the program, the training set, the trajectory, what the machine holds besides, and a thread's.

    The training set counts twice, for the moment it is read, and the trajectory twice, for the moment it is joined.
    """
    pixels = plan.dataset.images[0].numel()
    element = 8 if plan.config.dtype == "float64" else 4
    kept = plan.samples * len(plan.levels) * saved_bytes(plan.save, plan.dataset.shape, element)
    return {
        "program": PROGRAM,
        "dataset": 2 * plan.dataset.images.numel() * plan.dataset.images.element_size(),
        "trajectory": 2 * (plan.samples * 2 * len(plan.levels) * pixels * element + kept),
        "machine": _held(plan, element),
        "thread": _workspace(plan),
    }


def _held(plan: Plan, element: int) -> int:
    if not isinstance(plan.model, AnalyticMachine):
        return 0
    return plan.model.held_bytes(len(plan.batches[0]), max(plan.scales), element)


def _workspace(plan: Plan) -> int:
    """Bytes a thread needs at most, whatever the number of training images."""
    if not isinstance(plan.model, AnalyticMachine):
        return 0
    batch, (channels, height, width) = len(plan.batches[0]), plan.dataset.shape
    engine = plan.model.engine(plan.dtype).partition(" ")[0]
    if engine == "compiled":
        # Registers of 64 bytes: a block of images and of window products, sums and biases; frames may wrap.
        side = [size + max(plan.scales) + 16 for size in (height, width)]
        registers = (channels + 1) * side[0] * side[1] + side[1] ** 2 + batch * (1 + channels) * height * width
        return 2**23 + 64 * registers + 8 * 4 * batch * (4 + channels) * height * width
    window = channels * min(max(plan.scales) ** 2, height * width) if plan.model.has_scale else 0
    return BYTES_PER_LOGIT[engine] * plan.model.compute.tile_on(plan.device) + 2 * 8 * batch * height * width * window


def fit(plan: Plan, memory: str | None = None) -> Plan:
    """Limit a run's tiles at a time to what fits a budget of the machine's memory; on a GPU nothing is limited.

    Parameters
    ----------
    memory : str, optional
        The budget, such as 2G; by default a quarter of the machine's memory, where the system tells it.

    Raises
    ------
    UsageError
        If not even one tile at a time fits.
    """
    physical = physical_memory()
    budget = parse_memory(memory) if memory is not None else physical // 4 if physical is not None else None
    if budget is None or plan.device.type != "cpu":
        return plan
    if not isinstance(plan.model, AnalyticMachine):
        note = f"--memory does not limit score model '{plan.config.score}'."
        return plan if memory is None else replace(plan, notes=(*plan.notes, note))
    need = predict_memory(plan)
    fixed = sum(size for name, size in need.items() if name != "thread")
    workers = (budget - fixed) // max(1, need["thread"])
    if workers < 1:
        parts = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in need.items())
        raise UsageError(
            f"This run needs {sum(need.values()) / 2**20:.0f} MiB ({parts}), more than the {budget / 2**20:.0f} MiB of "
            f"--memory{'' if memory else ' (by default a quarter of what the machine has)'}; allow more, or make the "
            f"largest of these smaller: fewer training images, a smaller --batch-size, -o score.engine=compiled."
        )
    model = copy.copy(plan.model)
    model.compute = replace(model.compute, workers=min(workers, torch.get_num_threads()))
    return replace(plan, model=model)


def peak_bytes(device: torch.device = CPU) -> int | None:
    """Peak memory of this process so far, program and data included; None where the system does not tell.

    On a GPU, that of the tensors there.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # Linux's own count of a process: what getrusage tells starts from that of the parent
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
