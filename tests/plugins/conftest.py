"""Everything in one piece, and in pieces of a few images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STORED = Path(__file__).parents[1] / "stored"


@pytest.fixture(params=["whole", "cut"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute twice: in one piece, and in pieces of a few images."""
    if request.param == "cut":
        monkeypatch.setattr("mosaic.engine.compute.CPU_BLOCK", 64)
        monkeypatch.setattr("mosaic_plugins.gaussian.CHUNK", 4)
        monkeypatch.setattr("mosaic_plugins.golden_subset.CHUNK", 4)
        monkeypatch.setattr("mosaic_plugins.patch_posterior.BLOCK", 80)


@pytest.fixture(scope="session")
def published() -> Mapping[str, Any]:
    """What the authors' own modules give on a small input; `tests/stored/README.md` says which."""
    with np.load(STORED / "published.npz") as arrays:
        return dict(arrays)
