"""`mosaic probe`: a table, a document, a file and three pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from command_results import done, refused

Invoke = Callable[..., Result]
FEW = ("-o", "dataset.limit=40", "--samples", 2, "--times", "0.3,0.8")


def test_probe_prints_a_row_for_each_score_and_time_and_writes_pictures(invoke: Invoke, tmp_path: Path) -> None:
    lines = done(invoke("probe", "els", "is", *FEW, "--scales", 3)).stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["els", "0.30"],
        ["els", "0.80"],
        ["is", "0.30"],
        ["is", "0.80"],
    ]
    with xr.open_dataset("probe-001.nc") as stored:
        assert f"{float(stored['curl'].isel(score=0, time=0).median()):.3f}" in lines[1]
    made = {path.name for path in tmp_path.iterdir()}
    assert {"probe-001.png", "probe-001-fields.png", "probe-001-modes.png"} <= made


def test_json_holds_the_medians(invoke: Invoke) -> None:
    given = ("probe", "els", *FEW, "--modes", 0, "--out", "p.nc", "-o", "boundary=circular")
    document = json.loads(done(invoke(*given, "--json")).stdout)
    assert document["pictures"] == ["p.png", "p-fields.png"]
    assert document["scores"]["els"]["method"] == "closed form"
    with xr.open_dataset("p.nc") as stored:
        medians = stored["trace"].isel(score=0).median("sample").values
        np.testing.assert_allclose(document["scores"]["els"]["trace"], medians)
        assert json.loads(stored.attrs["configuration"])["scores"]["els"]["score_options"]["boundary"] == "circular"
    refused(invoke(*given), 2, "'p.nc'", "--overwrite")
    done(invoke(*given, "--overwrite"))
    assert done(invoke("plot", "p.nc")).stdout == "p-curves.png\n"
    refused(invoke("plot", "p.nc", "modes"), 4, "eigenvalue")


def test_a_network_is_the_first_score(invoke: Invoke, checkpoint: Path) -> None:
    document = json.loads(done(invoke("probe", "els", "--checkpoint", checkpoint, *FEW[2:], "--json")).stdout)
    assert list(document["scores"]) == ["network", "els"]
    assert document["scores"]["network"]["similarity"] == pytest.approx([1, 1])
    assert document["scores"]["network"]["method"] == "torch"


@pytest.mark.parametrize(
    ("given", "code", "value"),
    [
        ((), 2, "--checkpoint"),
        (("elss",), 3, "'els'"),
        (("els", "--times", "a"), 2, "'a'"),
        (("els", "--times", "3"), 2, "3"),
        (("els", "-o", "bundary=x"), 2, "'bundary'"),
        (("--checkpoint", "nowhere"), 2, "'nowhere'"),
        (("is", "--scales", "3"), 2, "--scales"),
        (("els", "--out", "p.txt"), 2, ".nc"),
    ],
)
def test_what_cannot_be_used_is_refused(invoke: Invoke, given: tuple[str, ...], code: int, value: str) -> None:
    refused(invoke("probe", *given), code, value)
