"""Posteriors whose candidates other processes compare: each compares some shards, and their parts are merged here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, Protocol

from torch import Tensor

from mosaic.engine.compute import DEFAULT
from mosaic.engine.posterior import Posterior
from mosaic.engine.stream import merged

__all__ = ["POSTERIORS", "Distributor", "distributing", "in_shards"]

P = ParamSpec("P")

POSTERIORS: dict[str, Callable[..., Posterior]] = {}
"""The functions that `in_shards` has marked, by their names: what a distributor's processes call."""


class Distributor(Protocol):
    """Compares candidates in other processes."""

    def posteriors(
        self, function: str, x: Tensor, images: Tensor, arguments: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Iterable[Posterior] | None:
        """Give the posteriors of tasks, in order, as `tasks_of` cuts the shards of `images`.

        Each is that of POSTERIORS[function](x, images, *arguments, **options) with `compute.shards` set to the task.
        None if the other processes do not have these images; they are compared here then.
        """


_DISTRIBUTOR: ContextVar[Distributor | None] = ContextVar("distributor", default=None)


@contextmanager
def distributing(distributor: Distributor | None) -> Iterator[None]:
    """Let a distributor compare the candidates of all posteriors that are computed in this context."""
    token = _DISTRIBUTOR.set(distributor)
    try:
        yield
    finally:
        _DISTRIBUTOR.reset(token)


def in_shards(function: Callable[P, Posterior]) -> Callable[P, Posterior]:
    """Mark a function(x, images, *arguments, compute=..., **options) whose posteriors can be distributed.

    It must compare only the shards that `compute.shards` names. Weights and values of candidates, which are as many as
    there are images, are not sent to other processes.
    """
    POSTERIORS[function.__name__] = function

    @wraps(function)
    def whole(*given: P.args, **options: P.kwargs) -> Posterior:
        distributor = _DISTRIBUTOR.get()
        is_part = options.get("compute", DEFAULT).shards is not None  # type: ignore[attr-defined]
        if distributor is None or is_part or any(options.get(name) is not None for name in ("weights", "values")):
            return function(*given, **options)
        x, images, *arguments = given
        parts = distributor.posteriors(function.__name__, x, images, tuple(arguments), options)  # type: ignore[arg-type]
        return function(*given, **options) if parts is None else merged(parts)

    return whole
