"""The equivariance error in the interior: of ELS, of theories that know their place, and of convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mosaic
from mosaic.evaluate.probe.measures import seeded_shifts
from mosaic.interfaces.data_source import DataAccess
from mosaic.registry.data import load_dataset
from mosaic.reproduction.training.equivariance import SHIFTS, TIMES, Moment, interior_errors, moments_of


@pytest.fixture(scope="module")
def data() -> mosaic.DataSet:
    return load_dataset("digits", {"limit": 20}, DataAccess())


@pytest.fixture(scope="module")
def moments(data: mosaic.DataSet) -> list[Moment]:
    return moments_of(data, mosaic.score("els", data, scales=3), seed=4)


def test_x_are_noisy_training_images_at_each_time(data: mosaic.DataSet, moments: list[Moment]) -> None:
    run = mosaic.run("is", data, samples=16, seed=4, steps=1)
    noise = run["state"].values[:, 0] / float(run["noise"][0])  # the noise that runs start from
    assert [moment.window for moment in moments] == [3] * len(TIMES)
    for moment, t in zip(moments, TIMES, strict=True):
        angle = np.pi / 2 * t / 1.008
        expected = np.cos(angle) * data.images[:16].numpy() + np.sin(angle) * noise
        np.testing.assert_allclose(moment.x.numpy(), expected, atol=1e-5)


def test_els_commutes_with_shifts_there_and_ls_does_not(data: mosaic.DataSet, moments: list[Moment]) -> None:
    assert interior_errors(mosaic.score("els", data, scales=3), moments, None, 4).max() < 1e-4
    assert interior_errors(mosaic.score("ls", data, scales=3), moments, None, 4).min() > 1e-2


def test_the_error_is_that_of_each_shift_and_pixel(data: mosaic.DataSet, moments: list[Moment]) -> None:
    ls, moment = mosaic.score("ls", data, scales=3), moments[1]
    own = ls.eps(moment.x, level=moment.level).numpy()
    squares: list[list[float]] = [[] for _ in own]
    for rows, columns in seeded_shifts(4, SHIFTS, 8, 8):
        shifted = ls.eps(moment.x.roll((rows, columns), (2, 3)), level=moment.level).numpy()
        for i in range(1, 7):  # windows of 3 pixels lie in an image of 8
            for j in range(1, 7):
                if 1 <= i - rows < 7 and 1 <= j - columns < 7:  # and did before
                    for sample, values in enumerate(squares):
                        values.append((shifted[sample, 0, i, j] - own[sample, 0, i - rows, j - columns]) ** 2)
    size = np.sqrt(np.square(own).mean((1, 2, 3)))
    expected = np.sqrt(np.mean(squares, 1)) / size
    np.testing.assert_allclose(interior_errors(ls, moments, None, 4)[1], expected, rtol=1e-5)


def test_convolutions_know_their_place_within_their_receptive_field_only(
    data: mosaic.DataSet, moments: list[Moment]
) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 1, 3, padding=1, dtype=torch.float32, device="cpu") for _ in range(2)]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.layers(x)

    network = mosaic.score(Net(), data)
    at = [Moment(moment.level, moment.x, window) for moment, window in zip(moments, (3, 5, 7, 9), strict=True)]
    errors = interior_errors(network, at, None, 4)
    assert errors[0].min() > 1e-3
    assert errors[1].max() < 1e-5  # two layers of 3 x 3 see 5 x 5
    assert np.isnan(errors[3]).all()  # no such window lies inside
