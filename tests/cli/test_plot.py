"""`mosaic plot`: every kind of picture, and what cannot be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from command_results import done, refused
from matplotlib.colors import to_rgb
from PIL import Image

import mosaic
from mosaic.view.colours import PALETTE
from mosaic.view.plot import Plots

Invoke = Callable[..., Result]


def colours_in(path: str) -> set[tuple[int, ...]]:
    with Image.open(path) as picture:
        return {colour for _, colour in picture.convert("RGB").getcolors(2**24)}


def test_every_kind_is_drawn(invoke: Invoke) -> None:
    invoke("run", "--steps", 3, "--save", "provenance,entropy", "--save-steps", "all", "--out", "a.nc")
    with mosaic.open("a.nc") as run:
        kinds = dir(run.mosaic.plot)
    assert kinds == ["entropy", "flow", "images", "provenance", "scales", "sources"]
    for kind in kinds:
        chosen = ("--samples", "0,2") if kind in ("flow", "provenance", "entropy") else ()
        assert done(invoke("plot", "a.nc", kind, *chosen)).stdout == f"a-{kind}.png\n"
        assert len(colours_in(f"a-{kind}.png")) > 10
    assert tuple(round(255 * part) for part in to_rgb(PALETTE[0])) in colours_in("a-provenance.png")


def test_the_help_names_every_kind(invoke: Invoke) -> None:
    text = invoke("plot", "--help").stdout
    for name in vars(Plots):
        assert name.startswith("_") or name in text


def test_flags_that_a_picture_does_not_depend_on_are_refused(invoke: Invoke) -> None:
    invoke("run", "--steps", 2, "--samples", 1, "--out", "a.nc")
    for kind, flags in (
        ("images", ("--samples", 0)),
        ("provenance", ("--columns", 3)),
        ("scales", ("--samples", 0, "--columns", 3)),
        ("flow", ("--data-dir", ".")),
    ):
        refused(invoke("plot", "a.nc", kind, *flags), 2, *flags[::2], f"'{kind}'")
    assert not Path("a-images.png").exists()


def test_comparisons_are_drawn_as_they_were_when_they_were_made(invoke: Invoke) -> None:
    few = ("-o", "dataset.limit=30", "--steps", 2, "--scales", "3")
    done(invoke("run", *few, "--samples", 2, "--out", "a.nc"))
    done(invoke("run", "--score", "ls", *few, "--init", "a.nc", "--out", "b.nc"))
    done(invoke("compare", "a.nc", "b.nc", "--metrics", "mse", "--out", "c.nc"))
    assert done(invoke("plot", "c.nc")).stdout == "c-images.png\n"
    assert Path("c-images.png").read_bytes() == Path("c.png").read_bytes()
    drawn = Path("c-agreement.png").read_bytes()
    done(invoke("plot", "c.nc", "agreement", "--overwrite"))
    assert Path("c-agreement.png").read_bytes() == drawn
    refused(invoke("plot", "c.nc", "sources"), 4, "c.nc'", "images, agreement")


def test_plot_draws_chosen_samples_and_keeps_what_is_there(invoke: Invoke) -> None:
    invoke("run", "--steps", 3, "--out", "a.nc")
    for samples, name in (("0", "small"), ("1,3", "large")):
        done(invoke("plot", "a.nc", "--samples", samples, "--out", f"{name}.png"))
    with Image.open("small.png") as small, Image.open("large.png") as large:
        assert large.height > 1.5 * small.height
    refused(invoke("plot", "a.nc", "--out", "small.png"), 2, "'small.png'", "--overwrite")
    done(invoke("plot", "a.nc", "--out", "small.png", "--overwrite"))
    refused(invoke("plot", "a.nc", "--samples", "4"), 2, "4", "3")
    done(invoke("plot", "a.nc", "--out", "flow.pdf"))
    assert Path("flow.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads(invoke("plot", "a.nc", "--json").stdout) == {"path": "a-flow.png"}


def test_fewer_columns_make_a_narrower_flow(invoke: Invoke) -> None:
    invoke("run", "--steps", 6, "--samples", 1, "--out", "a.nc")
    for columns in (2, 6):
        done(invoke("plot", "a.nc", "--columns", columns, "--out", f"{columns}.png"))
    with Image.open("2.png") as narrow, Image.open("6.png") as wide:
        assert wide.width > narrow.width + 4 * 120  # inches of 120 dots
    assert invoke("plot", "a.nc", "--columns", 1).exit_code == 2


def test_a_calibration_has_scales_but_nothing_else_to_draw(invoke: Invoke) -> None:
    assert invoke("plot", "a.nc", "flow").exit_code == 4
    mosaic.train("resnet", "digits", out="net", epochs=1, network_options={"channels": 4, "blocks": 1})
    mosaic.calibrate("net", out="s.nc", samples=1, sizes="3,5").close()
    done(invoke("plot", "s.nc", "scales"))
    refused(invoke("plot", "s.nc", "flow"), 4, "s.nc'", "'flow'", "scales")
    assert done(invoke("plot", "s.nc", "--overwrite")).stdout == "s-scales.png\n"


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        (("provenence",), 2, ["'provenence'", "'provenance'"]),
        (("provenance",), 4, ["--save provenance"]),
        (("sources",), 4, ["--save provenance"]),
        (("entropy",), 4, ["--save entropy"]),
        (("scales",), 4, ["flow, images"]),
        (("provenance", "--samples", "9"), 4, ["--save provenance"]),
        (("flow", "--samples", "9"), 2, ["9", "0 to 0"]),
        (("flow", "--samples", "first"), 2, ["--samples", "'first'"]),
        (("flow", "--out", "a.svg"), 2, ["--out", "'a.svg'", ".png", ".pdf"]),
    ],
)
def test_what_a_run_does_not_hold_cannot_be_drawn(
    invoke: Invoke, arguments: tuple[str, ...], code: int, values: list[str]
) -> None:
    invoke("run", "--score", "is", "--steps", 2, "--samples", 1, "--save", "none", "--out", "a.nc")
    refused(invoke("plot", "a.nc", *arguments), code, *values)
    assert sorted(path.name for path in Path().glob("a*")) == ["a.nc", "a.png"]


@pytest.mark.parametrize("command", [("plot",), ("report",), ("compare", ".")])
def test_folders_are_refused(invoke: Invoke, command: tuple[str, ...]) -> None:
    refused(invoke(*command, "."), 4, "'.'")


def test_a_run_of_a_data_set_object_is_drawn_where_it_is(invoke: Invoke, tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, samples=1, steps=2, scales="3", out="a.nc")
    refused(invoke("plot", "a.nc", "provenance"), 4, "'tiny'", "run.mosaic.plot.provenance(0, dataset)")
    assert run.mosaic.plot.provenance(0, tiny).axes
    run.close()
    done(invoke("report", "a.nc"))
