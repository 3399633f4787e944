"""The attention experiment in miniature: what is judged, compared and stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from made_up_attention import made_up_attention
from small_attention import TWICE, forecast_of, miniature

import mosaic
from mosaic.interfaces.rule import verdicts_of
from mosaic.reproduction.attention.consistency import copies_among
from mosaic.reproduction.attention.table import AttentionTable, interval_text
from mosaic.reproduction.attention.theories import CONTRASTS, NETWORKS, THEORIES
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


@pytest.mark.system
def test_the_experiment_in_miniature() -> None:
    """16 x 16 pixels and two colours: what is judged, compared and stored."""
    actual = mosaic.reproduce("attention", out="out", **TWICE)
    dataset = miniature()
    rule = dataset.rule
    assert rule is not None
    for maker in actual["maker"].values:
        made, consistent = actual.sel(maker=maker), []
        assert int(made["trainings"]) == (2 if maker in NETWORKS else 1)
        for training in range(2):
            images = torch.from_numpy(made["image"].values[training])
            if training == made["trainings"]:
                assert images.isnan().all()
                assert set(made["verdict"].values[training]) == {-1}
                continue
            judged = rule.judge(images)
            assert made["verdict"].values[training].tolist() == judged.tolist()
            assert made["copy"].values[training].tolist() == copies_among(images, dataset).tolist()
            consistent.append(float((judged == 0).double().mean()))
        assert float(made["consistency_share"]) == pytest.approx(np.mean(consistent), abs=1e-12)
    assert float(actual["consistency_share"].sel(maker="is")) == 1.0  # copies of training images
    assert float(actual["new_share"].sel(maker="is")) == 0.0
    for form in ("compose", "mixture"):
        identity = actual["image"].sel(maker=f"{form} identity").values
        np.testing.assert_array_equal(identity, actual["image"].sel(maker="els").values)
    names = ("/mixture-top1", "-top1/network", "-top1-1/network")
    theory, *networks = (mosaic.open(f"out/cpu/pairs-resnet{name}.nc") for name in names)
    np.testing.assert_array_equal(*(network["state"].isel(step=0).values for network in networks))  # the same noise
    for training, network in enumerate(networks):
        r = mosaic.compare(theory, network, metrics=["pearson_r"])
        pair = actual["pearson_r"].sel(theory="mixture top1", network="resnet-attention top1").isel(training=training)
        np.testing.assert_equal(pair.values, r["pearson_r"][0].values)
    for contrast, (first, second) in zip(actual["contrast"].values, CONTRASTS, strict=True):
        assert contrast == f"{first} minus {second}"
        shares = [float(actual["whole_share"].sel(maker=name)) for name in (first, second)]
        difference = float(actual["whole_difference"].sel(contrast=contrast))
        assert difference == pytest.approx(shares[0] - shares[1], abs=1e-12)
    states = theory["state"].std(["sample", "channel", "height", "width"])
    np.testing.assert_array_equal(actual["state_std"].sel(theory="mixture top1").values, states.values)
    np.testing.assert_allclose(actual["alpha"].sum(["height", "width"]), 1, atol=1e-5)
    assert actual["attends"].values.tolist()[-1] == "resnet-attention softmax"
    assert all(step.done and not step.other_code for step in forecast_of("attention", **TWICE))
    settings = {**TWICE, "samples": TWICE["samples"] + 1}
    with pytest.raises(mosaic.UsageError, match="samples: "):
        forecast_of("attention", **settings)


def test_images_are_judged_by_what_their_parts_show() -> None:
    shown = torch.tensor([[0, 0], [1, 1], [0, 1], [-1, 1], [0, -1], [-1, -1], [-2, 0], [-1, -2]])
    assert [mosaic.VERDICTS[index] for index in verdicts_of(shown).tolist()] == [
        *("consistent", "consistent", "different", "missing", "missing", "missing", "malformed", "malformed")
    ]


def test_data_without_a_rule_are_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="'digits'"):
        mosaic.reproduce("attention", out="digits", **{**TWICE, "dataset": "digits", "dataset_options": {}})


@pytest.fixture
def table() -> AttentionTable:
    return AttentionTable(Study(ReproduceConfig(**TWICE), Path("root")))


def test_a_value_is_written_with_its_interval() -> None:
    shares = xr.Dataset({"new_share": 0.256, "new_low": 0.1, "new_high": 0.999, "beyond": -0.004, "beyond_low": np.nan})
    assert interval_text(shares, "new", "_share") == "0.26 [0.10, 1.00]"
    assert interval_text(shares.assign(beyond_high=1.0), "beyond", "") == "-0.00 [nan, 1.00]"


def test_networks_are_trained_and_run_before_the_theories(table: AttentionTable) -> None:
    names = [step.name for step in table.steps()]
    rows = [f"{row.name}{end}" for row in NETWORKS.values() for end in ("", "-1")]
    assert names[:16] == [f"{row}: {name}" for row in rows for name in ("train", "network")]
    assert names[16:] == [f"attention: {name}" for name in THEORIES]


def test_networks_are_trained_three_times_unless_it_is_said(table: AttentionTable) -> None:
    settings = {**TWICE, "trainings": None}
    usual = AttentionTable(Study(ReproduceConfig(**settings), Path("root"))).experiments()
    assert {len(trainings) for trainings in usual.values()} == {3}
    configs = [each.load_plan().config for each in usual["resnet-attention identity"]]
    assert [config.seed for config in configs] == [0, 1, 2]
    assert {config.network_options["attention"] for config in configs} == {"identity"}
    assert {len(trainings) for trainings in table.experiments().values()} == {2}
    for first, second in CONTRASTS:
        assert {first, second} <= set(NETWORKS)


def test_theories_and_networks_are_alike_by_the_correlation_of_each_sample(table: AttentionTable) -> None:
    rng = np.random.default_rng(0)
    images = {name: rng.normal(size=(2 if name in NETWORKS else 1, 4, 3, 5, 5)) for name in (*NETWORKS, *THEORIES)}
    images["is"] = 3 * images["resnet"][:1] + 1
    actual = {name: values for name, (_, values) in table._likeness(images).items()}
    for i, theory in enumerate(THEORIES):
        for j, network in enumerate(NETWORKS):
            own, others = images[theory].reshape(4, 75), images[network].reshape(2, 4, 75)
            expected = [[np.corrcoef(a, b)[0, 1] for a, b in zip(own, other, strict=True)] for other in others]
            np.testing.assert_allclose(actual["pearson_r"][i, j], expected, rtol=0, atol=1e-12)
            assert actual["pearson_r_median"][i, j] == pytest.approx(np.median(expected), abs=1e-12)
    assert (actual["pearson_r_low"] <= actual["pearson_r_high"]).all()
    np.testing.assert_allclose(actual["pearson_r"][list(THEORIES).index("is"), 0, 0], 1)


def test_its_summary_has_a_line_for_each_maker_and_each_theory(table: AttentionTable) -> None:
    measured = made_up_attention((*NETWORKS, *THEORIES), tuple(THEORIES), tuple(NETWORKS))
    lines = table.summary(measured)
    count, contrasts = len(NETWORKS) + len(THEORIES), measured["contrast"].values.tolist()
    makers, differences, likeness, spread = (
        lines[:count],
        lines[count : -2 - len(THEORIES)],
        lines[-2 - len(THEORIES) : -2],
        lines[-2:],
    )
    assert len(lines) == count + len(contrasts) + len(THEORIES) + 2
    assert [line.partition(":")[0] for line in makers] == [*(f"{name}, 3 trainings" for name in NETWORKS), *THEORIES]
    assert [line.partition(":")[0] for line in differences] == contrasts
    assert differences[-1].endswith(interval_text(measured.isel(contrast=-1), "beyond_chance_difference", ""))
    assert [line.partition(":")[0] for line in likeness] == list(THEORIES)
    share = measured.isel(maker=0)
    assert f"{float(share['consistency_share']):.2f} [{float(share['consistency_low']):.2f}" in makers[0]
    r = float(measured["pearson_r_median"].sel(theory="is", network="resnet-attention top1"))
    assert f"resnet-attention top1 {r:.2f} [" in likeness[-1]
    for line, step in zip(spread, (1, -1), strict=True):
        assert line.endswith(f"{float(measured['forward_std'][step]):.2f}")
        assert f"is {float(measured['state_std'].sel(theory='is')[step]):.2f};" in line
