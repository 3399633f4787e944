"""`mosaic plot`: every kind of picture, and what cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from matplotlib.colors import to_rgb
from PIL import Image

import mosaic
from mosaic.view.provenance import PALE, PALETTE, draw_entropy, draw_sources, tile_colours

Invoke = Callable[..., Result]


def colours_in(path: str) -> set[tuple[int, ...]]:
    with Image.open(path) as picture:
        return {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}


def test_every_kind_is_drawn(invoke: Invoke) -> None:
    invoke("run", "--steps", 3, "--save", "provenance,entropy", "--save-steps", "all", "--out", "a.nc")
    for kind in ("flow", "images", "provenance", "entropy", "scales", "sources"):
        result = invoke("plot", "a.nc", kind, "--samples", "0,2")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"a-{kind}.png\n"
        assert len(colours_in(f"a-{kind}.png")) > 10
    assert tuple(round(255 * part) for part in to_rgb(PALETTE[0])) in colours_in("a-provenance.png")


def test_a_calibration_has_scales_but_nothing_else_to_draw(invoke: Invoke) -> None:
    assert invoke("plot", "a.nc", "flow").exit_code == 4
    mosaic.train("resnet", "digits", out="net", epochs=1, network_options={"channels": 4, "blocks": 1})
    mosaic.calibrate("net", out="s.nc", samples=1, sizes="3,5").close()
    assert invoke("plot", "s.nc", "scales").exit_code == 0
    assert "not a stored run" in invoke("plot", "s.nc", "flow").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("provenence",), "Did you mean 'provenance'"),
        (("provenance",), "run with --save provenance"),
        (("sources",), "run with --save provenance"),
        (("entropy",), "--save entropy"),
        (("scales",), "no locality scale"),
        (("provenance", "--samples", "9"), "--save provenance"),
        (("flow", "--samples", "9"), "samples 0 to 0"),
    ],
)
def test_what_a_run_does_not_hold_cannot_be_drawn(invoke: Invoke, arguments: tuple[str, ...], message: str) -> None:
    invoke("run", "--score", "is", "--steps", 2, "--samples", 1, "--save", "none", "--out", "a.nc")
    result = invoke("plot", "a.nc", *arguments)
    assert result.exit_code in (2, 4)
    assert message in result.stderr
    assert not list(Path().glob("a-*.png"))


def test_pixels_have_the_colour_of_their_source_image() -> None:
    image = np.array([[7, 7, 3], [3, 7, 9], [1, 2, 9]])
    multiplicity = np.array([[1, 1, 1], [1, 1, 5], [1, 1, 1]])
    colours, chosen = tile_colours(image, multiplicity)
    assert chosen == [7, 3, 1, 2, 9]
    for place in np.ndindex(3, 3):
        expected = "white" if multiplicity[place] > 1 else PALETTE[chosen.index(image[place])]
        assert tuple(colours[place]) == pytest.approx(to_rgb(expected))
    many, shown = tile_colours(np.arange(9).reshape(3, 3), np.ones((3, 3)))
    assert shown == list(range(6))
    assert tuple(many[2, 2]) == pytest.approx(PALE[2])


def test_what_is_drawn_is_what_the_run_holds(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=4, samples=3, scales="3", save="provenance,n_eff", save_steps="all")
    curve = draw_entropy(run, [0, 1]).subfigs[1].axes[0].lines[0]
    expected = run["n_eff"].isel(sample=[0, 1]).median(["sample", "height", "width"])
    np.testing.assert_allclose(curve.get_ydata(), expected)
    np.testing.assert_allclose(curve.get_xdata(), run["time"])
    bars = [bar.get_height() for bar in draw_sources(run).axes[0].patches]
    assert bars == run.mosaic.sources()["images"].values.ravel().tolist()
