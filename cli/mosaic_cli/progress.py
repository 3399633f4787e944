"""Times in words, and bars on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from mosaic_cli.terminal import Terminal

__all__ = ["ProgressBar", "duration"]


def duration(seconds: float) -> str:
    """Say a time in words: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class ProgressBar:
    """A bar on stderr with the time left; nothing where stderr is no terminal, or the command is quiet."""

    def __init__(self, total: float, terminal: Terminal) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=terminal.quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, completed: float, description: str) -> None:
        """Move the bar, and say what is going on."""
        self._bar.update(self._task, completed=completed, description=description)
