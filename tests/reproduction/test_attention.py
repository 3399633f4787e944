"""The attention experiment in miniature, and how agreement and copies are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.interfaces.rule import verdicts_of
from mosaic.reproduction.attention.agreement import agreement_of, copies_among
from mosaic.reproduction.attention.cover import cover_of
from mosaic.reproduction.reproduce import forecast_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.forecast import Forecast
from mosaic.reproduction.study.study import Study

MINIATURE: dict[str, Any] = {
    "dataset_options": {"count": 16, "colours": 2, "size": 16},
    "network_options": {"channels": 4, "blocks": 1},
    "epochs": 2,
    "samples": 12,
    "calibration_samples": 1,
}


def miniature() -> mosaic.DataSet:
    data = mosaic.registry().get("dataset", "pairs")
    return data(data.Options(**MINIATURE["dataset_options"])).load()


def test_images_are_judged_by_what_their_parts_show() -> None:
    shown = torch.tensor([[0, 0], [1, 1], [0, 1], [-1, 1], [0, -1], [-1, -1], [-2, 0], [-1, -2]])
    assert [mosaic.VERDICTS[index] for index in verdicts_of(shown).tolist()] == [
        *("consistent", "consistent", "different", "missing", "missing", "missing", "malformed", "malformed")
    ]


def test_shares_count_images() -> None:
    shown = np.array([[[0, 0], [0, 0], [1, 1], [0, 1], [-1, 0], [-2, -2], [1, 0], [0, 0]]])
    copies = np.array([[True, False, False, False, True, False, False, False]])
    actual = {name: float(values[0]) for name, values in agreement_of(shown, copies, 2).items()}
    assert actual["consistency_share"] == 4 / 8
    assert actual["new_share"] == 3 / 8
    assert actual["agreement_share"] == 4 / 6
    assert np.isnan(actual["chance"])  # of six whole images a bootstrap says nothing
    twice = agreement_of(np.concatenate([shown, shown], 1), np.concatenate([copies, copies], 1), 2)
    assert float(twice["chance"][0]) == pytest.approx((4 / 6) * (4 / 6) + (2 / 6) * (2 / 6))
    assert float(twice["beyond_chance"][0]) == pytest.approx(4 / 6 - 20 / 36)
    for name in ("consistency", "new", "agreement"):
        assert actual[f"{name}_low"] < actual[f"{name}_share"] < actual[f"{name}_high"]


@pytest.mark.parametrize(("frequency", "coupling"), [(0.5, 0.0), (0.9, 0.0), (0.5, 0.6)])
def test_agreement_beyond_chance_is_none_of_independent_parts_however_frequent_a_kind_is(
    frequency: float, coupling: float
) -> None:
    rng = np.random.default_rng(0)
    parts = (rng.random((300, 2)) > frequency).astype(np.int64)
    coupled = rng.random(300) < coupling
    parts[coupled, 1] = parts[coupled, 0]
    actual = agreement_of(parts, np.zeros(300, bool), 2)
    expected = coupling * 2 * frequency * (1 - frequency)  # cov of equal parts, twice
    assert actual["beyond_chance_low"] < expected < actual["beyond_chance_high"]
    assert (actual["beyond_chance_low"] <= 0 <= actual["beyond_chance_high"]) == (coupling == 0)
    assert actual["beyond_chance_high"] - actual["beyond_chance_low"] < 0.25


def test_where_no_image_is_whole_there_is_no_agreement() -> None:
    actual = agreement_of(np.full((1, 5, 2), -1), np.zeros((1, 5), bool), 3)
    assert actual["consistency_share"].tolist() == [0.0]
    assert np.isnan([actual["agreement_share"][0], actual["chance"][0], actual["beyond_chance_low"][0]]).all()


def test_copies_are_told_from_new_images_also_where_the_training_set_repeats_itself() -> None:
    data = mosaic.registry().get("dataset", "pairs")
    every = data(data.Options(count=108)).load()
    training = every.select(torch.arange(54).repeat(2))
    noise = 0.05 * torch.randn(every.images.shape, generator=torch.Generator().manual_seed(0))
    assert copies_among(every.images + noise, training).tolist() == [True] * 54 + [False] * 54


def test_how_many_images_are_enough_does_not_depend_on_ties() -> None:
    dataset = miniature()
    images = dataset.images
    left, right = images[0].clone(), images[int((dataset.labels != dataset.labels[0]).nonzero()[0])]  # type: ignore[index, union-attr]
    left[:, :, 8:] = right[:, :, 8:]
    x = torch.stack([images[3], left, torch.full_like(left, -1)])
    machine = mosaic.registry().get("score", "els")
    traced = machine(machine.Options(), dataset).attribute(x, mosaic.Level(1.0, 0.0), None, 3).source
    names = ("image", "row", "column")
    source = xr.Dataset({f"source_{name}": (("sample", "height", "width"), getattr(traced, name)) for name in names})
    assert cover_of(source, images, 3, "zeros").tolist() == [1, 2, 1]


@pytest.mark.system
def test_the_experiment_in_miniature() -> None:
    """16 x 16 pixels and two colours: what is judged, compared and stored."""
    actual = mosaic.reproduce("attention", out="out", **MINIATURE)
    dataset = miniature()
    rule = dataset.rule
    assert rule is not None
    for maker in actual["maker"].values:
        one = actual.sel(maker=maker)
        images = torch.from_numpy(one["image"].values)
        judged = rule.judge(images)
        assert one["verdict"].values.tolist() == judged.tolist()
        assert one["copy"].values.tolist() == copies_among(images, dataset).tolist()
        assert float(one["consistency_share"]) == (judged == 0).double().mean()
    assert float(actual["consistency_share"].sel(maker="is")) == 1.0  # copies of training images
    assert float(actual["new_share"].sel(maker="is")) == 0.0
    for form in ("compose", "mixture"):
        identity = actual["image"].sel(maker=f"{form} identity").values
        np.testing.assert_array_equal(identity, actual["image"].sel(maker="els").values)
    theory, network = (mosaic.open(f"out/cpu/pairs-resnet{name}.nc") for name in ("/mixture-top1", "-top1/network"))
    r = mosaic.compare(theory, network, metrics=["pearson_r"])
    pair = actual["pearson_r"].sel(theory="mixture top1", network="resnet-attention top1")
    np.testing.assert_equal(pair.values, r["pearson_r"][0].values)
    states = theory["state"].std(["sample", "channel", "height", "width"])
    np.testing.assert_array_equal(actual["state_std"].sel(theory="mixture top1").values, states.values)
    np.testing.assert_allclose(actual["alpha"].sum(["height", "width"]), 1, atol=1e-5)
    assert actual["attends"].values.tolist()[-1] == "resnet-attention softmax"
    assert all(step.done and not step.other_code for step in forecast_of("attention"))
    settings = {**MINIATURE, "samples": MINIATURE["samples"] + 1}
    with pytest.raises(mosaic.UsageError, match="samples: "):
        forecast_of("attention", **settings)


def forecast_of(name: str, **settings: Any) -> list[Forecast]:
    study = Study(ReproduceConfig(**(settings or MINIATURE)), Path("out/cpu"))
    return forecast_reproduction(prepare_reproduction(name, study))


@pytest.mark.slow
def test_the_tradeoff_in_miniature() -> None:
    actual = mosaic.reproduce("attention-tradeoff", out="out", **{**MINIATURE, "samples": 2})
    dataset = miniature()
    assert dataset.rule is not None
    assert (actual["cover"] >= 1).all()
    for factor in (0.5, 3.0):
        run = mosaic.open(f"out/cpu/pairs-resnet/compose-top1-times-{factor:g}.nc")
        images = torch.from_numpy(run["image"].values)
        one = actual.sel(machine="compose top1", factor=factor)
        assert float(one["consistency_share"]) == (dataset.rule.judge(images) == 0).double().mean()
        nearest, _ = mosaic.nearest_images(images, dataset.images)
        assert one["nearest_train"].values.tolist() == nearest[:, 0].tolist()
    # At one run the experiment's own: nothing is computed twice.
    assert Path("out/cpu/pairs-resnet/els.nc").exists()
    assert not Path("out/cpu/pairs-resnet/els-times-1.nc").exists()
    assert all(step.done for step in forecast_of("attention-tradeoff", **{**MINIATURE, "samples": 2}))


def test_data_without_a_rule_are_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="'digits' has no rule"):
        mosaic.reproduce("attention", out="digits", **{**MINIATURE, "dataset": "digits", "dataset_options": {}})
