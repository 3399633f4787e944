"""What a report shows of a run, as a mapping that JSON can hold: pictures as PNG, arrays deflated, in base64."""

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from mosaic.interfaces.dataset import DataSet
from mosaic.storage.requirements import attribute_of, check_steps, known_values, require, setting_of, title_of
from mosaic.storage.schema import SAVED, SAVED_WITH_IMAGE
from mosaic.storage.trajectory import check_training_set
from mosaic.view.images import class_of
from mosaic.view.mosaics import check_places

__all__ = ["NEEDED", "contents_of", "packed", "picture_of"]

TRAINING_BYTES = 2_000_000  # of training images shown, at most, before compression
COLUMNS = 32  # of training images in their common picture
NEEDED = ("state", "denoised", "image", "time", "scale", "sample", "label")
PROVENANCE = (*SAVED_WITH_IMAGE, *SAVED["provenance"])
FACTS = (
    "score",
    "dataset",
    "schedule",
    "sampler",
    "steps",
    "seed",
    "score_options",
    "dataset_options",
    "sampler_options",
    "scales",
)


def packed(array: NDArray[Any]) -> dict[str, str]:
    """An array's bytes, little-endian, deflated, in base64, and its type as JavaScript calls it."""
    names = {"uint8": "Uint8Array", "uint16": "Uint16Array", "int32": "Int32Array", "float32": "Float32Array"}
    data = zlib.compress(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes(), 9)
    return {"type": names[str(array.dtype)], "data": base64.b64encode(data).decode()}


def picture_of(images: NDArray[np.float64], low: float, high: float) -> str:
    """An image (C, H, W), clamped to [low, high], as the address of an embedded PNG."""
    levels = np.clip((images - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(np.moveaxis(levels, 0, -1) if len(levels) == 3 else levels[0])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def contents_of(run: xr.Dataset, name: str, samples: list[int], dataset: DataSet | None, frames: int) -> dict[str, Any]:
    """Collect what a report shows of a run.

    Parameters
    ----------
    run : xarray.Dataset
        A trajectory.
    name : str
        What it is called.
    samples : list of int
        Positions along `sample`.
    dataset : DataSet, optional
        Its training set; without it no training images are shown.
    frames : int
        Steps of the flow shown, at most.

    Raises
    ------
    DataError
        If the run does not hold what is shown, or `dataset` is not its training set.
    """
    low, high = attribute_of(run, "dataset_range")
    run = require(run, NEEDED)
    check_steps(run)
    chosen = run.isel(sample=samples)
    steps = _frames(chosen, frames)
    states, denoised = (known_values(chosen.isel(step=steps), variable).values for variable in ("state", "denoised"))
    times, scales = known_values(run, "time").values, known_values(run, "scale").values
    images = known_values(chosen, "image").values
    # All frames beside each other, what was denoised below.
    films = [
        np.concatenate([np.concatenate(list(row), 2) for row in pair], 1) for pair in zip(states, denoised, strict=True)
    ]
    contents = {
        "name": name,
        "title": title_of(run),
        "facts": _facts(run),
        "shape": [run.sizes[axis] for axis in ("channel", "height", "width")],
        "samples": known_values(chosen, "sample").values.tolist(),
        "labels": [class_of(run, label) for label in known_values(chosen, "label").values.tolist()],
        "span": high - low,
        "steps": [len(steps), run.sizes["step"]],
        "last_scale": int(scales[-1]),
        "times": times[steps].round(4).tolist(),
        "scales": scales[steps].tolist(),
        "boundary": setting_of(run, "score_options").get("boundary"),
        "films": [picture_of(film, low, high) for film in films],
        "finals": [picture_of(image, low, high) for image in images],
        "levels": [packed(_levels(image, low, high)) for image in images],
    }
    if _keeps_provenance(run):
        contents["provenance"] = _provenance(chosen, steps)
        if dataset is not None:
            check_training_set(run, dataset)
            for n, last in enumerate(contents["provenance"]["last"]):
                last["apart"] = packed(_apart(chosen.isel(sample=[n]), dataset, high - low))
            contents["training"] = _training(chosen, steps, dataset, low, high)
    return contents


def _frames(run: xr.Dataset, count: int) -> NDArray[np.int64]:
    """Steps to show: first, last, and of those at which candidates are kept (else of all) as many as there is room."""
    total = run.sizes["step"]
    held = _kept(run)
    wanted = held if len(held) > 1 else list(range(total))
    spread = np.linspace(0, len(wanted) - 1, min(count, len(wanted))).round().astype(int)
    return np.unique([0, total - 1, *np.array(wanted)[spread]]).astype(np.int64)


def _keeps_provenance(run: xr.Dataset) -> bool:
    return all(name in run for name in PROVENANCE)


def _kept(run: xr.Dataset) -> list[int]:
    """Steps at which the best candidates are kept."""
    if not _keeps_provenance(run):
        return []
    require(run, PROVENANCE)
    places = run["candidate_image"].isel(sample=0)
    return [step for step in range(run.sizes["step"]) if float(places.isel(step=step).min()) >= 0]


def _facts(run: xr.Dataset) -> list[list[str]]:
    """Where the run came from, as pairs of name and value."""
    configuration = attribute_of(run, "configuration")
    pairs = [[key, configuration[key]] for key in FACTS if configuration.get(key) not in (None, {})]
    made_by = ("created", "mosaic_version", "torch_version", "device", "command_line")
    pairs += [[key, str(run.attrs[key])] for key in made_by if key in run.attrs]
    pairs += [["dataset_fingerprint", attribute_of(run, "dataset_fingerprint")]]
    return [[key, value if isinstance(value, str) else json.dumps(value)] for key, value in pairs]


def _apart(sample: xr.Dataset, dataset: DataSet, span: float) -> NDArray[np.uint16]:
    """Largest difference over channels between final pixels and their sources; 65,535 is the whole range of pixels."""
    image, row, column = (known_values(sample, f"source_{name}").values[0] for name in ("image", "row", "column"))
    check_places(image, row, column, dataset.shape[1:], len(dataset))
    source = dataset.images[image.astype(np.int64), :, row.astype(np.int64), column.astype(np.int64)].cpu().numpy()
    apart = np.abs(np.moveaxis(source, -1, 0) - known_values(sample, "image").values[0]).max(0) / span
    shares: NDArray[np.uint16] = (apart.clip(0, 1) * 65535).round().astype(np.uint16)
    return shares


def _levels(image: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint16]:
    """An image (C, H, W), clamped, as integers from 0 to 65,535, for scatter plots."""
    levels: NDArray[np.uint16] = (np.clip((image - low) / (high - low), 0, 1) * 65535).round().astype(np.uint16)
    return levels


def _provenance(run: xr.Dataset, frames: NDArray[np.int64]) -> dict[str, Any]:
    """Sources of the final images, and at each frame the best candidates, their weight and the entropy, if kept."""
    last = [_places(run.isel(sample=[n]), "source", "multiplicity") for n in range(run.sizes["sample"])]
    held = set(_kept(run))
    kept = [place for place, step in enumerate(frames.tolist()) if step in held]
    steps = []
    for n in range(run.sizes["sample"]):
        sample = run.isel(sample=[n], step=frames[kept])
        equals = known_values(sample, "candidate_multiplicity").clip(min=1).values
        weight = known_values(sample, "candidate_weight").values * equals
        weight = (weight.clip(0, 1) * 65535).round().astype(np.uint16)
        steps.append({**_places(sample, "candidate", "candidate_multiplicity"), "weight": packed(weight)})
        if "entropy" in sample or "n_eff" in sample:
            is_log = "entropy" in sample
            entropy = known_values(sample, "entropy").values if is_log else np.log(known_values(sample, "n_eff").values)
            steps[-1]["entropy"] = packed((entropy * 1000).round().astype(np.uint16))
    return {"last": last, "kept": kept, "steps": steps}


def _places(sample: xr.Dataset, prefix: str, multiplicity: str) -> dict[str, Any]:
    side = np.uint8 if max(sample.sizes["height"], sample.sizes["width"]) <= 256 else np.uint16
    return {
        "image": packed(known_values(sample, f"{prefix}_image").values.astype(np.int32)),
        "row": packed(known_values(sample, f"{prefix}_row").values.astype(side)),
        "column": packed(known_values(sample, f"{prefix}_column").values.astype(side)),
        "multiplicity": packed(known_values(sample, multiplicity).values.astype(np.int32)),
    }


def _training(run: xr.Dataset, frames: NDArray[np.int64], dataset: DataSet, low: float, high: float) -> dict[str, Any]:
    """Training images that pixels come from, in one picture: those of final images first, then those of other steps."""
    final, final_counts = np.unique(known_values(run, "source_image").values, return_counts=True)
    way, way_counts = np.unique(run["candidate_image"].isel(step=frames).values, return_counts=True)
    ordered = [*final[np.argsort(-final_counts, kind="stable")], *way[np.argsort(-way_counts, kind="stable")]]
    known = [index for index in dict.fromkeys(map(int, ordered)) if 0 <= index < len(dataset)]
    channels, height, width = dataset.shape
    chosen = known[: max(1, TRAINING_BYTES // (channels * height * width))]
    images = dataset.images[chosen].cpu().numpy()
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    sheet = np.full((rows * columns, channels, height, width), low, images.dtype)
    sheet[: len(chosen)] = images
    whole = sheet.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    labels = None if dataset.labels is None else dataset.labels.cpu()[chosen].tolist()
    return {
        "picture": picture_of(whole.reshape(channels, rows * height, columns * width), low, high),
        "columns": columns,
        "places": {index: place for place, index in enumerate(chosen)},
        "classes": [] if labels is None else [dataset.classes[label] for label in labels],
        "left_out": len(known) - len(chosen),
    }
