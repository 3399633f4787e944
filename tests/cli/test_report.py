"""`mosaic report`: the page it writes, and what it refuses; tests/view/report tests the page itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from command_results import done, notes, refused
from report_page import contents, unpacked

import mosaic

Invoke = Callable[..., Result]


@pytest.fixture
def run(invoke: Invoke) -> str:
    invoke("run", "--steps", 6, "--samples", 3, "--save", "provenance,entropy", "--save-steps", "all", "--out", "a.nc")
    return "a.nc"


def test_the_page_holds_what_the_run_holds(invoke: Invoke, run: str) -> None:
    assert invoke("report", run, "--samples", "2,0").stdout == "report.html\n"
    text = Path("report.html").read_text()
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:)', text)
    harmless = r'<script type="application/json".*?</script>|http://www\.w3\.org/2000/svg'  # data, and SVG's name
    assert "http" not in re.sub(harmless, "", text, flags=re.DOTALL)
    stored = mosaic.open(run)
    (shown,) = contents(text)["runs"]
    assert shown["samples"] == [2, 0]
    assert shown["times"] == stored["time"].values.round(4).tolist()
    for place, sample in enumerate((2, 0)):
        last, steps = shown["provenance"]["last"][place], shown["provenance"]["steps"][place]
        for name, variable in (("image", "source_image"), ("row", "source_row"), ("multiplicity", "multiplicity")):
            assert unpacked(last[name]).tolist() == stored[variable][sample].values.ravel().tolist()
        assert unpacked(steps["image"]).tolist() == stored["candidate_image"][sample].values.ravel().tolist()
        weight = (stored["candidate_weight"] * stored["candidate_multiplicity"])[sample].values.ravel()
        np.testing.assert_allclose(unpacked(steps["weight"]) / 65535, weight.clip(max=1), atol=1e-5)
        np.testing.assert_allclose(
            unpacked(steps["entropy"]) / 1000, stored["entropy"][sample].values.ravel(), atol=1e-3
        )
        dataset = stored.mosaic.training_set().images.numpy()
        place = [stored[f"source_{axis}"][sample].values for axis in ("image", "row", "column")]
        apart = np.abs(dataset[place[0], 0, place[1], place[2]] - stored["image"][sample, 0].values)
        np.testing.assert_allclose(unpacked(last["apart"]) / 65535 * shown["span"], apart.ravel(), atol=1e-4)
        assert {str(index) for index in unpacked(last["image"])} <= set(shown["training"]["places"])


def test_pages_of_runs_without_provenance_or_training_set(invoke: Invoke, tiny_file: Path) -> None:
    options = ("--dataset", "file", "-o", f"dataset.path={tiny_file}", "--steps", 2)
    invoke("run", *options, "--save", "none", "--out", "plain.nc")
    invoke("run", *options, "--out", "kept.nc")
    tiny_file.unlink()
    untraced, *left_out = notes(done(invoke("report", "plain.nc", "kept.nc")))
    assert "'plain'" in untraced
    assert "--save" in untraced
    assert ["'plain'" in left_out[0], "'kept'" in left_out[1]] == [True, True]
    plain, kept = contents(Path("report.html").read_text())["runs"]
    assert "provenance" not in plain
    assert "provenance" in kept
    assert "training" not in kept


def test_runs_of_files_with_a_name_in_common_go_by_their_paths(invoke: Invoke, tiny: mosaic.DataSet) -> None:
    for path in ("a/run.nc", "b/run.nc", "b/other.nc"):
        Path(path).parent.mkdir(exist_ok=True)
        mosaic.run("is", tiny, samples=1, steps=1, save="none", out=path).close()
    result = done(invoke("report", "a/run.nc", "b/run.nc", "b/other.nc", "--out", "all.html", "--json"))
    page = Path("all.html").read_text()
    assert [shown["name"] for shown in contents(page)["runs"]] == ["a/run.nc", "b/run.nc", "other"]
    assert json.loads(result.stdout) == {"path": "all.html", "bytes": len(page.encode())}


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        (("a.nc", "--out", "page.txt"), 2, ["--out", "'page.txt'", ".html"]),
        (("a.nc", "--samples", "one"), 2, ["--samples", "'one'"]),
        (("a.nc", "--samples", "7"), 2, ["7", "0 to 2"]),
        (("b.nc",), 4, ["'b.nc'"]),
        (("a.nc", "other.nc"), 2, ["(1, 8, 8)", "(3, 32, 32)"]),
    ],
)
def test_what_cannot_be_reported(
    invoke: Invoke, run: str, arguments: tuple[str, ...], code: int, values: list[str]
) -> None:
    invoke("run", "--dataset", "shapes", "-o", "dataset.count=10", "--steps", 1, "--out", "other.nc")
    refused(invoke("report", *arguments), code, *values)
    assert not Path("report.html").exists()


def test_a_page_is_not_overwritten_unless_asked(invoke: Invoke, run: str) -> None:
    Path("report.html").write_text("mine")
    refused(invoke("report", run), 2, "'report.html'", "--overwrite")
    assert Path("report.html").read_text() == "mine"
    done(invoke("report", run, "--overwrite"))
    assert Path("report.html").read_text() != "mine"
