"""The memory of networks, told without evaluating them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import SMALL, train
from torch import Tensor, nn

import mosaic
from mosaic.device import peak_bytes
from mosaic_plugins.footprint import TRACING, network_memory


def test_tensors_count_while_they_are_alive() -> None:
    """Four maps of 8 channels in a row: two are alive at a time, each 8 x 32 x 32 numbers for each of 2 images."""

    class Sequence(nn.Sequential):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Any:
            return super().forward(x)

    module = Sequence(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.ReLU(), nn.ReLU())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for dtype, copies in ((torch.float32, 2), (torch.float64, 10)):
        x, one = (2 * channels * 32 * 32 * dtype.itemsize for channels in (1, 8))
        expected = 3 * 80 * dtype.itemsize + (2 + copies) * one + 6 * x
        times = 2 * (dtype.itemsize + 8)  # of each sample a time and, if it has one, a label
        for is_conditional in (False, True):
            needed = network_memory(module, (2, 1, 32, 32), dtype, is_conditional)
            assert needed is not None
            assert needed.block == 0
            assert expected <= needed.held - TRACING <= expected + times
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_network_that_needs_numbers_is_not_told() -> None:
    class Conditional(nn.Module):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
            return x if float(x.sum()) > 0 else -x

    assert network_memory(Conditional(), (1, 1, 4, 4), torch.float32, False) is None


def test_a_run_of_a_network_obeys_its_budget(tiny: mosaic.DataSet) -> None:
    train(tiny, epochs=1)
    options = {"score_options": {"checkpoint": "net"}, "steps": 1, "samples": 2}
    free = mosaic.run("network", tiny, **options)
    assert mosaic.run("network", tiny, memory="1G", **options)["image"].equals(free["image"])
    with pytest.raises(mosaic.UsageError, match="MiB"):
        mosaic.run("network", tiny, memory="200M", **options)


WHOLE = """
import mosaic
from mosaic.device import peak_bytes
work = {"run": lambda memory: mosaic.run("network", "digits", score_options={"checkpoint": "net"}, memory=memory),
        "calibrate": lambda memory: mosaic.calibrate("net", memory=memory, sizes="3")}["%s"]
try:
    work("1M")
except mosaic.UsageError as error:
    budget = int(str(error).split("needs ")[1].split()[0]) + 1
work(f"{budget}M")
print(peak_bytes() / 2**20, budget)
"""


@pytest.mark.system
@pytest.mark.parametrize("command", ["run", "calibrate"])
def test_a_process_with_a_network_obeys_the_smallest_budget_that_it_accepts(command: str) -> None:
    mosaic.train("resnet", "digits", out="net", epochs=1, **{**SMALL, "batch_size": 512})
    done = subprocess.run([sys.executable, "-c", WHOLE % command], capture_output=True, text=True, check=True)
    used, budget = map(float, done.stdout.split())
    assert budget / 2 < used <= budget


PROBE = """
import sys, torch
from mosaic.device import peak_bytes
from mosaic_plugins.footprint import TRACING, network_memory
from mosaic_plugins.networks import UNet
torch.set_num_threads(1)
dtype, batch = getattr(torch, sys.argv[1]), int(sys.argv[2])
module = UNet(UNet.Options()).build(1, 0).eval().to(memory_format=torch.channels_last)
x = torch.zeros(batch, 1, 28, 28, dtype=dtype)
with torch.no_grad():
    module(x[:1].float(), x.new_full((1,), 0.5).float(), None)
    predicted = network_memory(module, x.shape, dtype, False)[0] - TRACING
    before = peak_bytes()
    module.to(dtype)(x, x.new_full((batch,), 0.5), None)
print(peak_bytes() - before, predicted)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "batch"), [("float32", 64), ("float64", 8)])
def test_a_network_takes_no_more_than_told(dtype: str, batch: int, tmp_path: Path) -> None:
    if peak_bytes() is None:
        pytest.skip("the system does not tell the peak of a process")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, dtype, str(batch)], capture_output=True, text=True, check=True, timeout=300
    )
    used, predicted = map(int, done.stdout.split())
    assert predicted / 5 < used <= predicted
