"""What our defaults of networks and trainings do, beside those of the authors' released code.

`python tests/support/variant_effects.py` trains a small ResNet on 500 digits in each way, from three seeds, and prints
the loss and the agreement with ELS.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import warnings
from typing import Any

import torch

import mosaic

RELEASED = {"network_options": {"variant": "released"}}

VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "variant=released": RELEASED,
    "ema=0": {"ema": 0},
    "times=grid": {"times": "grid"},
    "all three": {**RELEASED, "ema": 0, "times": "grid"},
}

CHANNELS, TIMES = 32, 20


def loss(network: mosaic.Checkpoint, data: mosaic.DataSet) -> float:
    """Mean squared error of eps over all images, at t = 1/20, 2/20, ..., 1, with the same noise for every network."""
    score, generator = mosaic.score(network, data), torch.Generator().manual_seed(0)
    losses = []
    for t in torch.linspace(1 / TIMES, 1, TIMES).tolist():
        level = score.schedule.level(t)
        eps = torch.randn(data.images.shape, generator=generator)
        losses.append(float((score.eps(level.signal * data.images + level.noise * eps, t=t) - eps).square().mean()))
    return statistics.mean(losses)


def agreement(network: mosaic.Checkpoint, data: mosaic.DataSet, samples: int) -> float:
    """Median pearson_r of final images with those of ELS, whose scales are calibrated on the network."""
    mosaic.calibrate(network, "els", data, samples=2, sizes="3,5,7,9", out="scales.nc", overwrite=True, progress=False)
    theory = mosaic.run("els", data, samples=samples, scales="scales.nc", progress=False)
    images = mosaic.run(mosaic.score(network, data), samples=samples, init=theory, progress=False)
    return float(
        mosaic.compare(theory, images, dataset=data, metrics="pearson_r")["pearson_r_median"].sel(compared="run")
    )


def effects(data: mosaic.DataSet, epochs: int, seeds: int, samples: int) -> dict[str, tuple[list[float], list[float]]]:
    """Losses and agreements of each variant, one a seed, in the current folder; prints a row each."""
    sys.stdout.write(f"{'':18}{'loss':>22}{'pearson_r with ELS':>26}\n")
    results: dict[str, tuple[list[float], list[float]]] = {}
    for number, (name, settings) in enumerate(VARIANTS.items()):
        options = {"channels": CHANNELS, **settings.get("network_options", {})}
        training = {"epochs": epochs, "progress": False, **settings, "network_options": options}
        networks = [
            mosaic.train("resnet", data, out=f"{number}-{seed}", seed=seed, **training) for seed in range(seeds)
        ]
        results[name] = [loss(each, data) for each in networks], [agreement(each, data, samples) for each in networks]
        losses, agreements = ("  ".join(f"{value:.3f}" for value in values) for values in results[name])
        sys.stdout.write(f"{name:18}{losses:>22}{agreements:>26}\n")
        sys.stdout.flush()
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore", mosaic.MosaicWarning)
    source = mosaic.registry().get("dataset", "digits")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        effects(source(source.Options(limit=500)).load(), epochs=200, seeds=3, samples=32)
