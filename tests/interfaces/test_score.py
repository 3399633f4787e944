"""Score models: eps, score and x0hat of one another, noise predictions as models, and what a model takes by default."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import mosaic

LEVEL = mosaic.Level(0.8, 0.6)


def test_eps_and_score_are_those_of_a_gaussian() -> None:
    """For data N(m, v) both are known: the marginal is N(a m, a^2 v + s^2)."""
    m, v, a, s = 0.3, 0.5, LEVEL.signal, LEVEL.noise
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).view(1, 1, 3, 3)
    denoised = m + a * v / (a**2 * v + s**2) * (x - a * m)
    score = -(x - a * m) / (a**2 * v + s**2)
    torch.testing.assert_close(mosaic.score_from_denoised(x, denoised, LEVEL), score)
    torch.testing.assert_close(mosaic.eps_from_denoised(x, denoised, LEVEL), -s * score)


def test_noise_is_recovered_from_the_clean_image() -> None:
    clean, noise = torch.randn(2, 2, 1, 4, 4, dtype=torch.float64)
    x = LEVEL.signal * clean + LEVEL.noise * noise
    torch.testing.assert_close(mosaic.eps_from_denoised(x, clean, LEVEL), noise)


def model(tiny: mosaic.DataSet) -> mosaic.ScoreModel:
    class Plain(mosaic.ScoreModel):
        name = "plain"

        def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
            return x

    return Plain(None, tiny)


def test_a_model_without_candidates_attributes_nothing_and_is_named(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="'plain'"):
        model(tiny).attribute(torch.zeros(1, 1, 6, 5), LEVEL)


def test_by_default_a_model_depends_on_all_of_x_and_compares_nothing(tiny: mosaic.DataSet) -> None:
    traits = model(tiny).traits
    able = (traits.has_scale, traits.has_attribution, traits.is_conditional, traits.is_equivariant)
    assert able == (False, False, False, False)
    assert (traits.window(3), traits.comparisons(3), traits.schedule(), traits.fingerprint()) == (None, 0, None, None)
    assert traits.engine(torch.float64) == "torch"


def without_required_options() -> list[str]:
    return [name for name in mosaic.registry().names("score") if needs_no_options(mosaic.registry().get("score", name))]


def needs_no_options(kind: type[mosaic.ScoreModel]) -> bool:
    try:
        kind.Options()
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", without_required_options())
def test_every_model_takes_batches_of_float32_or_float64_only(name: str, tiny: mosaic.DataSet) -> None:
    kind = mosaic.registry().get("score", name)
    model, level = kind(kind.Options(), tiny), mosaic.Level(0.8, 0.6)
    x = torch.randn(2, *tiny.shape, generator=torch.Generator().manual_seed(0))
    for wrong in (x[0], x[:0], x[:, :, :4], x.bfloat16(), x.half(), x.long(), x.to("meta")):
        with pytest.raises(mosaic.UsageError, match=re.escape(str(wrong.dtype)) + r"|\(.*\)|meta"):
            model.denoise(wrong, level, None, 3)
    with pytest.raises(mosaic.UsageError, match=r"\(3,\)"):
        model.denoise(x, level, torch.tensor([0, 1, 2]), 3)
    narrow = kind(kind.Options(), mosaic.DataSet("narrow", tiny.images.half()))  # a data set is float32 at least
    assert narrow.denoise(x, level, None, 3).dtype == torch.float32


@pytest.mark.parametrize("name", without_required_options())
def test_gradients_and_inference_mode_change_nothing(name: str, tiny: mosaic.DataSet) -> None:
    kind = mosaic.registry().get("score", name)
    x, level = torch.randn(2, *tiny.shape, generator=torch.Generator().manual_seed(0)), mosaic.Level(0.8, 0.6)
    expected = kind(kind.Options(), tiny).denoise(x, level, None, 3)
    with_gradient = kind(kind.Options(), tiny).denoise(x.clone().requires_grad_(), level, None, 3)
    with torch.inference_mode():
        inside = kind(kind.Options(), tiny).denoise(x.clone(), level, None, 3)
    assert torch.equal(with_gradient, expected)
    assert not with_gradient.requires_grad
    assert torch.equal(inside, expected)


@pytest.mark.parametrize("name", without_required_options())
def test_what_a_model_is_called_with_is_checked_by_the_interface(name: str, tiny: mosaic.DataSet) -> None:
    score = mosaic.registry().make("score", name, {}, tiny)
    x = torch.zeros(2, 1, 6, 5)
    bad: list[tuple[str, dict[str, Any]]] = [
        ("ndarray", {"x": x.numpy()}),
        ("list", {"x": x.tolist()}),
        *(
            ("image 1 of 2", {"x": torch.stack([x[0], torch.full_like(x[1], value)])})
            for value in (math.nan, -math.inf)
        ),
        *(("Level", {"level": level}) for level in (0.5, None, (0.8, 0.6))),
        *(("labels", {"labels": labels}) for labels in (0, "01", [0, "a"], [0.5, 1.0], [True, False], [0])),
        *(("scale", {"scale": scale}) for scale in ("3", None, [3], True, math.nan)),
    ]
    for method in ("denoise", "attribute") if score.traits.has_attribution else ("denoise",):
        for named, arguments in bad:
            with pytest.raises(mosaic.UsageError, match=named):
                getattr(score, method)(**{"x": x, "level": LEVEL, "labels": None, "scale": 3, **arguments})
    with pytest.raises(mosaic.UsageError, match=r"noise=0\.0"):
        score.denoise(x, mosaic.Level(1.0, 0.0), None, 3)


def test_labels_may_be_a_list_or_an_array(tiny: mosaic.DataSet) -> None:
    score = mosaic.registry().make("score", "is", {}, tiny)
    x = torch.randn(2, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    wanted = score.denoise(x, LEVEL, torch.tensor([1, -1]))
    for labels in ([1, -1], (1, -1), np.array([1, -1], np.int16), torch.tensor([1, -1], dtype=torch.int32)):
        assert torch.equal(score.denoise(x, LEVEL, labels), wanted)
