"""Progress of long work: one protocol, pieces of larger work, a bar on a terminal or in a notebook, and silence."""

from __future__ import annotations

import math
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html import escape
from typing import Protocol

__all__ = ["Pace", "Progress", "piece_of", "prefixed", "printable", "progress_bar", "reporting", "silent"]

MEMORY = 60.0  # seconds after which work counts 1/e as much for the speed
UPDATE = 0.1  # seconds between two updates in a notebook

# Kinds of characters that a terminal obeys: control characters, halves of surrogate pairs, separators of lines; and the
# characters that turn the direction of writing.
UNSEEN = ("Cc", "Cs", "Zl", "Zp")
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: str) -> str:
    r"""Show control characters of a text as `\x1b`: a terminal would obey them, in a name or path that another chose.

    So are line breaks, which would let a name write a line of its own. Letters of all languages stay.
    """
    if text.isascii() and text.isprintable():  # nearly always
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in UNSEEN and character not in TURNING:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a path that is not text
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


class Progress(Protocol):
    """Shows how far long work is.

    Work is measured in what costs time (weighted comparisons, images trained), not in steps, which may differ in cost.
    A comparison of windows weighs k, since engines share the products of overlapping windows; one of whole images
    weighs 1.
    """

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Take note that `done` of `total` units of work are done.

        The first call says where work starts, before any of it: what is done already.

        Parameters
        ----------
        done, total : float
            0 <= done <= total. When another piece of work begins, `done` falls and `total` may change.
        unit : str
            What is counted, such as "weighted comparison" or "image".
        note : str
            What is being worked on, in a few words.
        """


def silent(done: float, total: float, unit: str, note: str = "") -> None:
    """Show nothing: the null object of `Progress`."""


def piece_of(progress: Progress, start: float, work: float, whole: float, whole_unit: str) -> Progress:
    """Give the progress of one piece of a larger piece of work, which may count in a unit of its own.

    Parameters
    ----------
    progress : Progress
        Called with the work done of the whole.
    start, work, whole : float
        Where the piece starts in the whole, how much of it the piece is, and how much the whole is.
    whole_unit : str
        What the whole is counted in.

    Returns
    -------
    Progress
        Called with what is done of the piece. A piece of size 0 is done when it first reports.
    """

    def report(done: float, total: float, unit: str, note: str = "") -> None:
        share = done / total if total else 1.0
        # Sums of floating-point numbers depend on the order, so the last piece could end a little beyond the whole.
        progress(min(whole, start + work * share), whole, whole_unit, note)

    return report


def prefixed(progress: Progress, prefix: str) -> Progress:
    """Put what is worked on before each note; where there is no note, it is the note."""

    def report(done: float, total: float, unit: str, note: str = "") -> None:
        progress(done, total, unit, f"{prefix}, {note}" if note else prefix)

    return report


@contextmanager
def reporting(progress: Progress | bool | None) -> Iterator[Progress]:
    """Turn the argument `progress` of a public function into a `Progress`: True is a bar, False or None is silence."""
    if callable(progress):
        yield progress
    elif progress:
        with progress_bar() as bar:
            yield bar
    else:
        yield silent


class Pace:
    """How long work has taken, and how long it will still take at its recent speed.

    The speed is the work done in time, both weighed less the longer ago. What was done before the first report, by an
    earlier session that is resumed, does not count.

    Parameters
    ----------
    clock : callable
        Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._of = clock, (0.0, "")
        self._start = self._latest = clock()
        self._done = self._recent_work = self._recent_seconds = 0.0

    def report(self, done: float, total: float, unit: str) -> bool:
        """Take note of work, as a `Progress`; True if it is another piece of work, which has another speed."""
        now, is_new = self._clock(), self._of != (total, unit) or done < self._done
        if is_new:
            self._start, self._recent_work, self._recent_seconds = now, 0.0, 0.0
        else:
            passed = now - self._latest
            kept = math.exp(-passed / MEMORY)
            self._recent_work = kept * self._recent_work + done - self._done
            self._recent_seconds = kept * self._recent_seconds + passed
        self._of, self._done, self._latest = (total, unit), done, now
        return is_new

    def share(self) -> float:
        """Share of the work that is done."""
        return self._done / self._of[0] if self._of[0] else 0.0

    def left(self) -> float | None:
        """Seconds left; None while the speed is not known."""
        if self._recent_work <= 0:
            return None
        left = (self._of[0] - self._done) * self._recent_seconds / self._recent_work
        return max(0.0, left - (self._clock() - self._latest))

    def __str__(self) -> str:
        left = self.left()
        return f"{_clock_time(self._clock() - self._start)}, {'-:--' if left is None else _clock_time(left)} left"


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


@contextmanager
def progress_bar(visible: bool = True) -> Iterator[Progress]:
    """Show a bar with the time left in a notebook, or on stderr if that is a terminal; nothing where neither is there.

    Parameters
    ----------
    visible : bool
        Whether to show it at all.
    """
    if visible and _in_notebook():
        with _notebook_bar() as bar:
            yield bar
    elif visible and sys.stderr is not None and sys.stderr.isatty():
        with _terminal_bar() as bar:
            yield bar
    else:
        yield silent


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook; IPython on a terminal has none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def _terminal_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape as in_markup
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column
    from rich.text import Text

    pace = Pace()

    class Time(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(str(pace))

    bar = Bar(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=40)),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        Time(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("starting", total=None)

    def show(done: float, total: float, unit: str, note: str = "") -> None:
        if pace.report(done, total, unit):
            bar.reset(task, total=total)
        bar.update(task, completed=done, description=in_markup(printable(note)))

    with bar:
        yield show


@contextmanager
def _notebook_bar() -> Iterator[Progress]:
    """Show one output of the cell, which changes; it needs no widgets."""
    from IPython.display import display

    pace, latest, handle = Pace(), -math.inf, None

    def show(done: float, total: float, unit: str, note: str = "") -> None:
        nonlocal latest, handle
        pace.report(done, total, unit)
        if time.monotonic() - latest < UPDATE:
            return
        latest = time.monotonic()
        text = f"{pace.share():.0%}, {pace}  {printable(note)}"
        page = f'<progress value="{pace.share():.4f}" style="vertical-align: middle"></progress> {escape(text)}'
        content = {"text/plain": text, "text/html": page}
        if handle is None:
            handle = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(content, raw=True)

    try:
        yield show
    finally:
        if handle is not None:
            handle.update({"text/plain": "", "text/html": ""}, raw=True)
