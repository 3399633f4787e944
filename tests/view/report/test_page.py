"""The page of a report: its size, and that it works in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from report_page import contents

import mosaic
from mosaic.view.report.page import SAMPLES, make_report


@pytest.fixture
def run() -> xr.Dataset:
    return mosaic.run("els", "digits", steps=6, samples=3, save="provenance,entropy", save_steps="all")


def written(runs: list[tuple[str, xr.Dataset]], **settings: Any) -> str:
    """Write the page of runs with their training sets; gives its address."""
    page = make_report(runs, [run.mosaic.training_set() for _, run in runs], **settings)
    Path("report.html").write_text(page)
    return Path("report.html").absolute().as_uri()


def test_a_page_stays_under_five_megabytes() -> None:
    """16 samples of 32 x 32 in colour, two runs, noise that nothing compresses: fewer steps of the flow are shown."""
    images = torch.rand(300, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dataset = mosaic.DataSet("noise", images)
    settings = {"steps": 20, "samples": 16, "save": "provenance,entropy", "save_steps": "all"}
    runs = [("ls", mosaic.run("ls", dataset, scales="3", **settings)), ("is", mosaic.run("is", dataset, **settings))]
    page = make_report(runs, [dataset, dataset])
    assert len(page.encode()) < 5_000_000
    shown, total = contents(page)["runs"][0]["steps"]
    assert 5 <= shown < total == 20


def test_the_first_samples_that_all_runs_have_are_shown_unless_chosen(tiny: mosaic.DataSet) -> None:
    runs = [(str(count), mosaic.run("is", tiny, steps=1, samples=count, save="none")) for count in (3, SAMPLES + 2)]
    both = contents(make_report(runs, [None, None]))
    assert [shown["samples"] for shown in both["runs"]] == [[0, 1, 2]] * 2
    (alone,) = contents(make_report(runs[1:], [None]))["runs"]
    assert alone["samples"] == list(range(SAMPLES))
    (chosen,) = contents(make_report(runs[1:], [None], [17, 0]))["runs"]
    assert chosen["samples"] == [17, 0]


def test_correlations_with_the_first_run_are_those_of_compare_where_the_start_is_the_same(
    tiny: mosaic.DataSet, tmp_path: Path
) -> None:
    settings = {"steps": 2, "samples": 2, "save": "none"}
    first = mosaic.run("els", tiny, scales="3", out=tmp_path / "a.nc", **settings)
    same = mosaic.run("is", tiny, init=tmp_path / "a.nc", **settings)
    other = mosaic.run("is", tiny, seed=5, **settings)
    actual = contents(make_report([("a", first), ("b", same), ("c", other)], [None] * 3))["agreement"]
    expected = mosaic.compare(same, first, metrics=["pearson_r"])["pearson_r"][0].values
    assert actual["metric"] == "pearson_r"
    assert actual["values"][0] == pytest.approx(expected.tolist())
    assert actual["values"][1] is None


def test_samples_and_shapes_that_do_not_fit_are_refused(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("is", tiny, steps=1, samples=2, save="none")
    with pytest.raises(mosaic.UsageError, match=r"\b2\b.*\b1\b"):
        make_report([("a", run)], [None], [2])
    with pytest.raises(mosaic.UsageError, match=r"a: \(1, 6, 5\).*b: \(1, 6, 3\)"):
        make_report([("a", run), ("b", run.isel(width=slice(3)))], [None, None])


def drawn(browser: Any, expected: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda here: here.execute_script("return document.body.dataset.drawn") == expected)


def test_the_page_in_a_browser(browser: Any, run: xr.Dataset, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.common.by import By

    run.to_netcdf(tmp_path / "a.nc")
    other = mosaic.run("ls", "digits", steps=6, init=tmp_path / "a.nc")
    browser.get(written([("a", run), ("b", other)], title="Tried"))
    drawn(browser, "0,5,4,4")

    slider = browser.find_element(By.ID, "step")
    noisy, clean = browser.find_elements(By.CSS_SELECTOR, "canvas.image")[:2]
    before = noisy.screenshot_as_base64
    slider.send_keys(Keys.ARROW_LEFT)
    drawn(browser, "0,4,4,4")
    assert noisy.screenshot_as_base64 != before
    assert browser.find_element(By.ID, "when").text == f"t = {float(run['time'][4].values.round(4)):g}"
    slider.send_keys(Keys.END)

    # Point at the pixel in row 2, column 5: the page names the source that the run names.
    side = clean.size["width"] / 8
    ActionChains(browser).move_to_element_with_offset(clean, (5.5 - 4) * side, (2.5 - 4) * side).perform()
    drawn(browser, "0,5,2,5")
    output = browser.find_element(By.CSS_SELECTOR, "p.account").text
    image, row, column = (int(run[f"source_{axis}"][0, 2, 5]) for axis in ("image", "row", "column"))
    assert re.search(rf"training image {image} \(class .*\), row {row}, column {column}\b", output)
    assert f"training image {int(run['candidate_image'][0, 5, 2, 5])} " in output

    # With the keyboard alone: another pixel, another sample.
    clean.send_keys(Keys.ARROW_UP)
    drawn(browser, "0,5,1,5")
    second = browser.find_elements(By.CSS_SELECTOR, "#samples button")[1]
    second.send_keys(Keys.ENTER)
    drawn(browser, "1,5,1,5")
    assert second.get_attribute("aria-pressed") == "true"
    expected = mosaic.compare(other, run, metrics=["pearson_r"])["pearson_r"][0, 1]
    caption = browser.find_element(By.CSS_SELECTOR, "#scatters figcaption").text
    assert float(caption.rpartition(" ")[2]) == pytest.approx(float(expected), abs=6e-4)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_names_hold_nothing_that_a_reader_does_not_see(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=2, samples=1, scales="3", out="a.nc").assign_attrs(device="a\u202eb\x1b")
    name = "a\u202eb\x1b\n"
    page = make_report([(name, run)], [tiny], title=name)
    assert page.count(r"a\u202eb\x1b\n") == 2  # the document's title and its heading
    assert "\u202e" not in page
    assert "\x1b" not in page
    (shown,) = contents(page)["runs"]
    assert shown["name"] == r"a\u202eb\x1b\n"
    assert ["device", r"a\u202eb\x1b"] in shown["facts"]


def test_names_cannot_break_the_page(browser: Any, tiny: mosaic.DataSet, tmp_path: Path) -> None:
    run = mosaic.run("els", tiny, steps=2, samples=1, scales="3")
    name = "x<!--<script>alert(1)</script>"
    (tmp_path / "page.html").write_text(make_report([(name, run)], [tiny], title=name))
    browser.get((tmp_path / "page.html").as_uri())
    drawn(browser, "0,1,3,2")
    assert browser.find_element("tag name", "h2").text == name
    assert browser.title == name


def test_the_page_on_a_phone(browser: Any, run: xr.Dataset) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        browser.get(written([("a", run)]))
        drawn(browser, "0,5,4,4")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        size = browser.execute_script(
            "return parseFloat(getComputedStyle(document.querySelector('p.account')).fontSize)"
        )
        assert size >= 14
        browser.execute_script(
            "const c = document.querySelectorAll('canvas.image')[1], b = c.getBoundingClientRect();"
            "const place = {clientX: b.left + b.width * 0.9, clientY: b.top + b.height * 0.1};"
            "c.dispatchEvent(new PointerEvent('pointerdown', place))"
        )
        drawn(browser, "0,5,0,7")
        browser.get(written([("default", mosaic.run(steps=2, samples=1))]))
        drawn(browser, "0,1,4,4")
        assert not browser.find_element("css selector", "canvas.curve").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
