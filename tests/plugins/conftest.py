"""Everything in one piece, and in pieces of a few images."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["whole", "cut"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute twice: in one piece, and in pieces of a few images."""
    if request.param == "cut":
        monkeypatch.setattr("mosaic.engine.compute.CPU_BLOCK", 64)
        monkeypatch.setattr("mosaic_plugins.gaussian.CHUNK", 4)
        monkeypatch.setattr("mosaic_plugins.pca_locality.BLOCK", 7)
        monkeypatch.setattr("mosaic_plugins.patch_posterior.BLOCK", 80)
