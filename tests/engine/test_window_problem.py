"""Windows are compared in blocks, to the same result."""

from __future__ import annotations

import pytest
import torch

import mosaic


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_large_windows_are_cut_in_blocks_to_the_same_result(tiny: mosaic.DataSet, engine: str) -> None:
    x = torch.randn(2, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for boundary in ("zeros", "circular", "valid"):
        whole, cut = (
            mosaic.equivariant_local_posterior(
                x, tiny.images, mosaic.Level(0.6, 0.8), 3, boundary, compute=mosaic.Compute(engine, block=block)
            ).mean()
            for block in (2**20, 10)
        )
        torch.testing.assert_close(cut, whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("k", "boundary"), [(4, "zeros"), (0, "zeros"), (3, "zero"), (7, "valid")])
def test_candidate_functions_refuse_what_they_cannot_do(tiny: mosaic.DataSet, k: int, boundary: str) -> None:
    x = torch.zeros(1, 1, 6, 5)
    for candidates in (mosaic.equivariant_local_posterior, mosaic.local_posterior):
        with pytest.raises(mosaic.UsageError):
            candidates(x, tiny.images, mosaic.Level(0.6, 0.8), k, boundary)
