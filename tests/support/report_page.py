"""What a report's page holds, read back from its script element."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

import mosaic
from mosaic.view.report.contents import contents_of
from mosaic.view.report.sources import Training


def contents(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return dict(json.loads(match[1]))


def unpacked(packed: dict[str, str]) -> np.ndarray:
    kind = packed["type"].removesuffix("Array").lower()
    return np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), kind)


def pixels_of(address: str) -> np.ndarray:
    """Levels of an embedded PNG."""
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def shown_of(run: xr.Dataset, samples: list[int], dataset: mosaic.DataSet | None, frames: int) -> dict[str, Any]:
    """What a report shows of samples of a run, with its training set."""
    training = None if dataset is None else Training.of(run.isel(sample=samples), dataset)
    return contents_of(run, "a", samples, training, frames)
