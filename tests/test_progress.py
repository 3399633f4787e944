"""One protocol of progress: a bar, a callable of the user's, or silence; measured in what costs time."""

from __future__ import annotations

import pytest

import mosaic
from mosaic.progress import progress_bar, reporting, silent


def test_true_is_a_bar_false_is_silence_and_a_callable_is_itself() -> None:
    calls: list[tuple[float, float, str, str]] = []

    def listen(done: float, total: float, unit: str, note: str = "") -> None:
        calls.append((done, total, unit, note))

    with reporting(listen) as progress:
        progress(1, 2, "image")
    assert calls == [(1, 2, "image", "")]
    with reporting(False) as progress:
        assert progress is silent
    with reporting(True) as progress:
        progress(1, 2, "image", "note")


def test_a_bar_that_is_not_on_a_terminal_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        for done in (1, 2, 1):  # the third is another piece of work
            bar(done, 2, "comparison", "step")
    assert capsys.readouterr() == ("", "")


def test_a_run_is_measured_in_comparisons(tiny: mosaic.DataSet) -> None:
    """Where all windows are compared, a step takes a share in proportion to the side of its window."""
    done: list[float] = []
    totals, units = set(), set()

    def listen(now: float, total: float, unit: str, note: str = "") -> None:
        done.append(now)
        totals.add(total)
        units.add(unit)

    settings = {"samples": 1, "steps": 3, "scales": [1, 3, 5], "score_options": {"boundary": "circular"}}
    mosaic.run("els", tiny, **settings, progress=listen)
    (total,) = totals
    assert units == {"comparison"}
    shares = [(now - before) / total for before, now in zip([0.0, *done], done, strict=False)]
    assert shares == pytest.approx([5 / 9, 3 / 9, 1 / 9])


def test_a_training_and_a_calibration_say_what_they_count(tiny: mosaic.DataSet) -> None:
    seen: list[tuple[float, float, str]] = []

    def listen(done: float, total: float, unit: str, note: str = "") -> None:
        seen.append((done, total, unit))

    small = {"channels": 4, "blocks": 1}
    mosaic.train("resnet", tiny, out="net", epochs=3, batch_size=5, network_options=small, progress=listen)
    assert seen[-1] == (36, 36, "image")
    seen.clear()
    mosaic.calibrate("net", dataset=tiny, samples=2, steps=2, sizes="3-5", progress=listen)
    assert all(0 <= done <= total for done, total, _ in seen)
    assert seen[-1][0] == pytest.approx(seen[-1][1])
