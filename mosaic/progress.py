"""Progress of long work: one protocol, a bar on a terminal or in a notebook, and silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Progress", "progress_bar", "reporting", "silent"]


class Progress(Protocol):
    """Shows how far long work is.

    Work is measured in what costs time (window comparisons, images trained), not in steps, which may differ in cost.
    """

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Take note that `done` of `total` units of work are done.

        Parameters
        ----------
        done, total : float
            0 <= done <= total. When another piece of work begins, `done` falls and `total` may change.
        unit : str
            What is counted, such as "comparison" or "image".
        note : str
            What is being worked on, in a few words.
        """


def silent(done: float, total: float, unit: str, note: str = "") -> None:
    """Show nothing: the null object of `Progress`."""


@contextmanager
def reporting(progress: Progress | bool) -> Iterator[Progress]:
    """Turn the argument `progress` of a public function into a `Progress`: True is a bar, False is silence."""
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
        bar.update(task, completed=done, description=note)

    with bar:
        yield show
