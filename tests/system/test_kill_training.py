"""SIGKILL and Ctrl-C during a training: what is on disk is usable, and resuming gives the same weights.

Kills at every single moment of storing are in tests/train/test_session.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import xarray as xr
from distributions import CLI
from safetensors.torch import load_file

import mosaic

pytestmark = pytest.mark.system
SMALL = ["-o", "network.channels=8", "-o", "network.blocks=1", "--batch-size", "64", "--epochs", "12"]
TRAIN = [*CLI, "train", "-q", "resnet", *SMALL, "--save-every", "0.05s"]


def test_a_killed_training_ends_in_the_same_weights_and_losses(tmp_path: Path, forking_python: str) -> None:
    subprocess.run([forking_python, *TRAIN, "--out", "whole"], check=True, stdout=subprocess.DEVNULL)
    state = tmp_path / "killed" / "training.safetensors"
    process = subprocess.Popen([sys.executable, *TRAIN, "--out", "killed"], stdout=subprocess.DEVNULL)
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(0.07)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    module = mosaic.load_checkpoint(tmp_path / "killed").load()
    assert module(torch.zeros(1, 1, 8, 8), torch.zeros(1), None).shape == (1, 1, 8, 8)
    steps = int(load_file("killed/training.safetensors")["step"])
    assert 0 < steps < 12 * 29
    subprocess.run([forking_python, *TRAIN, "--out", "killed", "--resume"], check=True, stdout=subprocess.DEVNULL)
    weights = load_file("whole/weights.safetensors"), load_file("killed/weights.safetensors")
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    with xr.open_dataset("whole/loss.nc") as whole, xr.open_dataset("killed/loss.nc") as killed:
        assert whole["loss"].values.tolist() == killed["loss"].values.tolist()
        assert whole.sizes["step"] == 12 * 29
    assert not list(Path("killed").glob("*.tmp"))


def test_an_interrupt_keeps_the_training_and_prints_the_command_that_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, *CLI, "train", "resnet", *SMALL, "--epochs", "100000", "--out", "net"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    )
    while not (tmp_path / "net" / "checkpoint.json").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert stdout == ""
    assert "--out net --resume" in stderr
    assert mosaic.load_checkpoint(tmp_path / "net").progress()["step"] > 0
