"""What a run requires of a score model."""

from __future__ import annotations

import pytest
import torch
from careless import Careless

import mosaic


def test_a_network_multiplies_in_full_float32(tiny: mosaic.DataSet) -> None:
    """CUDA's default for convolutions is less; what a user's own code multiplies in is left as it was."""
    backends, seen = torch.backends, []

    def eps(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32))
        return x

    before = backends.cudnn.allow_tf32
    mosaic.run(score=eps, dataset=tiny, steps=2, samples=1)
    assert set(seen) == {(False, False)}
    assert backends.cudnn.allow_tf32 == before


def test_a_score_that_gives_nan_or_no_tensor_stops_the_run(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.MosaicError, match=r"\b0 \(Level\("):
        mosaic.run(score=lambda x, t: x * float("nan"), dataset=tiny)
    with pytest.raises(mosaic.UsageError, match="NoneType"):
        mosaic.run(score=lambda x, t: None, dataset=tiny)


@pytest.mark.parametrize(
    ("spoils", "message"),
    [("x", "Careless'.* x"), ("images", "Careless'.*images"), ("none", "NoneType")],
)
def test_a_score_model_that_spoils_what_it_is_lent_is_stopped(tiny, spoils, message):
    model = Careless(None, tiny)
    model.spoils = spoils
    with pytest.raises(mosaic.MosaicError, match=message):
        mosaic.run(model, steps=2, samples=1)


def test_a_score_model_cannot_end_the_program(tiny: mosaic.DataSet) -> None:
    def eps(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        raise SystemExit(0)

    with pytest.raises(mosaic.PluginError, match=r"sys\.exit\(0\)"):
        mosaic.run(score=eps, dataset=tiny, steps=1, samples=1)
