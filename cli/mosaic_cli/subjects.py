"""What commands that evaluate several SCOREs share: their options, and the times at which they are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from mosaic.errors import UsageError
from mosaic.run.settings import plugin_options, with_owners
from mosaic_cli.data_options import PATH, data_dir

__all__ = ["options_of", "subjects", "times_of"]

Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS = (
    click.option("--checkpoint", metavar="DIR", type=PATH, help="Folder of a network, which then is the first score."),
    click.option("--dataset", metavar="NAME", help="Training set.  [default: the network's, else digits]"),
    click.option("--times", metavar="LIST", help="Times of the schedule.  [default: 0.1,0.3,0.5,0.7,0.9]"),
    click.option("--scales", metavar="SPEC", help="Locality scales of the SCOREs that have some, as for mosaic run."),
    click.option("--class-conditional", is_flag=True, help="Give the scores the images' classes."),
    click.option(
        "-o",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of a score or the data, e.g. els.boundary=zeros.",
    ),
    data_dir,
)


def subjects(function: Function) -> Function:
    """Give a command its SCOREs, and the options that say at which x of which data they are evaluated."""
    for option in reversed(OPTIONS):
        function = option(function)
    return click.argument("scores", nargs=-1, metavar="[SCORE]...")(function)


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
