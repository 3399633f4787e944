"""A leaderboard entry in a process of its own: `python -m mosaic.evaluate.leaderboard.process ENTRY`.

So its peak memory is its own. On its stdout, lines `@mosaic progress SHARE` say how much is done, and lines
`@mosaic note TEXT` what a caller should know. The last other line says what went wrong.

An entry that is made of objects works in the process that has them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

from mosaic.engine.distribute import distributing
from mosaic.errors import MosaicError, MosaicWarning, warn_of
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry, plan_along, steps_job
from mosaic.progress import Progress, piece_of
from mosaic.run.cluster import connected, scheduler_in_use
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.storage.executor import executing

__all__ = ["execute", "execute_here", "execute_in_own_process"]

MARK = "@mosaic "  # what lines start with that are meant for the process that started this one


def execute_in_own_process(entry: LeaderboardEntry, progress: Progress) -> None:
    """Execute an entry in a process of its own, to measure its peak memory.

    Raises
    ------
    MosaicError
        If it fails, with the last line of what it says.
    """
    entry = entry.model_copy(update={"scheduler": scheduler_in_use()})
    command = [sys.executable, "-m", "mosaic.evaluate.leaderboard.process", entry.model_dump_json()]
    message = ""
    progress(0.0, 1.0, "entry")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"},
    )
    with process:
        try:
            for line in process.stdout or ():
                kind, _, text = line.strip().removeprefix(MARK).partition(" ")
                if not line.startswith(MARK):
                    message = line.strip() or message
                elif kind == "progress":
                    progress(float(text), 1.0, "entry")
                else:
                    warn_of([f"{entry.run.score}: {text}"])
        except BaseException:  # even an interrupt must not leave the process running
            process.kill()
            raise
    if process.returncode:
        raise MosaicError(message or f"its process ended with {process.returncode}")


def execute_here(entry: LeaderboardEntry, plan: Plan, progress: Progress) -> None:
    """Execute an entry in this process, as only it has the objects of `plan`; its peak memory is not measured.

    Raises
    ------
    MosaicError
        If it fails, by whatever it is made of.
    """
    try:
        _execute(entry, plan, progress, own_process=False)
    except MosaicError:
        raise
    except Exception as error:  # of a user's own code; the other entries go on
        raise MosaicError(f"{type(error).__name__}: {error}") from error


def execute(entry: LeaderboardEntry) -> None:
    """Run the score model, or resume its run; then evaluate it along other flows. Says how much is done."""
    with connected(entry.scheduler):
        _execute(entry, entry.prepare(), _print_share, own_process=True)


def _execute(entry: LeaderboardEntry, plan: Plan, progress: Progress, own_process: bool) -> None:
    first, *works = entry.works()
    whole, done = first + sum(works), first
    job_of(plan, entry.out).execute(resume=True, progress=piece_of(progress, 0.0, first, whole, "entry")).close()
    with executing(None), distributing(None):  # their time and memory are measured
        for along, work in zip(entry.along, works, strict=True):
            single = steps_job(entry, along, plan_along(entry, along, plan), own_process)
            single.execute(resume=True, progress=piece_of(progress, done, work, whole, "entry")).close()
            done += work


def _print_share(done: float, total: float, unit: str, note: str = "") -> None:
    """Print what share of the work is done, for the process that started this one: a `Progress`."""
    sys.stdout.write(f"{MARK}progress {done / total:.4f}\n")
    sys.stdout.flush()


def _print_note(message: Warning | str, category: type[Warning], *rest: object) -> None:
    """Print a note of mosaic for the process that started this one, on one line."""
    if issubclass(category, MosaicWarning):
        sys.stdout.write(f"{MARK}note {' '.join(str(message).split())}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("always", MosaicWarning)
    warnings.showwarning = _print_note  # type: ignore[assignment]
    try:
        given = LeaderboardEntry.model_validate_json(sys.argv[1])
        sys.argv = given.command_line or sys.argv
        execute(given)
    except MosaicError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(int(error.exit_code))
