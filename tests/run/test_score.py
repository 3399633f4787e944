"""A score at hand: x0hat and what follows from it at any point, and as a denoiser for samplers elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import mosaic


@pytest.fixture
def x(tiny: mosaic.DataSet) -> torch.Tensor:
    return torch.randn(3, *tiny.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def at(t: float) -> mosaic.Level:
    level: mosaic.Level = mosaic.registry().make("schedule", "cosine", {}).level(t)
    return level


@pytest.mark.parametrize("name", ["els", "ls", "is", "gaussian"])
def test_it_gives_what_the_model_gives(tiny: mosaic.DataSet, x: torch.Tensor, name: str) -> None:
    kind, level = mosaic.registry().get("score", name), at(0.4)
    expected = kind(kind.Options(), tiny).denoise(x, level, torch.tensor([0, -1, 1]), 3)
    own = mosaic.score(name, tiny)
    for actual in (
        own.denoise(x, t=0.4, k=3, labels=[0, -1, 1]),
        own.denoise(x.numpy(), level=level, k=3, labels=np.array([0, -1, 1])),
    ):
        assert torch.equal(actual, expected)
    clean = own.denoise(x, 0.4, k=3)
    eps, score = own.eps(x, 0.4, k=3), own.score(x, 0.4, k=3)
    torch.testing.assert_close(x, level.signal * clean + level.noise * eps)
    torch.testing.assert_close(score, -eps / level.noise)


def test_posterior_and_attribution_are_those_of_the_machine(tiny: mosaic.DataSet, x: torch.Tensor) -> None:
    els = mosaic.score("els", tiny)
    posterior, attribution = els.posterior(x, 0.4, k=3), els.attribute(x, 0.4, k=3)
    torch.testing.assert_close(posterior.mean(), els.denoise(x, 0.4, k=3))
    torch.testing.assert_close(posterior.entropy(), attribution.entropy)
    assert torch.equal(
        els.attribute(x, level=mosaic.Level(1.0, 0.0), k=3).source.image, els.attribute(x, 0.0, k=3).source.image
    )
    with pytest.raises(mosaic.UsageError, match="gaussian"):
        mosaic.score("gaussian", tiny).posterior(x, 0.4)


def test_scales_are_those_of_a_run_unless_given(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=4, samples=2, dtype="float64")
    els = mosaic.score("els", tiny)
    for step in range(4):
        moment = run.isel(step=step)
        actual = els.denoise(moment["state"].values.astype(np.float64), float(moment["time"]))
        np.testing.assert_allclose(actual, moment["denoised"], atol=1e-5)
    state = run["state"].isel(step=1).values
    three = mosaic.score("els", tiny, scales=3).denoise(state, 0.75)
    assert torch.equal(three, els.denoise(state, 0.75, k=3))
    assert not torch.equal(three, els.denoise(state, 0.75, k=5))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 1, 1, 1)])
def test_a_denoiser_is_x0hat_of_clean_images_with_noise(tiny: mosaic.DataSet, x: torch.Tensor, shape: Any) -> None:
    els = mosaic.score("els", tiny, scales=3)
    sigma = torch.tensor([0.5, 2.0, 0.5], dtype=torch.float64)[: max(1, *shape, 1)].reshape(shape)
    actual = els.as_denoiser()(x, sigma)
    for row, value in enumerate(sigma.reshape(-1).expand(3).tolist()):
        expected = els.denoise(x[row : row + 1], level=mosaic.Level(1.0, value))
        torch.testing.assert_close(actual[row : row + 1], expected, rtol=1e-9, atol=1e-9)
    far = els.as_denoiser()(1e4 * x, 1e4)  # beyond the schedule: the mean of the candidates
    assert float(far.abs().max()) <= 1


def test_a_sampler_of_another_library_ends_where_a_run_ends(tiny: mosaic.DataSet) -> None:
    """Euler's method in sigma is DDIM."""
    run = mosaic.run("els", tiny, steps=5, samples=2, scales="3", dtype="float64")
    denoiser = mosaic.score("els", tiny, scales=3).as_denoiser()
    sigmas = [*(run["noise"] / run["signal"]).values.tolist(), 0.0]
    y = torch.from_numpy(run["state"].isel(step=0).values.astype(np.float64)) / float(run["signal"][0])
    for sigma, following in pairwise(sigmas):
        y = y + (following - sigma) * (y - denoiser(y, torch.tensor(sigma))) / sigma
    np.testing.assert_allclose(y, run["image"], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "`t`.*`level`"),
        ({"t": 0.5, "level": mosaic.Level(0.8, 0.6)}, "`t`.*`level`"),
        ({"t": 1.5}, r"1\.5"),
        ({"t": "noon"}, "'noon'"),
        ({"t": 0.5, "k": 4}, r"\b4\b"),
        ({"t": 0.5, "labels": [7, 7, 7]}, r"\b7\b"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tiny: mosaic.DataSet, x: torch.Tensor, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        mosaic.score("els", tiny).denoise(x, **arguments)


def test_scales_in_a_list_are_those_of_as_many_steps(tiny: mosaic.DataSet) -> None:
    own = mosaic.score("els", tiny, scales=[3, 3, 5, 7])
    assert [own.scale_at(own.level_at(t)) for t in (0.01, 0.25, 0.5, 0.74, 0.76, 1.0)] == [3, 3, 3, 5, 5, 7]
    assert mosaic.score("els", tiny, scales=5).scale_at(own.level_at(0.3)) == 5


def test_only_registered_machines_are_identified_by_their_names(tiny: mosaic.DataSet) -> None:
    ideal = mosaic.registry().get("score", "is")

    class Scaled(ideal):  # type: ignore[valid-type, misc]
        def denoise(self, x: Any, level: Any, labels: Any = None, scale: float = 0) -> Any:
            return 0.5 * super().denoise(x, level, labels, scale)

    assert "Scaled" in repr(mosaic.score(Scaled(None, tiny)))
    settings: dict[str, Any] = {"steps": 2, "samples": 1, "out": "a.nc"}
    mosaic.run(Scaled(None, tiny), **settings).close()
    with pytest.raises(mosaic.UsageError, match="Scaled"):
        mosaic.run(Scaled(None, tiny), resume=True, **settings)
    for name in ("is", "gaussian"):
        settings["out"] = f"{name}.nc"
        model = mosaic.registry().get("score", name)(None, tiny)
        mosaic.run(model, **settings).close()
        mosaic.run(model, resume=True, **settings).close()


def test_a_denoiser_takes_a_sigma_or_one_for_each_image(tiny: mosaic.DataSet) -> None:
    denoiser = mosaic.score("is", tiny).as_denoiser()
    x = torch.randn(3, *tiny.shape)
    assert torch.equal(denoiser(x, torch.full((3,), 0.5)), denoiser(x, 0.5))
    with pytest.raises(mosaic.UsageError, match=r"2 .*3"):
        denoiser(x, torch.ones(2))


def test_a_score_is_shown_without_what_a_terminal_obeys(tiny: mosaic.DataSet) -> None:
    shown = repr(mosaic.score("is", replace(tiny, name="a\x1b[31mb\u202ec")))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
