"""One protocol of progress: pieces of a whole, a bar, a callable of the user's, or silence; in what costs time."""

from __future__ import annotations

import os
from itertools import accumulate, pairwise

import pytest
from reports import Reports

import mosaic
from mosaic.progress import piece_of, prefixed, printable, progress_bar, reporting, silent


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
    shares = [(now - before) / reports[-1][1] for before, now in pairwise([0.0, *(done for done, *_ in reports)])]
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


def test_a_bar_shows_brackets_of_a_note(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress_bar() as bar:
        bar(1, 2, "image", "[red]a[/] \x1b[5m")
    assert "[red]a[/]" in capsys.readouterr().err
