"""A progress that keeps what it is called with."""

from __future__ import annotations


class Reports(list[tuple[float, float, str, str]]):
    """A `mosaic.Progress`: the list of its calls, each (done, total, unit, note)."""

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        self.append((done, total, unit, note))
