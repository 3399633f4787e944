"""What commands that evaluate several SCOREs share: their options, and the times at which they are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mosaic.errors import UsageError
from mosaic.run.settings import plugin_options, with_owners

__all__ = ["options_of", "times_of"]


def options_of(
    options: Sequence[str], scores: Sequence[str], dataset: str | None
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Sort options by the scores that have them; and those of the training set."""
    from mosaic.interfaces.data_source import DataSetOptions
    from mosaic.registry.loading import registry

    known = {name: registry().get("score", name).Options for name in scores}
    data = DataSetOptions if dataset is None else registry().get("dataset", dataset).Options
    given = with_owners(plugin_options(options, (*known, "dataset")), {**known, "dataset": data})
    named = {key.removesuffix("_options"): values for key, values in given.items()}
    return named, named.pop("dataset", {})


def times_of(text: str | None) -> Sequence[float]:
    """Read a list of times; the usual ones where there is none.

    Raises
    ------
    UsageError
        If it is not one.
    """
    from mosaic.evaluate.subjects import TIMES

    try:
        return TIMES if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"`times` '{text}' must be a list of times such as 0.1,0.5,0.9.") from None
