"""The memory of networks, told without evaluating them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_training import train
from torch import Tensor, nn

import mosaic
from mosaic.device import peak_bytes
from mosaic_plugins.footprint import network_bytes


def test_tensors_count_while_they_are_alive() -> None:
    """Four maps of 8 channels in a row: two are alive at a time, each 8 x 32 x 32 numbers for each of 2 images."""
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.ReLU(), nn.ReLU()]
    module = nn.Sequential(*layers)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for dtype, copies in ((torch.float32, 2), (torch.float64, 10)):
        x = torch.empty(2, 1, 32, 32, dtype=dtype, device="meta")
        one = 2 * 8 * 32 * 32 * dtype.itemsize
        assert network_bytes(module, x) == 3 * 80 * dtype.itemsize + (2 + copies) * one
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_network_that_needs_numbers_is_not_told() -> None:
    class Conditional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if float(x.sum()) > 0 else -x

    assert network_bytes(Conditional(), torch.empty(1, 1, 4, 4, device="meta")) is None


def test_a_run_of_a_network_obeys_its_budget(tiny: mosaic.DataSet) -> None:
    train(tiny, epochs=1)
    options = {"score_options": {"checkpoint": "net"}, "steps": 1, "samples": 2}
    free = mosaic.run("network", tiny, **options)
    assert mosaic.run("network", tiny, memory="1G", **options)["image"].equals(free["image"])
    with pytest.raises(mosaic.UsageError, match="MiB"):
        mosaic.run("network", tiny, memory="200M", **options)


PROBE = """
import sys, torch
from mosaic.device import peak_bytes
from mosaic_plugins.footprint import network_bytes
from mosaic_plugins.networks import UNet
torch.set_num_threads(1)
dtype, batch = getattr(torch, sys.argv[1]), int(sys.argv[2])
module = UNet(UNet.Options()).build(1, 0).eval().to(memory_format=torch.channels_last)
x = torch.zeros(batch, 1, 28, 28, dtype=dtype)
with torch.no_grad():
    module(x[:1].float(), x.new_full((1,), 0.5).float(), None)
    predicted = network_bytes(module, x.to("meta"), x.new_empty(batch, device="meta"), None)
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
