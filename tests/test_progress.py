"""One protocol of progress: pieces of a whole, a bar, a callable of the user's, or silence; in what costs time."""

from __future__ import annotations

import os
import sys
from io import StringIO
from itertools import accumulate, pairwise

import pytest
from reports import Reports

import mosaic
from mosaic.progress import Pace, piece_of, prefixed, printable, progress_bar, reporting, silent


def test_true_is_a_bar_false_is_silence_and_a_callable_is_itself() -> None:
    reports = Reports()
    with reporting(reports) as progress:
        progress(1, 2, "image")
    assert reports == [(1, 2, "image", "")]
    with reporting(False) as progress:
        assert progress is silent
    with reporting(True) as progress:
        progress(1, 2, "image", "note")


def test_a_piece_reports_its_share_of_the_whole_in_the_unit_of_the_whole() -> None:
    reports = Reports()
    piece = piece_of(reports, 10.0, 20.0, 40.0, "image")
    piece(0, 4, "step")
    piece(1, 4, "step", "loss 0.5")
    piece(4, 4, "step")
    assert reports == [(10.0, 40.0, "image", ""), (15.0, 40.0, "image", "loss 0.5"), (30.0, 40.0, "image", "")]


def test_pieces_nest() -> None:
    reports = Reports()
    half = piece_of(reports, 6.0, 6.0, 12.0, "image")
    second_third_of_it = prefixed(piece_of(half, 1.0, 1.0, 3.0, "batch"), "batch 2/3")
    second_third_of_it(1, 2, "step", "step 1/2")
    assert reports == [(pytest.approx(9.0), 12.0, "image", "batch 2/3, step 1/2")]


@pytest.mark.parametrize("work", [0.0, 2.0])
def test_a_piece_without_work_is_done_when_it_reports(work: float) -> None:
    reports = Reports()
    piece_of(reports, 1.0, work, 3.0, "image")(0, 0, "step", "note")
    assert reports == [(1.0 + work, 3.0, "image", "note")]


def test_pieces_one_after_the_other_never_fall_and_end_with_the_whole() -> None:
    """Whatever the order in which the works were added up to the total."""
    reports, works = Reports(), [0.1, 0.7, 1e-17, 0.3, 1 / 3]
    total = sum(sorted(works))
    for start, work in zip(accumulate(works, initial=0.0), works, strict=False):
        for done in range(8):
            piece_of(reports, start, work, total, "image")(done / 10, 0.7, "step")
    assert all(before[0] <= after[0] <= total for before, after in pairwise(reports))
    assert reports[-1][0] == pytest.approx(total)


def test_a_prefix_stands_before_each_note() -> None:
    reports = Reports()
    progress = prefixed(reports, "a row: train")
    progress(1.0, 4.0, "epoch", "loss 0.5")
    progress(4.0, 4.0, "epoch")
    assert reports == [(1.0, 4.0, "epoch", "a row: train, loss 0.5"), (4.0, 4.0, "epoch", "a row: train")]


def test_a_bar_that_is_not_on_a_terminal_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        for done in (1, 2, 1):  # the third is another piece of work
            bar(done, 2, "image", "step")
    assert capsys.readouterr() == ("", "")


def test_a_run_is_measured_in_weighted_comparisons(tiny: mosaic.DataSet) -> None:
    """Where all windows are compared, a step takes a share in proportion to the side of its window."""
    reports = Reports()
    settings = {"samples": 1, "steps": 3, "scales": [1, 3, 5], "score_options": {"boundary": "circular"}}
    mosaic.run("els", tiny, **settings, progress=reports)
    assert {(total, unit) for _, total, unit, _ in reports} == {(12 * 30**2 * (5 + 3 + 1), "weighted comparison")}
    shares = [(now - before) / reports[-1][1] for before, now in pairwise(done for done, *_ in reports)]
    assert shares == pytest.approx([5 / 9, 3 / 9, 1 / 9])


def test_a_training_and_a_calibration_say_what_they_count(tiny: mosaic.DataSet) -> None:
    reports = Reports()
    small = {"channels": 4, "blocks": 1}
    mosaic.train("resnet", tiny, out="net", epochs=3, batch_size=5, network_options=small, progress=reports)
    assert reports[-1][:3] == (36, 36, "image")
    reports.clear()
    mosaic.calibrate("net", dataset=tiny, samples=2, steps=2, sizes="3-5", progress=reports)
    assert all(0 <= done <= total for done, total, *_ in reports)
    assert {unit for _, _, unit, _ in reports} == {"weighted comparison"}
    assert reports[-1][0] == pytest.approx(reports[-1][1])


def test_what_a_note_holds_is_shown_not_obeyed() -> None:
    hostile = "a\x1b[31m\u202eb\udcff\x85\u2028"
    shown = printable(hostile)
    assert shown.isprintable()
    assert shown.replace(r"\x1b", "").startswith("a[31m")
    assert printable("caf\u00e9 \u6f22\u5b57") == "caf\u00e9 \u6f22\u5b57"
    assert printable("a\nError: b\t") == r"a\nError: b\t"
    assert printable(os.fsdecode(b"a\xff\x80")) == r"a\xff\x80"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_shows_brackets_of_a_note_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with progress_bar() as bar:
        bar(1, 2, "image", "[red]a[/] \x1b[5m")
    assert "[red]a[/]" in terminal.getvalue()
    assert " 50%" in terminal.getvalue()
    terminal.truncate(0)
    with progress_bar(visible=False) as bar:
        bar(1, 2, "image")
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_colours_in_a_log_do_not_make_it_a_terminal(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "1")
    with progress_bar() as bar:
        bar(1, 2, "image")
    assert capsys.readouterr() == ("", "")


class Notebook:
    """What IPython is in the kernel of a notebook: the contents of an output, in the order in which they are shown."""

    kernel = "one"

    def __init__(self) -> None:
        self.display, self.shown = self, list[dict[str, str]]()

    def get_ipython(self) -> Notebook:
        return self

    def __call__(self, content: dict[str, str], *, raw: bool, display_id: bool) -> Notebook:
        assert raw
        assert display_id
        assert not self.shown  # one output of the cell
        self.shown.append(content)
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        self.shown.append(content)


def test_a_notebook_shows_one_output_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook, now = Notebook(), [0.0]
    monkeypatch.setitem(sys.modules, "IPython", notebook)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)  # type: ignore[arg-type]
    with reporting(True) as progress:
        monkeypatch.setattr("mosaic.progress.time.monotonic", lambda: now[0])
        for done in range(1001):
            progress(done, 1000, "image", "<b>\x1b")
            now[0] += 0.01
    assert 90 < len(notebook.shown) < 110
    assert notebook.shown[-1] == {"text/plain": "", "text/html": ""}
    assert notebook.shown[-2]["text/html"].count("<b>") == 0
    assert "&lt;b&gt;" in notebook.shown[-2]["text/html"]
    assert notebook.shown[50]["text/plain"].endswith(r"left  <b>\x1b")
    assert capsys.readouterr() == ("", "")


def test_the_time_left_is_in_proportion_to_the_work_and_not_to_steps() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.report(0, 90, "weighted comparison")
    assert pace.left() is None
    for seconds, done in ((50, 50), (30, 80)):  # steps of unequal work
        now[0] += seconds
        pace.report(done, 90, "weighted comparison")
        assert pace.left() == pytest.approx(90 - done)
    now[0] += 4
    assert pace.left() == pytest.approx(6)  # it runs on between two reports
    now[0] += 40
    assert pace.left() == 0
    assert str(pace) == "02:04, 00:00 left"


def test_what_was_done_before_does_not_count_into_the_speed() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.report(900, 1000, "image")
    now[0] = 10.0
    pace.report(910, 1000, "image")
    assert pace.left() == pytest.approx(90)
    assert pace.share() == pytest.approx(0.91)


def test_the_speed_is_a_recent_one_and_that_of_the_piece_of_work() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    for done in range(601):  # ten minutes at 1 a second, then ten minutes at 2
        pace.report(done, 10_000, "image")
        now[0] += 1
    for done in range(602, 1800, 2):
        pace.report(done, 10_000, "image")
        now[0] += 1
    now[0] -= 1
    assert pace.left() == pytest.approx((10_000 - 1798) / 2, rel=0.01)
    for total, unit in ((10_000, "step"), (5_000, "step")):
        assert pace.report(0, total, unit)
        assert pace.left() is None
    assert not pace.report(2_000, 5_000, "step")
    assert pace.report(1_000, 5_000, "step")  # it fell


def test_steps_that_take_minutes_have_a_time_left() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    for done in range(4):
        now[0] = 600.0 * done
        pace.report(done, 10, "step")
    assert pace.left() == pytest.approx(4200)
    assert str(pace) == "30:00, 1:10:00 left"
