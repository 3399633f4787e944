"""ELS with a tolerance: what it stores and says of itself, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.run.estimate import predict_seconds
from mosaic.run.prepare import prepare
from mosaic.view.summary import facts_of

SETTINGS: dict[str, Any] = {"steps": 4, "samples": 3, "scales": "3", "batch_size": 2}
LEVEL = mosaic.Level(0.8, 0.6)


@pytest.fixture(scope="module")
def digits() -> mosaic.DataSet:
    return mosaic.score("els", "digits").model.dataset


def made(dataset: mosaic.DataSet, name: str = "els", **options: Any) -> mosaic.ScoreModel:
    model: mosaic.ScoreModel = mosaic.registry().make("score", name, options, dataset)
    return model


def noisy(dataset: mosaic.DataSet, count: int = 3) -> torch.Tensor:
    noise = torch.randn(count, *dataset.shape, generator=torch.Generator().manual_seed(4))
    return LEVEL.signal * dataset.images[:count] + LEVEL.noise * noise


@pytest.mark.parametrize("name", ["els", "soft-els"])
def test_pixels_are_within_the_tolerance_of_the_exact_machine(name: str, digits: mosaic.DataSet) -> None:
    x = noisy(digits)
    exact = made(digits, name).denoise(x, LEVEL, scale=3)
    estimate = made(digits, name, tolerance=0.05).estimate(x, LEVEL, scale=3)
    off = (estimate.denoised - exact).abs()
    assert float((off < 0.05).double().mean()) >= 0.99
    assert float(off.masked_fill(estimate.stopped[:, None], 0).max()) < 1e-5
    assert float(estimate.compared.max()) < 0.9
    assert float(off.max()) > 0


def test_at_tolerance_0_nothing_changes(digits: mosaic.DataSet) -> None:
    x = noisy(digits)
    plain, zero = made(digits), made(digits, tolerance=0)
    assert torch.equal(plain.denoise(x, LEVEL, scale=3), zero.denoise(x, LEVEL, scale=3))
    assert zero.traits.is_exact
    assert zero.traits.engine(torch.float32) == plain.traits.engine(torch.float32)
    estimate = zero.estimate(x, LEVEL, scale=3)
    assert estimate.compared.tolist() == [1, 1, 1]
    assert not bool(estimate.stopped.any())


def test_a_sample_with_a_label_is_that_of_its_class(digits: mosaic.DataSet) -> None:
    x, model = noisy(digits), made(digits, tolerance=0.1)
    together = model.estimate(x, LEVEL, torch.tensor([4, -1, 4]), 3)
    for sample, label in enumerate([4, -1, 4]):
        alone = model.estimate(x[sample : sample + 1], LEVEL, torch.tensor([label]), 3)
        assert torch.equal(together.denoised[sample], alone.denoised[0])
        assert torch.equal(together.stopped[sample], alone.stopped[0])


def test_a_run_says_that_it_is_not_exact_and_how_much_it_compared(digits: mosaic.DataSet) -> None:
    exact = mosaic.run("els", digits, save="none", **SETTINGS)
    run = mosaic.run(made(digits, tolerance=0.05), **SETTINGS)
    shares = {name: run[name] for name in ("compared_share", "stopped_share", "estimated_error")}
    assert all(values.dims == ("sample", "step") and values.attrs["long_name"] for values in shares.values())
    assert 0 < float(run["compared_share"].min()) < 1
    assert 0 < float(run["estimated_error"].max()) < 0.05 / 3
    assert not set(shares) & set(exact.data_vars)
    assert "tolerance 0.05" in run.attrs["engine"]
    assert "tolerance" not in exact.attrs["engine"]
    assert '"is_exact": false' in run.attrs["traits"]
    assert "not exact" in facts_of(run)["exactness"]
    assert "exactness" not in facts_of(exact)
    assert float(abs(run["image"] - exact["image"]).mean()) < 0.05


def test_a_stored_run_resumes_to_the_same_bits_and_is_not_mistaken_for_an_exact_one(tmp_path: Any) -> None:
    settings = {**SETTINGS, "score_options": {"tolerance": 0.05}, "dataset_options": {"limit": 400}}
    whole = mosaic.run("els", "digits", **settings)
    path = tmp_path / "run.nc"

    def stop(done: float, total: float, unit: str, note: str) -> None:
        if done > 0.7 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mosaic.run("els", "digits", out=path, progress=stop, **settings)
    with pytest.raises(mosaic.UsageError, match="tolerance"):
        mosaic.run("els", "digits", out=path, resume=True, **{**settings, "score_options": {"tolerance": 0}})
    resumed = mosaic.run("els", "digits", out=path, resume=True, **settings)
    for name in ("image", "denoised", "compared_share", "stopped_share", "estimated_error"):
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_a_switch_to_it_is_not_exact_either(digits: mosaic.DataSet) -> None:
    options = {"above": "gaussian", "below": "els", "at": 1.0, "below_options": {"tolerance": 0.1}}
    model = made(digits, "switch", **options)
    assert "tolerance 0.1" in model.traits.engine(torch.float32)
    run = mosaic.run(model, **{**SETTINGS, "samples": 1})
    is_above = (run["noise"] / run["signal"] >= 1).values
    assert (run["compared_share"].values[0][is_above] == 1).all()
    assert (run["compared_share"].values[0][~is_above] < 1).all()


def test_every_evaluation_of_a_step_counts(digits: mosaic.DataSet) -> None:
    run = mosaic.run(made(digits, tolerance=0.1), sampler="heun", **{**SETTINGS, "samples": 1})
    assert run["compared_share"].shape == (1, 4)
    assert bool((run["compared_share"] > 0).all())


def test_its_forecast_is_that_of_comparing_all(digits: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[bool] = []
    denoise = type(made(digits)).denoise

    def watched(self: Any, *given: Any, **more: Any) -> torch.Tensor:
        timed.append(self.traits.is_exact)
        return denoise(self, *given, **more)

    monkeypatch.setattr(type(made(digits)), "denoise", watched)
    config = mosaic.RunConfig(score_options={"tolerance": 0.05}, dataset_options={"limit": 200}, **SETTINGS)
    assert predict_seconds(prepare(config, mosaic.DataAccess()))
    assert timed
    assert all(timed)


def test_shards_are_not_compared_elsewhere(digits: mosaic.DataSet) -> None:
    images = {}
    for tolerance in (0, 0.05):
        config = mosaic.RunConfig(score_options={"tolerance": tolerance}, **SETTINGS)
        images[tolerance] = prepare(config, mosaic.DataAccess(), dataset=digits).shared_images
    assert images == {0: len(digits), 0.05: 0}


def test_what_takes_all_candidates_is_refused(digits: mosaic.DataSet) -> None:
    model = made(digits, tolerance=0.05)
    for method in (model.attribute, model.jacobian):
        with pytest.raises(mosaic.UsageError, match=r"tolerance.*0\.05"):
            method(noisy(digits), LEVEL, None, 3)
    for item in ("provenance", "entropy", "n_eff"):
        with pytest.raises(mosaic.UsageError, match=item):
            mosaic.run(model, save=item, **SETTINGS)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("els", {"tolerance": -0.1}, "tolerance"),
        ("els", {"tolerance": 2}, "tolerance"),
        ("els", {"tolerance": "nan"}, "tolerance"),
        ("els", {"order": 3}, "order"),
        ("ls", {"tolerance": 0.1}, "tolerance"),
        ("is", {"tolerance": 0.1}, "tolerance"),
        ("els-attention", {"tolerance": 0.1}, "tolerance"),
        ("nearest-patch", {"tolerance": 0.1}, "tolerance"),
        ("filtered", {"window": "box", "tolerance": 0.1}, "tolerance"),
    ],
)
def test_tolerances_that_cannot_be_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(mosaic.UsageError, match=said):
        mosaic.run(name, "digits", score_options=options, **SETTINGS)
