"""`mosaic report`: what the page holds, and that it works in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import mosaic
from mosaic.view.report.page import make_report

Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window, on a small screen; skips where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
    ):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    actual = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    actual.set_window_size(1200, 1000)
    yield actual
    actual.quit()


def contents(page: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert match is not None
    return dict(json.loads(match[1]))


def unpacked(packed: dict[str, str]) -> np.ndarray:
    kind = packed["type"].removesuffix("Array").lower()
    return np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), kind)


@pytest.fixture
def run(invoke: Invoke) -> str:
    invoke("run", "--steps", 6, "--samples", 3, "--save", "provenance,entropy", "--save-steps", "all", "--out", "a.nc")
    return "a.nc"


def test_the_page_holds_what_the_run_holds(invoke: Invoke, run: str) -> None:
    assert invoke("report", run, "--samples", "2,0").stdout == "report.html\n"
    page = Path("report.html")
    text = page.read_text()
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:)', text)
    assert "http" not in re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    stored = mosaic.open(run)
    (one,) = contents(page)["runs"]
    assert one["samples"] == [2, 0]
    assert one["times"] == stored["time"].values.round(4).tolist()
    for place, sample in enumerate((2, 0)):
        last, steps = one["provenance"]["last"][place], one["provenance"]["steps"][place]
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
        np.testing.assert_allclose(unpacked(last["apart"]) / 65535 * one["span"], apart.ravel(), atol=1e-4)
        assert {str(index) for index in unpacked(last["image"])} <= set(one["training"]["places"])


def test_pages_of_runs_without_provenance_or_training_set(invoke: Invoke, tiny_file: Path) -> None:
    options = ("--dataset", "file", "-o", f"dataset.path={tiny_file}", "--steps", 2)
    invoke("run", *options, "--save", "none", "--out", "plain.nc")
    invoke("run", *options, "--out", "kept.nc")
    tiny_file.unlink()
    result = invoke("report", "plain.nc", "kept.nc")
    assert result.exit_code == 0
    assert "'plain.nc'" in result.stderr
    assert "'kept.nc'" in result.stderr
    plain, kept = contents(Path("report.html"))["runs"]
    assert "provenance" not in plain
    assert "provenance" in kept
    assert "training" not in kept


def test_a_page_stays_under_five_megabytes(tmp_path: Path) -> None:
    """16 samples of 32 x 32 in colour, two runs, noise that nothing compresses: fewer steps of the flow are shown."""
    images = torch.rand(300, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dataset = mosaic.DataSet("noise", images)
    settings = {"steps": 20, "samples": 16, "save": "provenance,entropy", "save_steps": "all"}
    runs = [("ls", mosaic.run("ls", dataset, scales="3", **settings)), ("is", mosaic.run("is", dataset, **settings))]
    page = make_report(runs, [dataset, dataset])
    assert len(page.encode()) < 5_000_000
    (tmp_path / "page.html").write_text(page)
    shown, total = contents(tmp_path / "page.html")["runs"][0]["steps"]
    assert 5 <= shown < total == 20


def test_steps_that_are_kept_are_shown(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    run = mosaic.run("els", tiny, steps=60, samples=1, scales="3", save_steps="1,17,49")
    (tmp_path / "page.html").write_text(make_report([("run", run)], [tiny]))
    (one,) = contents(tmp_path / "page.html")["runs"]
    assert one["times"] == run["time"].values[[0, 1, 17, 49, 59]].round(4).tolist()
    assert one["provenance"]["kept"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.nc", "--out", "page.txt"), "must end in .html"),
        (("a.nc", "--samples", "one"), "list of sample numbers"),
        (("a.nc", "--samples", "7"), "samples 0 to 2"),
        (("b.nc",), "no file 'b.nc'"),
        (("a.nc", "other.nc"), "images of one shape"),
    ],
)
def test_what_cannot_be_reported(invoke: Invoke, run: str, arguments: tuple[str, ...], message: str) -> None:
    invoke("run", "--dataset", "shapes", "-o", "dataset.count=10", "--steps", 1, "--out", "other.nc")
    result = invoke("report", *arguments)
    assert result.exit_code in (2, 4)
    assert message in result.stderr
    assert not Path("report.html").exists()


def test_a_page_is_not_overwritten_unless_asked(invoke: Invoke, run: str) -> None:
    Path("report.html").write_text("mine")
    assert invoke("report", run).exit_code == 2
    assert Path("report.html").read_text() == "mine"
    assert invoke("report", run, "--overwrite").exit_code == 0


def drawn(browser: Any, expected: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda here: here.execute_script("return document.body.dataset.drawn") == expected)


def test_the_page_in_a_browser(browser: Any, invoke: Invoke, run: str) -> None:
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.common.by import By

    invoke("run", "--score", "ls", "--steps", 6, "--init", run, "--out", "b.nc")
    invoke("report", run, "b.nc", "--title", "Tried")
    browser.get(Path("report.html").absolute().as_uri())
    drawn(browser, "0,5,4,4")
    stored = mosaic.open(run)

    slider = browser.find_element(By.ID, "step")
    noisy, clean = browser.find_elements(By.CSS_SELECTOR, "canvas.image")[:2]
    before = noisy.screenshot_as_base64
    slider.send_keys(Keys.ARROW_LEFT)
    drawn(browser, "0,4,4,4")
    assert noisy.screenshot_as_base64 != before
    assert browser.find_element(By.ID, "when").text == f"t = {float(stored['time'][4].values.round(4)):g}"
    slider.send_keys(Keys.END)

    # Point at the pixel in row 2, column 5: the page names the source that the file names.
    side = clean.size["width"] / 8
    ActionChains(browser).move_to_element_with_offset(clean, (5.5 - 4) * side, (2.5 - 4) * side).perform()
    drawn(browser, "0,5,2,5")
    output = browser.find_element(By.CSS_SELECTOR, "p.account").text
    image, row, column = (int(stored[f"source_{axis}"][0, 2, 5]) for axis in ("image", "row", "column"))
    assert re.search(rf"training image {image} \(class .*\), row {row}, column {column}\b", output)
    assert f"training image {int(stored['candidate_image'][0, 5, 2, 5])} " in output

    # With the keyboard alone: another pixel, another sample.
    clean.send_keys(Keys.ARROW_UP)
    drawn(browser, "0,5,1,5")
    second = browser.find_elements(By.CSS_SELECTOR, "#samples button")[1]
    second.send_keys(Keys.ENTER)
    drawn(browser, "1,5,1,5")
    assert second.get_attribute("aria-pressed") == "true"
    expected = mosaic.compare(mosaic.open("b.nc"), stored, metrics=["pearson_r"])["pearson_r"][0, 1]
    caption = browser.find_element(By.CSS_SELECTOR, "#scatters figcaption").text
    assert float(caption.rpartition(" ")[2]) == pytest.approx(float(expected), abs=6e-4)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_names_cannot_break_the_page(browser: Any, tiny: mosaic.DataSet, tmp_path: Path) -> None:
    run = mosaic.run("els", tiny, steps=2, samples=1, scales="3")
    name = "x<!--<script>alert(1)</script>"
    (tmp_path / "page.html").write_text(make_report([(name, run)], [tiny], title=name))
    browser.get((tmp_path / "page.html").as_uri())
    drawn(browser, "0,1,3,2")
    assert browser.find_element("tag name", "h2").text == name
    assert browser.title == name


def test_the_page_on_a_phone(browser: Any, invoke: Invoke, run: str) -> None:
    invoke("report", run)
    invoke("run", "--steps", 2, "--samples", 1, "--out", "default.nc")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        browser.get(Path("report.html").absolute().as_uri())
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
        invoke("report", "default.nc", "--overwrite")
        browser.get(Path("report.html").absolute().as_uri())
        drawn(browser, "0,1,4,4")
        assert not browser.find_element("css selector", "canvas.curve").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
