"""What `result.mosaic` shows of itself: a line, and a table without anything of the result's that a page would obey."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import pytest
import xarray as xr

import mosaic
import mosaic.view.accessor
from mosaic.view.summary import facts_of, line_of, table_of


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=3, samples=2, scales="3", save="provenance")


def test_a_run_says_what_it_is(run: xr.Dataset) -> None:
    facts = facts_of(run)
    expected = {"what": "run", "of": "els on tiny", "score": "els", "dataset": "tiny, 12 images", "images": "1 x 6 x 5"}
    assert expected.items() <= facts.items()
    assert (facts["steps"], facts["samples"], facts["kept"]) == ("3", "2", "provenance")
    assert sorted(facts["pictures"].split(", ")) == dir(run.mosaic.plot)
    assert repr(run.mosaic) == line_of(run)
    assert "\n" not in line_of(run)
    assert {"els on tiny", "2 samples", "3 steps"} <= set(re.split("; |: | of ", line_of(run)))
    for name, value in facts.items():
        assert name == "what" or f">{name}</th>" in run.mosaic._repr_html_()
        assert value in unescape(run.mosaic._repr_html_())


def test_other_results_say_what_they_are(run: xr.Dataset) -> None:
    comparison = mosaic.compare(run, run, metrics="mse")
    assert facts_of(comparison)["metrics"] == "mse"
    assert facts_of(comparison)["pictures"] == "images, agreement"
    assert line_of(comparison).startswith("<mosaic: comparison of run: els on tiny")
    assert line_of(xr.Dataset({"a": 1})) == "<mosaic: not a result of mosaic>"


def test_a_result_that_was_changed_still_shows_itself(run: xr.Dataset) -> None:
    for changed in (
        run.assign_attrs(configuration="{", metrics="1", traits="{}"),
        run.assign_attrs(configuration="[1]", traits="{"),
        run.drop_attrs(),
        run.isel(step=0, sample=0),
        run[["image"]],
    ):
        assert line_of(changed)
        assert table_of(changed)


def test_texts_of_a_result_are_escaped(run: xr.Dataset) -> None:
    evil = "<script>alert(1)</script>\"'&"
    configuration = json.dumps(json.loads(run.attrs["configuration"]) | {"score": evil, "dataset": evil})
    text = table_of(run.assign_attrs(title=evil, configuration=configuration, dataset_size=evil))
    assert "<script" not in text
    assert unescape(text).count(evil) == 4


def test_what_a_terminal_or_page_would_obey_is_shown(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    evil, shown = "evil\u202ename\x1b[31m", "evil\\u202ename\\x1b[31m"
    result = run.assign_attrs(title=evil)
    report = mosaic.report(result, dataset=tiny, progress=False)
    drawn = result.mosaic.plot.images().get_suptitle()
    named = repr(replace(tiny, name=evil))
    for text in (repr(result.mosaic), result.mosaic._repr_html_(), report._repr_html_(), drawn, named):
        assert shown in text
        assert not {"\u202e", "\x1b"} & set(text)
    assert not {"\u202e", "\x1b"} & set(repr(report))


def test_a_posterior_shows_shapes_and_no_values() -> None:
    data = mosaic.registry().get("dataset", "digits")().load()
    model = mosaic.score("ls", data)
    posterior = model.posterior(data.images[:2], t=0.5, k=3)
    text = posterior._repr_html_()
    assert "2 x 1 x 8 x 8" in text
    assert "maximum" in text
    assert "tensor(" not in text + repr(posterior)
    assert len(repr(posterior)) < 80
