"""Zarr stores written by regions: what lies along `sample`, each sample in chunks of its own, and the rest at the end.

The arrays have their full size from the start, and hold fill values until a region is written. Regions of different
samples share no chunk: several processes may write at once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mosaic.containers.access import ROOT, zarr_library
from mosaic.device import interrupts_held
from mosaic.disk.atomic import flush, replacing

__all__ = ["create_store", "digest_of_region", "in_regions", "is_usable", "write_region", "write_rest"]

NAMES = "regions"  # an attribute of a store in progress: its variables in regions
LARGEST = 2**26  # bytes of a chunk before compression, where a step of a sample is no larger


def in_regions(dataset: xr.Dataset) -> list[str]:
    """Name the variables that are written by regions: the data along `sample`."""
    return [str(name) for name, variable in dataset.data_vars.items() if variable.dims[:1] == ("sample",)]


def create_store(store: Path, block: xr.Dataset, samples: int) -> None:
    """Make a store for so many samples, of the variables of `block`, without values."""
    zarr = zarr_library()
    with _writing():
        group = zarr.create_group(store, zarr_format=3, attributes={NAMES: in_regions(block)})
        for name in in_regions(block):
            variable = block[name]
            shape = (samples, *variable.shape[1:])
            group.create_array(
                name,
                shape=shape,
                dtype=variable.dtype,
                chunks=_chunks(shape, variable.dtype.itemsize),
                compressors=_compressors(),
                fill_value={"f": np.nan, "i": -1}.get(variable.dtype.kind, 0),
                chunk_key_encoding={"name": "default", "separator": "."},
                dimension_names=variable.dims,
                attributes=variable.attrs,
            )


def is_usable(store: Path) -> bool:
    """Whether regions can be written: the metadata of a store and of its arrays are not damaged."""
    try:
        group = zarr_library().open_group(store, mode="r", use_consolidated=False)
        return all(group[name].ndim > 0 for name in group.attrs.get(NAMES, ()))
    except Exception:  # of whatever kind: the files may hold anything
        return False


def write_region(store: Path, block: xr.Dataset, first: int) -> None:
    """Write the variables along `sample` where the samples of `block` belong, the first of them at `first`."""
    with _writing():
        group = zarr_library().open_group(store, mode="r+", use_consolidated=False)
        for name in in_regions(block):
            values = block[name].values
            group[name][first : first + len(values)] = values
    for name in in_regions(block):
        for file in _files(store / name, range(first, first + block.sizes["sample"])):
            flush(file)
        flush(store / name)


def digest_of_region(store: Path, names: Sequence[str], samples: range) -> str:
    """SHA-256 of the chunks of these samples, and of how they are stored; empty where one is not there."""
    digest = hashlib.sha256()
    try:
        for name in names:
            for file in (store / name / ROOT, *_files(store / name, samples)):
                content = file.read_bytes()
                digest.update(f"{name}/{file.name} {len(content)}\n".encode() + content)
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return digest.hexdigest()


def write_rest(store: Path, rest: xr.Dataset, names: Sequence[str]) -> None:
    """Write what is not in regions, as these variables are, and the root attributes; what a kill left of it goes."""
    zarr = zarr_library()
    encoding = {
        str(name): {"compressors": _compressors(), "chunks": variable.shape}
        for name, variable in rest.variables.items()
        if variable.ndim and variable.size and variable.dtype.kind in "biuf"
    }
    with _writing():
        for folder in store.iterdir():
            if folder.is_dir() and folder.name not in names:
                shutil.rmtree(folder)
        rest.to_zarr(store, mode="a", encoding=encoding, zarr_format=3, consolidated=False)  # adds arrays; no region
        zarr.consolidate_metadata(store, zarr_format=3)
    _settle(store, [*names, *map(str, rest.variables)])
    for name in rest.variables:
        for path in (store / str(name)).rglob("*"):
            flush(path)
    flush(store / ROOT)
    flush(store)


def _settle(store: Path, names: Sequence[str]) -> None:
    """Put the variables in this order, in which they are opened, in the consolidated metadata."""
    root = json.loads((store / ROOT).read_bytes())
    root["attributes"].pop(NAMES, None)
    arrays = root["consolidated_metadata"]["metadata"]
    root["consolidated_metadata"]["metadata"] = {name: arrays[name] for name in names}
    with replacing(store / ROOT) as temporary:
        temporary.write_text(json.dumps(root, indent=1))


@contextmanager
def _writing() -> Iterator[None]:
    """Write all chunks, those of fill values too, with interrupts held, and without advice on the format."""
    with interrupts_held(), zarr_library().config.set({"array.write_empty_chunks": True}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # consolidated metadata, and texts, are not in version 3 yet
        yield


def _compressors() -> list[Any]:
    """As in netCDF files: zlib 1 of shuffled bytes, and a checksum by which damage is found when a chunk is read."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    return [BloscCodec(cname="zlib", clevel=1, shuffle="shuffle"), Crc32cCodec()]


def _chunks(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Whole trajectories; of large ones so many steps that a chunk is no larger than `LARGEST`."""
    if len(shape) < 2:
        return (1,)
    steps = LARGEST // max(1, size * math.prod(shape[2:]))
    return (1, min(shape[1], max(1, steps)), *shape[2:])


def _files(array: Path, samples: range) -> Iterator[Path]:
    """Files of the chunks of these samples, in order."""
    metadata = json.loads((array / ROOT).read_bytes())
    shape, chunks = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
    behind = [range(-(-size // chunk)) for size, chunk in zip(shape[1:], chunks[1:], strict=True)]
    for place in itertools.product(samples, *behind):
        yield array / ".".join(map(str, ("c", *place)))
