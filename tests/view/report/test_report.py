"""`mosaic.report` and `run.mosaic.report`: what is on the page, how a notebook shows it, and where it is saved."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from report_page import contents
from reports import Reports

import mosaic
from mosaic.view.report.page import LARGEST, SAMPLES
from mosaic.view.report.report import MOST_SHOWN

PLAIN = {"steps": 1, "save": "none"}
pytestmark = pytest.mark.filterwarnings("ignore:.*keeps no provenance:mosaic.MosaicWarning")


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("is", tiny, samples=2, steps=1)


def test_the_method_of_a_run_gives_the_page_of_the_function(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    actual = run.mosaic.report(samples=[1], dataset=tiny)
    assert actual == mosaic.report(run, samples=[1], dataset=tiny)
    assert actual.title == "is on tiny"
    assert re.fullmatch(r"Report\('is on tiny', \d\d kB; \.save\('report\.html'\) writes it\)", repr(actual))
    (shown,) = contents(actual.page)["runs"]
    assert "Hatched" in actual.page.partition("<script")[0]  # the map is explained
    assert (shown["name"], shown["samples"]) == ("is on tiny", [1])
    assert "training" in shown


def test_runs_go_by_their_files_by_what_they_are_of_or_as_a_mapping_says(tiny: mosaic.DataSet, run: xr.Dataset) -> None:
    def names(runs: Any) -> list[str]:
        return [shown["name"] for shown in contents(mosaic.report(runs, dataset=tiny).page)["runs"]]

    stored = []
    for path in ("a/run.nc", "b/run.nc", "b/other.nc"):
        Path(path).parent.mkdir(exist_ok=True)
        stored.append(mosaic.run("is", tiny, samples=1, **PLAIN, out=path))
    assert names(stored) == ["a/run.nc", "b/run.nc", "other"]
    assert names([stored[0], stored[2], run, run]) == ["run", "other", "is on tiny", "is on tiny (2)"]
    assert names([stored[0], stored[0]]) == ["run", "run (2)"]
    assert names({"mine": stored[0], "yours": run}) == ["mine", "yours"]
    assert names(["a/run.nc", Path("b/run.nc"), stored[2], run]) == ["a/run.nc", "b/run.nc", "other", "is on tiny"]
    assert names("b/run.nc") == ["run"]


def test_a_title_says_what_the_runs_are_of_unless_given(tiny: mosaic.DataSet, run: xr.Dataset) -> None:
    other = mosaic.run("gaussian", tiny, samples=1, **PLAIN)
    page = mosaic.report([run, run, other], dataset=tiny).page
    assert re.findall(r"<title>(.*?)</title>|<h1>(.*?)</h1>", page) == [
        ("is on tiny, gaussian on tiny", ""),
        ("", "is on tiny, gaussian on tiny"),
    ]
    assert mosaic.report(run, title="Mine", dataset=tiny).title == "Mine"


def test_a_page_is_self_contained_and_holds_names_as_text(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    name = "x<!--</script><script>alert(1)</script>\"'&"
    report = mosaic.report({name: run}, title=name, dataset=tiny)
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:)', report.page)
    assert "http" not in re.sub(r"http://www.w3.org/2000/svg", "", report.page)
    assert "<script>alert" not in report.page
    assert re.findall("<title>(.*?)</title>", report.page) == [
        html.escape(name).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    ]
    assert contents(report.page)["runs"][0]["name"] == name


def test_names_hold_nothing_that_a_reader_does_not_see(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=2, samples=1, scales="3").assign_attrs(device="a\u202eb\x1b")
    name = "a\u202eb\x1b\n"
    page = mosaic.report({name: run}, title=name, dataset=tiny).page
    assert page.count(r"a\u202eb\x1b\n") == 2  # the document's title and its heading
    assert "\u202e" not in page
    assert "\x1b" not in page
    (shown,) = contents(page)["runs"]
    assert shown["name"] == r"a\u202eb\x1b\n"
    assert ["device", r"a\u202eb\x1b"] in shown["facts"]


def test_a_notebook_shows_the_page_in_a_frame_of_fixed_height(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    report = run.mosaic.report(title='<b>"', dataset=tiny)
    match = re.fullmatch(r'<iframe ([^<>]*)srcdoc="([^"<>]*)"([^<>]*)></iframe>', report._repr_html_())
    assert match is not None
    assert html.unescape(match[2]) == report.page
    assert "height: 860px" in match[3]
    assert 'title="&lt;b&gt;&quot;"' in match[1]


def test_of_a_very_large_page_a_notebook_shows_the_size(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    small = run.mosaic.report(title="<b>", dataset=tiny)
    large = type(small)(small.title, small.page + " " * MOST_SHOWN)
    assert len(large._repr_html_()) < 400
    assert "&lt;b&gt;" in large._repr_html_()
    assert "20.0 MB" in large._repr_html_()


def test_a_page_is_saved_whole_and_not_over_another_file(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    report = run.mosaic.report(dataset=tiny)
    assert report.save("page.html") == Path("page.html")
    assert Path("page.html").read_text() == report.page
    with pytest.raises(mosaic.UsageError, match=r"'page\.html'.*`overwrite`"):
        report.save("page.html")
    report.save(Path("page.html"), overwrite=True)
    with pytest.raises(mosaic.UsageError, match=r"'page\.txt'.*\.html"):
        report.save("page.txt")


def test_a_training_set_is_for_the_runs_made_with_it(tiny: mosaic.DataSet, run: xr.Dataset) -> None:
    digits = mosaic.run("is", "digits", samples=1, **PLAIN)
    (shown,) = contents(mosaic.report(digits).page)["runs"]
    assert len(shown["training"]["nearest"]) == 1
    with pytest.warns(mosaic.MosaicWarning, match="training images of run 'is on tiny'"):
        (shown,) = contents(mosaic.report(run).page)["runs"]
    assert "training" not in shown
    with pytest.raises(mosaic.DataError, match="'tiny'"):
        mosaic.report(digits, dataset=tiny)


def test_a_training_set_that_runs_share_is_read_once(monkeypatch: pytest.MonkeyPatch, tiny: mosaic.DataSet) -> None:
    read: list[xr.Dataset] = []
    monkeypatch.setattr("mosaic.view.report.report.training_set_of", lambda run, access: read.append(run) or tiny)
    run = mosaic.run("is", tiny, samples=1, steps=1)
    shown = contents(mosaic.report([run, run]).page)["runs"]
    assert ["training" in each for each in shown] == [True, True]
    assert len(read) == 1


def test_progress_counts_the_training_images_of_all_runs(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    reports = Reports()
    mosaic.report([run, run], dataset=tiny, progress=reports)
    assert [(done, total, unit) for done, total, unit, _ in reports] == [(0, 24, "image"), (12, 24, "image")]


def test_training_images_go_by_their_names(tiny: mosaic.DataSet) -> None:
    names = tuple(f"<{place}>.png" for place in range(len(tiny)))
    dataset = dataclasses.replace(tiny, names=names)
    (shown,) = contents(mosaic.run("is", dataset, samples=1, steps=1).mosaic.report(dataset=dataset).page)["runs"]
    assert [names[int(index)] for index in shown["training"]["places"]] == shown["training"]["names"]


def test_a_run_without_provenance_is_named(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("gaussian", tiny, samples=1, **PLAIN)
    with pytest.warns(mosaic.MosaicWarning, match="'gaussian on tiny'.*provenance"):
        page = run.mosaic.report(dataset=tiny).page
    (shown,) = contents(page)["runs"]
    assert "provenance" not in shown
    assert "training" in shown
    assert "Hatched" not in page.partition("<script")[0]


def test_the_first_samples_that_all_runs_have_are_shown_unless_chosen(tiny: mosaic.DataSet) -> None:
    runs = {str(count): mosaic.run("is", tiny, samples=count, **PLAIN) for count in (3, SAMPLES + 2)}
    both = contents(mosaic.report(runs, dataset=tiny).page)
    assert [shown["samples"] for shown in both["runs"]] == [[0, 1, 2]] * 2
    larger = runs[str(SAMPLES + 2)]
    (alone,) = contents(mosaic.report(larger, dataset=tiny).page)["runs"]
    assert alone["samples"] == list(range(SAMPLES))
    (chosen,) = contents(mosaic.report(larger, samples=[17, 0], dataset=tiny).page)["runs"]
    assert chosen["samples"] == [17, 0]


def test_what_cannot_be_reported_is_refused(tiny: mosaic.DataSet, run: xr.Dataset) -> None:
    with pytest.raises(mosaic.UsageError, match=r"\b2\b.*\b1\b"):
        mosaic.report(run, samples=[2], dataset=tiny)
    with pytest.raises(mosaic.UsageError, match=r"a: \(1, 6, 5\).*b: \(1, 6, 3\)"):
        mosaic.report({"a": run, "b": run.isel(width=slice(3))}, dataset=tiny)
    with pytest.raises(mosaic.UsageError, match="one"):
        mosaic.report([])
    with pytest.raises(mosaic.UsageError, match="`runs`"):
        mosaic.report(7)  # type: ignore[arg-type]
    with pytest.raises(mosaic.DataError, match=r"'a\.nc'"):
        mosaic.report("a.nc")
    with pytest.raises(mosaic.DataError, match="'image'"):
        mosaic.report(run.drop_vars("image"))


def test_a_page_stays_under_five_megabytes() -> None:
    """16 samples of 32 x 32 in colour, three runs, noise that nothing compresses: fewer steps of the flow are shown."""
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dataset = mosaic.DataSet("noise", images)
    settings = {"steps": 20, "samples": 16, "save": "provenance,entropy", "save_steps": "all"}
    runs = [mosaic.run("is", dataset, **settings)] * 3
    page = mosaic.report(runs, dataset=dataset).page
    assert len(page.encode()) < LARGEST
    shown, total = contents(page)["runs"][0]["steps"]
    assert 5 <= shown < total == 20
