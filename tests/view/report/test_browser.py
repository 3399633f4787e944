"""The page of a report in a real browser: what it shows, that nothing moves, and that it is used without a mouse."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mosaic

pytestmark = pytest.mark.system  # starts a browser

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((entry) => entry.value)))
  .observe({type: "layout-shift", buffered: true});
"""
BOXES = """
return [...document.querySelectorAll("h2, h3, canvas, figcaption, dd, svg, table, input, summary")]
  .map((each) => { const box = each.getBoundingClientRect(); return [box.x, box.y + scrollY, box.width, box.height]; });
"""
# Texts that need a scroll bar, by their width, and boxes that leave the page.
CLIPPED = """
const texts = [...document.querySelectorAll("h1, h2, h3, p, dt, dd, label, legend, figcaption, summary")];
const wide = document.documentElement.clientWidth;
return [...texts.filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0),
        ...document.querySelectorAll("canvas, svg, p, dd, figure")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1 || each.getBoundingClientRect().right > wide + 1)
  .map((each) => each.outerHTML.slice(0, 80));
"""


# Share of a canvas in the colour of tiles pointed at.
MARKED = """
const { width: w, height: h } = arguments[0], pen = new OffscreenCanvas(w, h).getContext("2d");
pen.drawImage(arguments[0], 0, 0);
const { data } = pen.getImageData(0, 0, w, h);
let count = 0;
for (let n = 0; n < data.length; n += 4) count += data[n] === 213 && data[n + 1] === 94 && data[n + 2] === 0;
return count / data.length * 4;
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    folder = tmp_path_factory.mktemp("run")
    settings = {"steps": 6, "samples": 3, "save": "provenance,entropy", "save_steps": "all", "progress": False}
    return mosaic.run("els", "digits", scales="3,3,3,5,5,7", out=folder / "a.nc", **settings)


@pytest.fixture(scope="module")
def other(run: xr.Dataset) -> xr.Dataset:
    return mosaic.run("ls", "digits", steps=6, init=run, progress=False)


@pytest.fixture
def show(browser: Any) -> Callable[..., None]:
    """Open the page of runs in the browser; `drawn` is what it is to have drawn."""

    def shown(runs: Any, expected: str, **settings: Any) -> None:
        path = mosaic.report(runs, **settings).save("report.html", overwrite=True)
        browser.get(path.absolute().as_uri())
        drawn(browser, expected)

    return shown


def drawn(browser: Any, expected: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20, poll_frequency=0.02).until(
        lambda here: here.execute_script("return document.body.dataset.drawn") == expected
    )


def canvases(browser: Any, label: str) -> list[Any]:
    return [
        each for each in browser.find_elements("css selector", "canvas") if label in each.get_attribute("aria-label")
    ]


def point_at(browser: Any, canvas: Any, row: int, column: int, side: int = 8) -> None:
    from selenium.webdriver import ActionChains

    size = canvas.size["width"] / side
    offset = [(place + 0.5 - side / 2) * size for place in (column, row)]
    ActionChains(browser).move_to_element_with_offset(canvas, *offset).perform()


def complaints(browser: Any) -> list[Any]:
    return [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_a_pixel_is_traced_to_the_sources_that_the_run_names(
    browser: Any, show: Callable[..., None], run: xr.Dataset
) -> None:
    show(run, "0,5,4,4")
    training = run.mosaic.training_set()
    for row, column in ((2, 5), (0, 3), (7, 0)):
        point_at(browser, canvases(browser, "final image")[0], row, column)
        drawn(browser, f"0,5,{row},{column}")
        said = dict(
            zip(
                *([each.text for each in browser.find_elements("css selector", f"dl {name}")] for name in ("dt", "dd")),
                strict=True,
            )
        )
        assert said["Pixel"] == f"row {row}, column {column}"
        source = [int(run[f"source_{axis}"][0, row, column]) for axis in ("image", "row", "column")]
        assert re.match(r"#{} \(class \d\), row {}, column {}\b".format(*source), said["Source"])
        equals = int(run["multiplicity"][0, row, column])
        assert (f"the first of {equals:,} equal windows" in said["Source"]) == (equals > 1)
        assert said["Tile"].startswith("none") == (equals > 1)
        marked = [browser.execute_script(MARKED, canvases(browser, label)[0]) for label in ("final image", "source of")]
        assert [share > 0.004 for share in marked] == [equals <= 1] * 2  # round its tile, and where it was copied from
        candidate = int(run["candidate_image"][0, 5, row, column])
        assert (
            f"best candidate #{candidate} (class {training.classes[training.labels[candidate]]})"
            in said["At this step"]
        )
        assert canvases(browser, f"#{source[0]} ")
    nearest = run.mosaic.nearest_train()
    assert f"#{int(nearest.image[0])} " in said["Whole sample"]
    assert f"{float(nearest.distance[0]):.3g}" in said["Whole sample"]
    assert canvases(browser, f"#{int(nearest.image[0])} (class")
    assert complaints(browser) == []


def test_the_map_of_sources_is_shown_over_the_image_beside_it_or_not(
    browser: Any, show: Callable[..., None], run: xr.Dataset
) -> None:
    show(run, "0,5,4,4")
    final, seen = canvases(browser, "final image")[0], []
    for mode in ("both", "map", "image"):
        browser.find_element("css selector", f"input[value={mode}]").click()
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        seen.append(final.screenshot_as_base64)
    assert len(set(seen)) == 3


def test_steps_samples_pixels_and_the_size_are_chosen_with_the_keyboard(
    browser: Any, show: Callable[..., None], run: xr.Dataset
) -> None:
    from selenium.webdriver import Keys

    show(run, "0,5,4,4")
    slider, clean = browser.find_element("id", "step"), canvases(browser, "posterior mean")[0]
    chart = browser.find_element("css selector", "svg[aria-label*='locality scale']")
    for frame in (4, 3, 2):
        before, place = clean.screenshot_as_base64, chart.find_element("css selector", ".chosen").get_attribute("x1")
        slider.send_keys(Keys.ARROW_LEFT)
        drawn(browser, f"0,{frame},4,4")
        assert clean.screenshot_as_base64 != before
        assert float(chart.find_element("css selector", ".chosen").get_attribute("x1")) < float(place)
        scale, t = int(run["scale"][frame]), float(run["time"][frame].round(4))
        assert f"k = {scale}" in chart.text
        assert browser.find_element("id", "when").text == f"{frame + 1} of 6, t = {t:g}, k = {scale}"
    points = chart.find_element("css selector", "polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert np.corrcoef(heights, run["scale"].values)[0, 1] == pytest.approx(-1)  # down is up

    clean.send_keys(Keys.ARROW_UP)
    drawn(browser, "0,2,3,4")
    second = browser.find_elements("css selector", "#samples button")[1]
    second.send_keys(Keys.ENTER)
    drawn(browser, "1,2,3,4")
    assert second.get_attribute("aria-pressed") == "true"
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"

    zoom, before = browser.find_element("id", "zoom"), clean.size["width"]
    zoom.send_keys(Keys.PAGE_UP)
    assert clean.size["width"] > before
    assert clean.get_attribute("width") == str(browser.execute_script("return arguments[0].clientWidth", clean))
    assert complaints(browser) == []


def test_nothing_moves_while_the_page_loads_or_when_a_pixel_is_pointed_at(
    browser: Any, show: Callable[..., None], run: xr.Dataset, other: xr.Dataset
) -> None:
    show([run, other], "0,5,4,4")
    browser.execute_script(SHIFTS)
    before = browser.execute_script(BOXES)
    browser.execute_async_script(
        "const done = arguments[0], places = [...Array(64).keys()];"
        "const next = () => { if (!places.length) return done(); const n = places.pop(); choose(n >> 3, n & 7);"
        "  requestAnimationFrame(() => requestAnimationFrame(next)); }; next();"
    )
    drawn(browser, "0,5,0,0")
    assert browser.execute_script(BOXES) == before
    browser.execute_script("state.sample = 2; state.frame = 1; draw()")
    drawn(browser, "2,1,0,0")
    assert browser.execute_script(BOXES) == before
    assert browser.execute_script("return window.shifts") == []
    # The observer works: what does move is seen.
    browser.execute_async_script(
        "document.body.prepend(element('h1', { textContent: 'moved' }));"
        "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(arguments[0], 100)))"
    )
    assert browser.execute_script("return window.shifts") != []


def test_differences_are_shown_where_the_noise_is_the_same(
    browser: Any, show: Callable[..., None], run: xr.Dataset, other: xr.Dataset
) -> None:
    seed = mosaic.run("els", "digits", steps=6, samples=3, seed=7, progress=False)
    show({"first": run, "second": other, "third": seed}, "0,5,4,4")
    browser.find_elements("css selector", "#samples button")[1].click()
    drawn(browser, "1,5,4,4")
    second, third = browser.find_elements("css selector", ".compared")
    difference = (other["image"] - run["image"]).values
    cells = [each.text for each in second.find_elements("css selector", "tbody th, tbody td")]
    expected = mosaic.compare(other, run, metrics=["pearson_r"])["pearson_r"][0, 1]
    wanted = [1, float(expected), abs(difference[1]).mean(), abs(difference[1]).max()]
    np.testing.assert_allclose([float(cell) for cell in cells], wanted, rtol=6e-3)
    ends = [each.text for each in second.find_elements("css selector", ".colours span")]
    assert (ends[0][0], ends[1], ends[2][0], ends[0][1:]) == ("\u2212", "0", "+", ends[2][1:])
    assert float(ends[2]) == pytest.approx(abs(difference).max(), rel=6e-3)
    (shown,) = [each for each in canvases(browser, "second minus first") if "row" in each.get_attribute("aria-label")]
    value = re.search(r"column 4: ([+\u2212][\d.e-]+)", shown.get_attribute("aria-label"))
    assert value is not None
    here = float(value[1].replace("\u2212", "-"))
    assert here == pytest.approx(difference[1, 0, 4, 4], abs=1e-3)
    colour = browser.execute_script(
        "return [...arguments[0].getContext('2d').getImageData(2, 2, 1, 1).data].slice(0, 3)", shown
    )
    corner = difference[1, 0, 0, 0]
    assert np.sign(colour[0] - colour[2]) == (np.sign(corner) if abs(corner) > 0.02 else 0)
    assert "'third'" in third.find_element("css selector", ".reason").text
    assert not third.find_elements("css selector", "table")
    rows = [each.text.split() for each in browser.find_elements("css selector", "#beside > .scroll tbody tr")]
    assert ["score", "els", "ls", "els"] in rows
    assert ["seed", "0", "0", "7"] in rows
    assert complaints(browser) == []


def test_everything_has_a_label(browser: Any, show: Callable[..., None], run: xr.Dataset, other: xr.Dataset) -> None:
    show([run, other], "0,5,4,4")
    lacking = browser.execute_script(
        "return [...document.querySelectorAll('input')].filter((each) => !each.labels.length)"
        ".concat([...document.querySelectorAll('img')].filter((each) => !each.alt))"
        ".concat([...document.querySelectorAll('canvas, svg, [role=group]')]"
        "  .filter((each) => !each.getAttribute('aria-label'))).map((each) => each.outerHTML)"
    )
    assert lacking == []


@pytest.mark.parametrize("width", [360, 1000, 1600])
def test_the_page_fits_its_window_in_legible_letters(
    browser: Any, show: Callable[..., None], run: xr.Dataset, other: xr.Dataset, width: int
) -> None:
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        show([run, other], "0,5,4,4")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script(CLIPPED) == []
        sizes = browser.execute_script(
            "return [...document.querySelectorAll('svg text')].map((each) => each.getBoundingClientRect().height)"
            ".concat([...document.querySelectorAll('p, dd, figcaption, label, td')]"
            "  .map((each) => parseFloat(getComputedStyle(each).fontSize)))"
        )
        assert min(sizes) >= 12
        fonts = "return [...document.querySelectorAll('svg')].map((each) => each.getBoundingClientRect().width / 320)"
        assert max(browser.execute_script(fonts)) == pytest.approx(1, abs=0.01)  # of charts, no larger than the texts
        browser.execute_script(
            "const c = document.querySelectorAll('canvas.image')[0], b = c.getBoundingClientRect();"
            "const place = {clientX: b.left + b.width * 0.9, clientY: b.top + b.height * 0.1};"
            "c.dispatchEvent(new PointerEvent('pointerdown', place))"
        )
        drawn(browser, "0,5,0,7")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.filterwarnings("ignore:.*keeps no provenance:mosaic.MosaicWarning")
def test_pages_of_other_runs_work_as_well(browser: Any, show: Callable[..., None]) -> None:
    colour = mosaic.run("is", "shapes", dataset_options={"count": 20}, steps=2, samples=1, progress=False)
    show(colour, "0,1,16,16")
    assert not browser.find_elements("css selector", "svg")  # neither a locality scale nor weights over time
    plain = mosaic.run("gaussian", "digits", steps=2, samples=2, save="none", progress=False)
    show(plain, "0,1,4,4")
    assert not browser.find_element("id", "modes").is_displayed()
    assert len([each for each in canvases(browser, "training image") if each.is_displayed()]) == 1
    assert complaints(browser) == []


def test_names_cannot_break_the_page(browser: Any, show: Callable[..., None], tiny: mosaic.DataSet) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    dataset = replace(tiny, classes=(hostile,) * 3, names=(hostile,) * 12)
    run = mosaic.run("els", dataset, steps=2, samples=1, scales="3", labels=[0])
    name = "x<!--<script>alert(1)</script>"
    other = run.assign_attrs(title=hostile, engine=hostile, device=hostile)
    show({name: run, f"{name}2": other}, "0,1,3,2", title=name, dataset=dataset)
    assert not browser.find_elements("css selector", "img[src=x], script:not([id]) ~ script:not([id])")
    assert browser.find_element("css selector", "dd").text.startswith("row")
    assert hostile in [each.text for each in browser.find_elements("css selector", "#beside td")]
    assert f"{hostile} (class {hostile})" in browser.find_elements("css selector", "dd")[1].text
    assert [each.text for each in browser.find_elements("css selector", "article h2")] == [name, f"{name}2"]
    assert browser.title == name
    assert complaints(browser) == []


def test_a_notebook_shows_the_page_and_its_scripts_run(browser: Any, run: xr.Dataset) -> None:
    Path("notebook.html").write_text(f"<!DOCTYPE html><meta charset='utf-8'>{run.mosaic.report()._repr_html_()}")
    browser.get(Path("notebook.html").absolute().as_uri())
    browser.switch_to.frame(0)
    try:
        drawn(browser, "0,5,4,4")
        assert browser.find_element("css selector", "h2").text == "a"
    finally:
        browser.switch_to.default_content()
    assert complaints(browser) == []
