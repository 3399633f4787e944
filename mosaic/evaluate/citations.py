"""What to cite for a result: BibTeX entries of the plugins and the software that made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

from mosaic.containers.access import is_zarr
from mosaic.errors import MosaicError
from mosaic.interfaces.arguments import checked
from mosaic.registry.hooks import KINDS
from mosaic.registry.loading import registry
from mosaic.registry.plugin import CORE
from mosaic.storage.files import open_stored
from mosaic.storage.schema import JSON_ATTRIBUTES, TABLES
from mosaic.train.checkpoint import load_checkpoint

__all__ = ["cite"]

MOSAIC = """@software{{mosaic,
  title = {{mosaic: analytic score machines for diffusion models}},
  author = {{{{The mosaic developers}}}},
  version = {{{version}}},
}}"""
SOFTWARE = (
    """@inproceedings{paszke2019pytorch,
  title = {{PyTorch}: An Imperative Style, High-Performance Deep Learning Library},
  author = {Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and Bradbury, James and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}""",
    """@article{hoyer2017xarray,
  title = {xarray: {N-D} labeled arrays and datasets in {Python}},
  author = {Hoyer, Stephan and Hamman, Joe},
  journal = {Journal of Open Research Software},
  volume = {5},
  number = {1},
  year = {2017},
  doi = {10.5334/jors.148},
}""",
)


@checked()
def cite(result: str | PathLike[str]) -> list[str]:
    """Give what to cite for a stored result or checkpoint, as BibTeX entries, each once.

    These are of its theories, networks, samplers, schedules, data sets and metrics, as their plugins state them
    (`references`), and of the software. Networks are those of checkpoints that are still there. A plugin that is no
    longer installed has none.

    Raises
    ------
    DataError
        If there is no such result.

    Examples
    --------
    >>> import mosaic
    >>> run = mosaic.run("els", "digits", steps=2, samples=1, out="els.nc", progress=False)
    >>> [entry.partition(",")[0] for entry in mosaic.cite("els.nc")][:3]
    ['@inproceedings{kamb2025analytic', '@misc{alpaydin1998optical', '@inproceedings{song2021denoising']
    """
    path = Path(result).expanduser()
    if path.is_dir() and not is_zarr(path):
        documents = [dict(load_checkpoint(path).description)]
    else:
        documents = list(_documents(path))
    made = next((str(each["mosaic_version"]) for each in documents if "mosaic_version" in each), version(CORE))
    used = [pair for document in documents for pair in _plugins(document)]
    entries = [entry for kind, name in used for entry in _references(kind, name)]
    return list(dict.fromkeys([*entries, MOSAIC.format(version=made), *SOFTWARE]))


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    """Read the attributes of a stored result, and the names of the score models that it compares."""
    with open_stored(path, tuple(TABLES), "a file of mosaic") as stored:
        yield {str(key): json.loads(text) if key in JSON_ATTRIBUTES else text for key, text in stored.attrs.items()}
        if "score" in stored.coords:
            yield from ({"score": str(name)} for name in stored["score"].values)


def _plugins(document: Any) -> Iterator[tuple[str, str]]:
    """Find the kinds and names of plugins that a document names, at any depth, and those of its checkpoints."""
    if isinstance(document, list):
        for item in document:
            yield from _plugins(item)
    if not isinstance(document, Mapping):
        return
    for key, value in document.items():
        if key in KINDS and isinstance(value, str):
            yield key, value
        elif key == "metrics" and isinstance(value, list):
            yield from (("metric", str(name)) for name in value)
        elif key == "checkpoint" and isinstance(value, str):
            yield from _plugins(_checkpoint(value))
        else:
            yield from _plugins(value)


def _checkpoint(path: str) -> Mapping[str, Any]:
    try:
        return load_checkpoint(path).description
    except MosaicError:  # it was moved since
        return {}


def _references(kind: str, name: str) -> tuple[str, ...]:
    try:
        return tuple(registry().get(kind, name).references)
    except MosaicError:  # another installation's plugin, an object of a program, or the network of a leaderboard
        return ()
