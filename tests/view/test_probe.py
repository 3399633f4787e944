"""Pictures of probes: what is drawn where, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, pixels_of, texts_of

import mosaic
from mosaic.view.probe import draw_curves, draw_fields, draw_modes

LONG = "a score with a name that goes on and on for longer than there is room for beside the pictures"


def data(channels: int = 1, height: int = 8, width: int = 7) -> mosaic.DataSet:
    images = torch.rand(20, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return mosaic.DataSet("random", images)


def probed(dataset: mosaic.DataSet, names: tuple[str, ...] = ("els", "is"), samples: int = 2) -> xr.Dataset:
    scores = {name: mosaic.score(kind, dataset) for name, kind in zip(names, ("els", "is"), strict=False)}
    return mosaic.probe(scores, times=[0.9, 0.001, 0.4], samples=samples, modes=3, progress=False)


@pytest.mark.parametrize(
    ("shape", "names", "samples"),
    [((3, 4, 9), (LONG, "b"), 1), ((1, 9, 4), ("a",), 3)],
)
def test_every_picture_can_be_read(shape: tuple[int, int, int], names: tuple[str, ...], samples: int) -> None:
    probe = probed(data(*shape), names, samples)
    for figure in (draw_curves(probe), draw_fields(probe), draw_modes(probe, range(min(samples, 2)))):
        check_readable(figure)


def test_curves_are_medians_over_time_and_dots_samples() -> None:
    probe = probed(data(), samples=3)
    curl = draw_curves(probe).axes[0]
    line, dots, *_ = (each for each in curl.lines)
    ordered = probe["curl"].isel(score=0).sortby("time")
    assert line.get_xdata().tolist() == [0.001, 0.4, 0.9]
    np.testing.assert_allclose(line.get_ydata(), ordered.median("sample"))
    np.testing.assert_allclose(dots.get_ydata(), ordered.isel(sample=0))
    assert "similarity" in "".join(texts_of(draw_curves(probe)))
    assert "similarity" not in "".join(texts_of(draw_curves(probed(data(), ("els",)))))


def test_fields_are_means_over_samples_in_rows_by_score() -> None:
    probe = probed(data())
    axes = draw_fields(probe).axes
    for place, (row, column) in enumerate(np.ndindex(2, 3)):
        field = probe["field"].values[row, column].mean(0)
        np.testing.assert_allclose(pixels_of(axes[place]), np.maximum(field / field.max(), 1e-3))
    assert len(draw_fields(probe, columns=2).axes) == 2 * 2 + 1


def test_modes_are_drawn_beside_their_image_with_their_eigenvalues() -> None:
    probe = probed(data())
    figure = draw_modes(probe, [1], columns=2)
    assert len(figure.axes) == 3 * 2 * 3
    first = figure.axes[0:3]
    assert first[1].get_title() == f"{float(probe['eigenvalue'].values[0, 0, 1, 0]):.2f}"
    vector, colours = probe["eigenvector"].values[0, 0, 1, 0, 0], pixels_of(first[1])
    top = np.unravel_index(vector.argmax(), vector.shape)
    assert colours[top][0] > colours[top][2] or vector.max() < -vector.min()  # red for what is positive
    low = np.unravel_index(vector.argmin(), vector.shape)
    assert colours[low][2] > colours[low][0] or vector.max() > -vector.min()
    vanished = figure.axes[3 * 3 + 1]  # of IS at little noise, which has none
    assert np.ptp(pixels_of(vanished)) < 0.02
    with pytest.raises(mosaic.UsageError, match="2"):
        draw_modes(probe, [2])
