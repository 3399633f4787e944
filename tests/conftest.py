"""Fixtures that every test may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from quick_python import quick_python

import mosaic
from mosaic.disk import facts
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.reproduction.study.config import ReproduceConfig

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the processors
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))

collect_ignore = ["example_plugin"]  # a distribution of its own, installed and tested by test_distributions.py


CONFIGURATIONS = (mosaic.RunConfig, mosaic.TrainConfig, CalibrationConfig, ReproduceConfig)
SETTINGS = {"options", "memory"}.union(*(configuration.model_fields for configuration in CONFIGURATIONS))
VARIABLES = {"DASK_SCHEDULER_ADDRESS", *(f"MOSAIC_{setting.upper()}" for setting in SETTINGS)}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a folder of its own, without the user's settings, and without waiting for the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path / ".cache")
    for variable in VARIABLES & os.environ.keys():
        monkeypatch.delenv(variable)


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Call the command line in this process: invoke("run", "--steps", 5)."""
    from mosaic_cli.main import cli

    def call(*arguments: Any) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return call


@pytest.fixture(scope="session")
def forking_python() -> Iterator[str]:
    """A Python that forks a process which has loaded torch."""
    with quick_python() as program:
        yield program


@pytest.fixture(scope="module")
def quick_processes(forking_python: str) -> Iterator[None]:
    """Let `sys.executable`, by which tests and mosaic start processes, be that Python."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", forking_python)
        yield


@pytest.fixture
def tiny() -> mosaic.DataSet:
    """Twelve 6 x 5 images of three classes, smooth enough to resemble data."""
    rows, cols = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    phases = torch.arange(12.0)[:, None, None]
    images = torch.sin(0.7 * rows + 0.3 * phases) * torch.cos(0.9 * cols - 0.2 * phases)
    return mosaic.DataSet("tiny", images[:, None], torch.arange(12) % 3, ("a", "b", "c"))


@pytest.fixture
def tiny_file(tiny: mosaic.DataSet, tmp_path: Path) -> Path:
    """The same images as a .npz file for the command line."""
    path = tmp_path / "tiny.npz"
    assert tiny.labels is not None
    np.savez(path, images=tiny.images[:, 0].numpy(), labels=tiny.labels.numpy())
    return path


@pytest.fixture
def cosine_level() -> Callable[[float], mosaic.Level]:
    """A variance-preserving level of given noise."""
    return lambda noise: mosaic.Level(math.sqrt(1 - noise**2), noise)
