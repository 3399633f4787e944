"""What two pixels attend to along a flow, in a machine and in a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.reproduction.attention.maps import machine_maps, network_maps
from mosaic.storage.trajectory import levels_of

STEPS = 4
PIXELS = [(0, 1), (0, 3)]  # of 6 x 5: row 6 // 8, columns 1 and 5 - 2


def machine_and_run(tiny: mosaic.DataSet, **options: Any) -> tuple[Any, xr.Dataset]:
    machine = mosaic.registry().make("score", "els-attention", options, tiny)
    run = mosaic.run("els-attention", tiny, score_options=options, samples=2, steps=STEPS, scales="3", labels="none")
    return machine, run


def test_a_machine_attends_by_the_softmax_of_centred_products(tiny: mosaic.DataSet) -> None:
    machine, run = machine_and_run(tiny, temperature=2.0)
    maps = machine_maps(machine, run)
    assert maps["alpha"].dims == ("moment", "pixel", "height", "width")
    assert maps["alpha"].shape == (STEPS, 2, 6, 5)
    assert maps["moment_time"].values.tolist() == run["time"].values.tolist()
    for step, level in enumerate(levels_of(run)):
        x = torch.from_numpy(run["state"].values[:1, step])
        x0hat = mosaic.registry().make("score", "els", {}, tiny).denoise(x, level, None, 3)
        eps = (x.double() - level.signal * x0hat.double()).numpy().reshape(30) / level.noise
        centred = eps - eps.mean()
        for number, (row, column) in enumerate(PIXELS):
            logits = centred[5 * row + column] * centred / 2.0
            expected = np.exp(logits - logits.max())
            actual = maps["alpha"].values[step, number].ravel()
            np.testing.assert_allclose(actual, expected / expected.sum(), rtol=2e-3, atol=1e-5)


def test_identity_attends_to_the_pixel_itself(tiny: mosaic.DataSet) -> None:
    alpha = machine_maps(*machine_and_run(tiny, attention="identity"))["alpha"].values
    expected = np.zeros((2, 6, 5))
    for number, place in enumerate(PIXELS):
        expected[(number, *place)] = 1
    np.testing.assert_array_equal(alpha, np.broadcast_to(expected, alpha.shape))


@pytest.mark.parametrize("kind", ["softmax", "top1"])
def test_a_network_attends_at_the_steps_nearest_to_the_times(tiny: mosaic.DataSet, kind: str) -> None:
    _, run = machine_and_run(tiny, attention="identity")
    options = {"channels": 4, "blocks": 1, "attention": kind}
    torch.manual_seed(0)
    module = mosaic.registry().make("network", "resnet-attention", options).build(1, 0).train()
    times = run["time"].values
    maps = network_maps(module, run, np.array([times[3] + 0.01, times[0] - 0.02, times[3]]))
    assert maps["moment_time"].values.tolist() == [times[3], times[0], times[3]]
    np.testing.assert_allclose(maps["alpha"].sum(["height", "width"]), 1, atol=1e-5)
    np.testing.assert_array_equal(maps["alpha"][0], maps["alpha"][2])
    assert not np.array_equal(maps["alpha"][0], maps["alpha"][1])
    if kind == "top1":  # as when it is used, not drawn at random as when it is trained
        assert set(np.unique(maps["alpha"])) == {0, 1}
