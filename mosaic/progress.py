"""Progress of long work: one protocol, pieces of larger work, a bar on a terminal or in a notebook, and silence."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Progress", "piece_of", "prefixed", "printable", "progress_bar", "reporting", "silent"]


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


@contextmanager
def progress_bar(visible: bool = True) -> Iterator[Progress]:
    """Show a bar with the time left on stderr, or in a notebook; nothing where neither is there.

    Parameters
    ----------
    visible : bool
        Whether to show it at all.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=40)),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (visible and (console.is_terminal or console.is_jupyter)),
    )
    task = bar.add_task("starting", total=None)
    last: dict[str, Any] = {"done": 0.0, "work": None}

    def show(done: float, total: float, unit: str, note: str = "") -> None:
        # Another piece of work has another speed, so its clock starts again.
        if last["work"] != (total, unit) or done < last["done"]:
            bar.reset(task, total=total)
        last["done"], last["work"] = done, (total, unit)
        bar.update(task, completed=done, description=escape(printable(note)))

    with bar:
        yield show
