"""The page itself: a template, its style and script, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import printable
from mosaic.registry.loading import registry
from mosaic.storage.requirements import check_samples, require, tensor_of
from mosaic.storage.trajectory import check_same_start
from mosaic.view.report.contents import NEEDED, contents_of

__all__ = ["SAMPLES", "make_report"]

SAMPLES = 16  # shown, unless asked otherwise
FRAMES = (20, 14, 10, 7, 5)  # steps of the flow shown, at most: as many as the page has room for
LARGEST = 4_800_000  # bytes of a page; frames are left out until it is smaller


def make_report(
    runs: Sequence[tuple[str, xr.Dataset]],
    datasets: Sequence[DataSet | None],
    samples: Sequence[int] | None = None,
    title: str = "Mosaics",
) -> str:
    """Make a self-contained page about one run, or several side by side.

    Parameters
    ----------
    runs : sequence of (str, xarray.Dataset)
        Names and trajectories.
    datasets : sequence of (DataSet or None)
        Their training sets; where there is none, no training images are shown.
    samples : sequence of int, optional
        Positions along `sample`; by default the first `SAMPLES` that all runs have.
    title : str
        Of the page.

    Raises
    ------
    UsageError
        If a sample is not in a run, or images of runs shown side by side have different shapes.
    DataError
        As for `contents_of`.
    """
    import jinja2

    runs = [(name, require(run, NEEDED, f"run '{name}'")) for name, run in runs]
    count = min(run.sizes["sample"] for _, run in runs)
    chosen = list(samples) if samples is not None else list(range(min(SAMPLES, count)))
    for _, run in runs:
        check_samples(run, chosen)
    shapes = [(name, run["image"].shape[1:]) for name, run in runs]
    if len({shape for _, shape in shapes}) > 1:
        listed = "; ".join(f"{name}: {shape}" for name, shape in shapes)
        raise UsageError(f"Runs in one report must have images of one shape (channel, height, width), not {listed}.")
    parts = {
        name: files("mosaic.view.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html.j2", "page.css", "page.js")
    }
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(parts["page.html.j2"])
    agreement = _agreement([run.isel(sample=chosen) for _, run in runs])
    page = ""
    for frames in FRAMES:  # fewer frames, until the page is small enough
        pairs = zip(runs, datasets, strict=True)
        shown = [contents_of(run, name, chosen, dataset, frames) for (name, run), dataset in pairs]
        # In a script element neither an end tag nor a comment may begin.
        data = json.dumps(_legible({"runs": shown, "agreement": agreement}), separators=(",", ":"))
        data = data.replace("<", "\\u003c")
        page = template.render(title=printable(title), style=parts["page.css"], script=parts["page.js"], data=data)
        if len(page.encode()) <= LARGEST:
            break
    return page


def _legible(value: Any) -> Any:
    """Show control characters and characters that turn the direction of writing in all texts of a document."""
    if isinstance(value, dict):
        return {key: _legible(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_legible(entry) for entry in value]
    return printable(value) if isinstance(value, str) else value


@standard_torch()
def _agreement(runs: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Name of the first metric of agreement, and its values (sample) of each run after the first against the first.

    None in place of the values of a run that did not start from the same noise and labels: image by image there is
    nothing to compare.
    """
    name = registry().agreement_metrics()[0]
    metric = registry().make("metric", name, {})
    first = tensor_of(runs[0], "image")
    rows: list[list[Any] | None] = []
    for run in runs[1:]:
        try:
            check_same_start(run, runs[0], "first run")
        except UsageError:
            rows.append(None)
            continue
        values = metric(tensor_of(run, "image"), first).tolist()
        rows.append([value if np.isfinite(value) else None for value in values])
    return {"metric": name, "values": rows}
