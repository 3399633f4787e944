"""The picture of a generalization gap: what is drawn of each score and set, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, texts_of
from matplotlib.axes import Axes

import mosaic
from mosaic.view.colours import PALETTE
from mosaic.view.generalization import FLOOR, draw_losses

LONG = "a score with a name that goes on and on for longer than there is room for beside the pictures"


def result(names: tuple[str, ...] = ("is", "gaussian"), **more: bool) -> xr.Dataset:
    images = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    training, others = mosaic.DataSet("random", images[:10]), mosaic.DataSet("random", images[10:])
    scores = {name: mosaic.score(kind, training) for name, kind in zip(names, ("is", "gaussian"), strict=False)}
    times = [0.9, 0.05, 0.4]
    return mosaic.generalization(scores, held_out=others, times=times, samples=5, progress=False, **more)


def lines_of(axis: Axes, colour: str) -> dict[str, np.ndarray]:
    """Values of the lines of a colour, by their style."""
    return {
        str(line.get_linestyle()): np.asarray(line.get_ydata()) for line in axis.lines if line.get_color() == colour
    }


def test_styles_are_sets_and_colours_scores() -> None:
    gap = result(leave_one_out=True)
    ordered = gap.sortby("time")
    above, below = draw_losses(gap).axes
    for number, name in enumerate(("is", "gaussian")):
        drawn = lines_of(above, PALETTE[number])
        kinds = {"-": "training", "--": "held_out", **({":": "left_out"} if name == "is" else {})}
        assert drawn.keys() == kinds.keys()
        for style, kind in kinds.items():
            np.testing.assert_allclose(drawn[style], ordered["loss_mean"].sel(score=name, set=kind))
        (values,) = lines_of(below, PALETTE[number]).values()
        np.testing.assert_allclose(values, ordered["gap"].sel(score=name))
    assert above.get_yscale() == "log"
    low, high = above.get_ylim()
    most = float(gap["loss_mean"].max())
    assert FLOOR * most / 2 < low < high
    grey = [line for line in above.lines if line.get_color() == "0.6"]
    np.testing.assert_allclose(grey[1].get_ydata(), ordered["reference_loss_mean"].values[1, 1])


@pytest.mark.parametrize("names", [("a",), (LONG, "b")])
def test_it_can_be_read(names: tuple[str, ...]) -> None:
    figure = draw_losses(result(names))
    check_readable(figure)
    texts = " ".join(texts_of(figure))
    assert "held-out images" in texts
    assert "left out" not in texts


def test_results_know_their_picture() -> None:
    gap = result(("is",))
    assert dir(gap.mosaic.plot) == ["losses"]
    gap.mosaic.plot.losses()
    with pytest.raises(mosaic.DataError, match="reference_loss_mean"):
        gap.drop_vars("reference_loss_mean").mosaic.plot.losses()
