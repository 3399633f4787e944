"""Devices, memory and processors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mosaic.device import peak_bytes, physical_memory


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


def test_the_peak_of_a_process_is_its_own() -> None:
    """Not that of a parent which is larger: getrusage would tell its."""
    ballast = torch.ones(2**27)  # 512 MiB
    command = [sys.executable, "-c", "from mosaic.device import peak_bytes; print(peak_bytes())"]
    output = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    own = peak_bytes()
    assert own is not None
    assert own > ballast.numel() * 4
    assert 2**26 < output < own - ballast.numel() * 3
