"""What a report shows of sources: tiles, candidates, and the training images that pixels and samples come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.engine.nearest import nearest_images
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import Progress, silent
from mosaic.storage.requirements import known_values, require, tensor_of
from mosaic.storage.schema import SAVED, SAVED_WITH_IMAGE
from mosaic.storage.trajectory import check_training_set
from mosaic.view.colours import tile_colours
from mosaic.view.mosaics import check_places, sources_wrap, tiles_of
from mosaic.view.report.encoding import packed, picture_of, shares

__all__ = ["Training", "keeps_provenance", "provenance_of", "steps_kept", "training_of"]

TRAINING_BYTES = 2_000_000  # of training images shown, at most, before compression
COLUMNS = 32  # of training images in their common picture
PROVENANCE = (*SAVED_WITH_IMAGE, *SAVED["provenance"])


@dataclass(frozen=True)
class Training:
    """The training set of the samples shown.

    Attributes
    ----------
    dataset : DataSet
        The training set.
    nearest : list of int
        Position of the training image nearest to each sample.
    distances : list of float
        How far (L2) it is.
    """

    dataset: DataSet
    nearest: list[int]
    distances: list[float]

    @classmethod
    def of(cls, samples: xr.Dataset, dataset: DataSet, progress: Progress = silent) -> Training:
        """Find the image nearest to each sample of a run.

        Raises
        ------
        DataError
            If `dataset` is not the training set of the run.
        """
        check_training_set(samples, dataset)
        distances, nearest = nearest_images(tensor_of(samples, "image"), dataset.images.cpu(), progress=progress)
        return cls(dataset, nearest[:, 0].tolist(), distances[:, 0].tolist())


def keeps_provenance(run: xr.Dataset) -> bool:
    """Tell whether a run holds where its pixels come from."""
    return all(name in run for name in PROVENANCE)


def steps_kept(run: xr.Dataset) -> list[int]:
    """Steps at which the best candidates are kept."""
    if not keeps_provenance(run):
        return []
    require(run, PROVENANCE)
    places = run["candidate_image"].isel(sample=0).transpose("step", ...).values
    return np.flatnonzero(places.reshape(len(places), -1).min(1) >= 0).tolist()


def provenance_of(run: xr.Dataset, frames: NDArray[np.int64], dataset: DataSet | None, span: float) -> dict[str, Any]:
    """Sources and tiles of the final images; at each frame the best candidates, their weight and the entropy, if kept.

    Parameters
    ----------
    run : xarray.Dataset
        The samples shown.
    frames : array of int
        Positions of the steps shown.
    dataset : DataSet, optional
        The training set, to say how far pixels are from their sources.
    span : float
        Of the pixels' range.
    """
    samples = [run.isel(sample=[n]) for n in range(run.sizes["sample"])]
    last = [{**_places(sample, "source", "multiplicity"), **_tiles(sample, sources_wrap(run))} for sample in samples]
    if dataset is not None:
        for shown, sample in zip(last, samples, strict=True):
            shown["apart"] = shares(_apart(sample, dataset) / span)
    kept, held = _kept(run, frames)
    steps = []
    for sample in [whole.isel(step=held) for whole in samples] if kept else ():
        equals = known_values(sample, "candidate_multiplicity").clip(min=1).values
        weight = shares(known_values(sample, "candidate_weight").values * equals)
        steps.append({**_places(sample, "candidate", "candidate_multiplicity"), "weight": weight})
        if "entropy" in sample or "n_eff" in sample:
            is_log = "entropy" in sample
            entropy = known_values(sample, "entropy").values if is_log else np.log(known_values(sample, "n_eff").values)
            steps[-1]["entropy"] = packed((entropy * 1000).round().astype(np.uint16))
    return {"last": last, "kept": kept, "steps": steps}


def _kept(run: xr.Dataset, frames: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Places among `frames` of the steps at which the best candidates are kept, and these steps."""
    held = set(steps_kept(run))
    kept = [place for place, step in enumerate(frames.tolist()) if step in held]
    return kept, frames[kept].tolist()


def _places(sample: xr.Dataset, prefix: str, multiplicity: str) -> dict[str, Any]:
    side = np.uint8 if max(sample.sizes["height"], sample.sizes["width"]) <= 256 else np.uint16
    return {
        "image": packed(known_values(sample, f"{prefix}_image").values.astype(np.int32)),
        "row": packed(known_values(sample, f"{prefix}_row").values.astype(side)),
        "column": packed(known_values(sample, f"{prefix}_column").values.astype(side)),
        "multiplicity": packed(known_values(sample, multiplicity).values.astype(np.int32)),
    }


def _tiles(sample: xr.Dataset, wraps: bool) -> dict[str, Any]:
    """Tiles of the pixels without equals: the number of each pixel's, their map in colours, and how many there are."""
    names = ("source_image", "source_row", "source_column", "multiplicity")
    image, row, column, multiplicity = (known_values(sample, name).values[0].astype(np.int64) for name in names)
    untied = multiplicity <= 1
    tiles = tiles_of(np.where(untied, image, -1), row, column, wraps)
    colours, _ = tile_colours(image, multiplicity)
    return {
        "tile": packed(tiles.astype(np.int32)),
        "map": picture_of(np.moveaxis(colours, -1, 0), 0, 1),
        "tiles": int(tiles.max()) + 1,
        "images": len(np.unique(image[untied])),
        "untied": float(untied.mean()),
    }


def _apart(sample: xr.Dataset, dataset: DataSet) -> NDArray[np.float64]:
    """Largest difference over channels between final pixels (H, W) and their sources."""
    image, row, column = (known_values(sample, f"source_{name}").values[0] for name in ("image", "row", "column"))
    check_places(image, row, column, dataset.shape[1:], len(dataset))
    source = dataset.images[image.astype(np.int64), :, row.astype(np.int64), column.astype(np.int64)].cpu().numpy()
    apart: NDArray[np.float64] = np.abs(np.moveaxis(source, -1, 0) - known_values(sample, "image").values[0]).max(0)
    return apart


def training_of(
    run: xr.Dataset, frames: NDArray[np.int64], training: Training, low: float, high: float
) -> dict[str, Any]:
    """Training images in one picture: those nearest to whole samples, then sources of final pixels, then of steps."""
    dataset, ordered = training.dataset, list(training.nearest)
    if keeps_provenance(run):
        final, final_counts = np.unique(known_values(run, "source_image").values, return_counts=True)
        ordered += final[np.argsort(-final_counts, kind="stable")].tolist()
        held = _kept(run, frames)[1]
        if held:
            candidates = known_values(run.isel(step=held), "candidate_image").values
            way, way_counts = np.unique(candidates, return_counts=True)
            ordered += way[np.argsort(-way_counts, kind="stable")].tolist()
    known = [index for index in dict.fromkeys(map(int, ordered)) if 0 <= index < len(dataset)]
    channels, height, width = dataset.shape
    chosen = known[: max(run.sizes["sample"], TRAINING_BYTES // (channels * height * width))]
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
        "names": [dataset.name_of(index) for index in chosen],
        "classes": [] if labels is None else [dataset.classes[label] for label in labels],
        "left_out": len(known) - len(chosen),
        "nearest": [
            {"image": index, "distance": distance}
            for index, distance in zip(training.nearest, training.distances, strict=True)
        ],
    }
