"""The page itself: a template, its style and scripts, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import xarray as xr

from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import Progress, piece_of, printable
from mosaic.storage.requirements import check_samples
from mosaic.view.report.contents import contents_of
from mosaic.view.report.differences import differences_of, settings_that_differ
from mosaic.view.report.sources import Training

__all__ = ["SAMPLES", "make_page"]

SAMPLES = 16  # shown, unless asked otherwise
FRAMES = (5, 20)  # steps of the flow shown, at least and at most: as many as the page has room for
LARGEST = 4_800_000  # bytes of a page; frames are left out until it is smaller
SCRIPTS = ("state.js", "images.js", "charts.js", "sources.js", "run.js", "differences.js", "page.js")  # one scope


def make_page(
    runs: Sequence[tuple[str, xr.Dataset]],
    datasets: Sequence[DataSet | None],
    samples: Sequence[int] | None,
    title: str,
    progress: Progress,
) -> str:
    """Make the page of `mosaic.report`.

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
    progress : Progress
        Called with the training images compared with samples.

    Raises
    ------
    UsageError
        If a sample is not in a run, or images of runs shown side by side have different shapes.
    DataError
        If a run does not hold what is shown, or a data set is not its training set.
    """
    import jinja2

    count = min(run.sizes["sample"] for _, run in runs)
    chosen = [int(sample) for sample in samples] if samples is not None else list(range(min(SAMPLES, count)))
    for _, run in runs:
        check_samples(run, chosen)
    shapes = [(name, run["image"].shape[1:]) for name, run in runs]
    if len({shape for _, shape in shapes}) > 1:
        listed = "; ".join(f"{name}: {shape}" for name, shape in shapes)
        raise UsageError(f"Runs in one report must have images of one shape (channel, height, width), not {listed}.")
    parts = {
        name: files("mosaic.view.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html.j2", "page.css", *SCRIPTS)
    }
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(parts["page.html.j2"])
    script = "\n".join(parts[name] for name in SCRIPTS)
    beside = {
        "settings": settings_that_differ([run for _, run in runs]),
        "differences": differences_of([(name, run.isel(sample=chosen)) for name, run in runs]),
    }
    trainings = _trainings([run.isel(sample=chosen) for _, run in runs], datasets, progress)
    frames = min(FRAMES[1], max(run.sizes["step"] for _, run in runs))
    while True:  # fewer frames, until the page is small enough
        pairs = zip(runs, trainings, strict=True)
        shown = [contents_of(run, name, chosen, training, frames) for (name, run), training in pairs]
        # In a script element neither an end tag nor a comment may begin.
        data = json.dumps(_legible({"runs": shown, **beside}), separators=(",", ":")).replace("<", "\\u003c")
        texts = {"title": printable(title), "style": parts["page.css"], "script": script, "data": data}
        page = template.render(texts, traced=any("provenance" in each for each in shown))
        size = len(page.encode())
        if size <= LARGEST or frames <= FRAMES[0]:
            return page
        frames = max(FRAMES[0], min(frames - 1, frames * LARGEST // size))


def _trainings(
    samples: Sequence[xr.Dataset], datasets: Sequence[DataSet | None], progress: Progress
) -> list[Training | None]:
    """The training set of each run's samples, with the image nearest to each sample."""
    sizes = [0 if dataset is None else len(dataset) for dataset in datasets]
    trainings: list[Training | None] = []
    for place, (run, dataset) in enumerate(zip(samples, datasets, strict=True)):
        piece = piece_of(progress, sum(sizes[:place]), sizes[place], sum(sizes), "image")
        trainings.append(None if dataset is None else Training.of(run, dataset, piece))
    return trainings


def _legible(value: Any) -> Any:
    """Show control characters and characters that turn the direction of writing in all texts of a document."""
    if isinstance(value, dict):
        return {key: _legible(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_legible(entry) for entry in value]
    return printable(value) if isinstance(value, str) else value
