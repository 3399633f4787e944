"""What a result is, in a line and in a small table: what `result.mosaic` shows of itself."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from mosaic.interfaces.html import table
from mosaic.progress import printable
from mosaic.storage.requirements import exactness_of, title_of
from mosaic.storage.schema import CALIBRATION, CALIBRATION_SCHEMA, SAVED, SAVED_WITH_IMAGE, TRAJECTORY_SCHEMA
from mosaic.view.plot import PICTURED, kinds_of

__all__ = ["facts_of", "line_of", "table_of"]


def facts_of(result: xr.Dataset) -> dict[str, str]:
    """Say what a result is, by name; only what it holds, and no values are read."""
    schema = str(result.attrs.get("schema", ""))
    configuration, sizes = _of_kind(dict, result.attrs, "configuration"), result.sizes
    facts: dict[str, Any] = {"what": PICTURED.get(schema, "not a result of mosaic").removeprefix("a ")}
    facts["of"] = title_of(result) if schema == TRAJECTORY_SCHEMA else result.attrs.get("title")
    facts |= {name: configuration.get(name) for name in ("score", "dataset", "schedule", "sampler", "checkpoint")}
    if facts["dataset"] and "dataset_size" in result.attrs:
        facts["dataset"] = f"{facts['dataset']}, {result.attrs['dataset_size']} images"
    facts |= {name: sizes.get(axis) for name, axis in (("steps", "step"), ("samples", "sample"))}
    if "image" in result:
        facts["images"] = " x ".join(str(sizes[axis]) for axis in ("channel", "height", "width") if axis in sizes)
    facts["exactness"] = exactness_of(result) if schema == TRAJECTORY_SCHEMA else ""
    facts["kept"] = ", ".join(_kept(result, schema))
    facts["metrics"] = ", ".join(map(str, _of_kind(list, result.attrs, "metrics")))
    facts["pictures"] = ", ".join(kinds_of(result))
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def line_of(result: xr.Dataset) -> str:
    """A short `repr`, in printable characters."""
    facts = facts_of(result)
    what, of = facts.pop("what"), facts.pop("of", "")
    shown = [f"{facts[name]} {name}" for name in ("samples", "steps") if name in facts]
    shown += [f"pictures: {facts['pictures']}"] if "pictures" in facts else []
    return printable(f"<mosaic: {what}{f' of {of}' if of else ''}{'; ' if shown else ''}{'; '.join(shown)}>")


def table_of(result: xr.Dataset) -> str:
    """The facts as a table in HTML."""
    facts = facts_of(result)
    return table(facts.pop("what"), facts)


def _kept(result: xr.Dataset, schema: str) -> list[str]:
    """What of a run is kept beside its images, by the names that `save` has."""
    if schema != TRAJECTORY_SCHEMA:
        return [name for name in CALIBRATION if name in result] if schema == CALIBRATION_SCHEMA else []
    known = {"provenance": SAVED_WITH_IMAGE} | {name: item for name, item in SAVED.items() if name != "provenance"}
    return [name for name, variables in known.items() if all(each in result for each in variables)]


def _of_kind(kind: type[Any], attributes: Mapping[Hashable, Any], name: str) -> Any:
    """An attribute that is JSON; empty where it is not there, or damaged: a `repr` does not fail."""
    try:
        content = json.loads(attributes[name])
    except (KeyError, TypeError, ValueError, RecursionError):
        content = None
    return content if isinstance(content, kind) else kind()
