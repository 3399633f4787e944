"""A leaderboard entry in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from reports import Reports

import mosaic
from mosaic.evaluate.leaderboard.entry import Along, LeaderboardEntry
from mosaic.evaluate.leaderboard.process import execute, execute_in_own_process
from mosaic.run.config import RunConfig

pytestmark = pytest.mark.system  # needs a leaderboard, which works in processes of its own


def entry_of(board: Path, folder: Path, **settings: object) -> LeaderboardEntry:
    init = str(board / "network.nc")
    run = RunConfig(score="gaussian", dataset_options={"limit": 40}, samples=2, steps=3, init=init, **settings)
    along = Along(run=board / "network.nc", moments=2, steps=folder / "a-steps.nc")
    return LeaderboardEntry(run=run, out=folder / "a.nc", along=(along,))


def test_the_process_says_what_share_of_both_is_done(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(entry_of(board, tmp_path))  # 3 steps of its own flow, and 2 along the network's
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [words[:2] for words in lines] == [["@mosaic", "progress"]] * 7
    assert [float(share) for _, _, share in lines] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.6, 0.8, 1.0])


def test_what_the_process_says_reaches_the_progress_and_the_error(board: Path, tmp_path: Path) -> None:
    reports = Reports()
    execute_in_own_process(entry_of(board, tmp_path), reports)
    assert entry_of(board, tmp_path).are_steps_done()
    shares = [done / total for done, total, *_ in reports]
    assert shares == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.6, 0.6, 0.8, 1.0])
    with pytest.raises(mosaic.MosaicError, match="'nowhere'"):
        execute_in_own_process(entry_of(board, tmp_path / "b", schedule="nowhere"), reports)


def test_what_the_process_notes_is_noted_here(board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever encoding this process would print."""
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    parts = tmp_path / "é" / "a.nc.parts"
    parts.mkdir(parents=True)
    (parts / "identity.json").write_text("{")
    with pytest.warns(mosaic.MosaicWarning, match=r"gaussian: .*é.*identity\.json' is damaged"):
        execute_in_own_process(entry_of(board, tmp_path / "é"), Reports())
