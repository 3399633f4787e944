"""Leaderboards of networks and theories that are objects: they work in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_leaderboard import SETTINGS
from torch import Tensor, nn

import mosaic

OBJECTS: dict[str, Any] = {**SETTINGS, "scores": "is", "scales": None, "network_steps": 3, "progress": False}


class Network(nn.Module):
    """A reader's own network: it gives v, is told sigma, and is wide enough to differ from every theory."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.layer(x) * sigma[:, None, None, None] / (1 + sigma[:, None, None, None])


def board(network: Any, out: Path, **more: Any) -> Any:
    return mosaic.leaderboard(network, out=out, **{**OBJECTS, **more})


def test_a_network_of_ones_own_is_ranked_against_as_a_machine_is(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    """ELS stands in for the network; then ELS is without error, under its name, as an object, and as a function."""
    els = mosaic.score("els", tiny, scales="3")
    function = mosaic.score(lambda x, t: els.denoise(x, float(t[0])), tiny, prediction="x0")
    theories = {"own": els.model, "function": function}
    table = board(els, tmp_path / "a", scores="els,is", scales="3", theories=theories, metrics="mse")
    assert table["score"].values.tolist() == ["network", "els", "is", "own", "function"]
    mse = table["final_mse_median"].sel(score=["els", "own", "function", "is"]).values
    assert mse[:2].tolist() == [0, 0]
    assert mse[2] < 1e-10 < mse[3]
    assert np.isnan(table["peak_bytes"].values).all()
    assert json.loads(table.attrs["failed"]) == {}
    ranking = table.mosaic.ranking()
    assert ranking["score"].values.tolist()[-2:] == ["is", "network"]
    assert set(ranking.sizes) == {"score"}
    with pytest.raises(mosaic.DataError, match="leaderboard"):
        mosaic.run("is", tiny, steps=1, samples=1).mosaic.ranking()
    assert (table["seconds_per_step"] > 0).all()


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
def test_a_theory_of_ones_own_stands_beside_a_checkpoint(network: Path, tmp_path: Path) -> None:
    data = mosaic.score(network).model.dataset
    own = mosaic.score(lambda x, t: 0.1 * x, data)
    table = board(network, tmp_path / "b", scores="none", theories={"mine": own})
    assert np.isfinite(table["final_pearson_r_median"].sel(score="mine"))
    assert np.isnan(table["peak_bytes"].sel(score="mine"))
    assert table["peak_bytes"].sel(score="network") > 2**20  # in a process of its own


def test_what_is_there_is_used_only_where_it_is_shown_to_be_the_same(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    module, seen = Network(), []
    own = mosaic.score(module, tiny, prediction="v", time="sigma")
    first = board(own, tmp_path / "c")
    again = mosaic.leaderboard(
        own, out=tmp_path / "c", **{**OBJECTS, "progress": lambda done, total, unit, note: seen.append(note)}
    )
    assert seen == []
    assert again["final_pearson_r"].equals(first["final_pearson_r"])
    module.layer.weight.data *= 2
    with pytest.raises(mosaic.UsageError, match=r"facts\.checkpoint"):
        board(own, tmp_path / "c")
    generator = torch.Generator()  # what cannot be fingerprinted runs, but does not resume
    noisy = mosaic.score(lambda x, t: x * torch.rand(1, generator=generator, device="cpu"), tiny)
    board(noisy, tmp_path / "d")
    with pytest.raises(mosaic.UsageError, match="fingerprint"):
        board(noisy, tmp_path / "d")
    for left in ("network.nc", "network-steps.nc"):  # the theories' steps are along its flow
        (tmp_path / "d" / left).unlink()
    with pytest.raises(mosaic.UsageError, match="fingerprint"):
        board(noisy, tmp_path / "d")


def test_two_trainings_of_ones_own_network_are_each_others_ceiling(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    networks = [mosaic.score(Network(seed), tiny, prediction="v", time="sigma") for seed in (0, 1)]
    theories = {"first": networks[0]}
    table = board(networks, tmp_path / "j", scores="none", theories=theories, metrics="mse")
    images = [mosaic.open(tmp_path / "j" / name)["image"].values for name in ("network.nc", "network-2.nc")]
    expected = ((images[0] - images[1]) ** 2).mean((1, 2, 3))
    ceiling, first = table["final_mse"].sel(score="network"), table.sel(score="first")
    np.testing.assert_allclose(ceiling, [expected, expected], rtol=1e-5)
    np.testing.assert_allclose(first["final_mse"], [0 * expected, expected], rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(first["step_mse"][1], table["step_mse"].sel(score="network")[1], rtol=1e-5)
    assert float(first["own_step_mse"][0].max()) < 1e-10
    assert table.mosaic.ranking()["score"].values.tolist() == ["first", "network"]
    with pytest.raises(mosaic.UsageError, match=r"network.*'prediction'|network_options\.prediction"):
        board([networks[0], mosaic.score(Network(1), tiny, time="sigma")], tmp_path / "k")


def test_a_theory_that_fails_has_no_numbers_and_the_network_must_not(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    def broken(x: Tensor, t: Tensor) -> Tensor:
        raise KeyError("weights")

    theories = {"broken": mosaic.score(broken, tiny)}
    with pytest.warns(mosaic.MosaicWarning, match=r"broken failed.*weights"):
        table = board(mosaic.score("els", tiny, scales="3"), tmp_path / "e", theories=theories)
    assert "weights" in json.loads(table.attrs["failed"])["broken"]
    assert np.isnan(table["final_pearson_r_median"].sel(score="broken"))
    with pytest.raises(mosaic.MosaicError, match="weights"):
        board(mosaic.score(broken, tiny), tmp_path / "f")


@pytest.mark.parametrize(
    "name", ["is", "IS", "network", "a/b", "", ".x", "leaderboard", "els-steps", "x-own-2", "network-3"]
)
def test_names_that_cannot_be_used_are_refused(tiny: mosaic.DataSet, tmp_path: Path, name: str) -> None:
    els = mosaic.score("els", tiny)
    with pytest.raises(mosaic.UsageError, match=f"'{name}'"):
        board(els, tmp_path / "g", theories={name: els})
    assert not (tmp_path / "g").exists()


def test_a_name_of_a_score_model_is_that_of_no_other(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with pytest.raises(mosaic.UsageError, match="'els'"):
        board(mosaic.score("els", tiny), tmp_path / "g", theories={"els": mosaic.score("is", tiny)})


def test_theories_whose_names_differ_only_in_case_are_refused(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    els = mosaic.score("els", tiny)
    with pytest.raises(mosaic.UsageError, match="'MINE'"):
        board(els, tmp_path / "g", theories={"mine": els, "MINE": els})


def test_theories_have_the_networks_data_and_a_score_its_own(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    els = mosaic.score("els", tiny)
    with pytest.raises(mosaic.UsageError, match="'other'"):
        board(els, tmp_path / "h", theories={"other": mosaic.score("els", "digits", dataset_options={"limit": 20})})
    for unused in ({"dataset": "digits"}, {"data_dir": "data"}, {"score_options": {"network": {"checkpoint": "x"}}}):
        with pytest.raises(mosaic.UsageError, match=next(iter(unused)) if "data" in str(unused) else "'network'"):
            board(els, tmp_path / "h", **unused)


def test_own_theories_may_be_ranked_alone_and_have_another_schedule(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    """A function that is told t of cosine is the same at levels of another."""
    ideal = mosaic.score("is", tiny)
    network = mosaic.score(lambda x, sigma: ideal.as_denoiser()(x, sigma), tiny, **X0_AT_SIGMA, schedule="linear")
    theories = {"same": mosaic.score(lambda x, t: ideal.eps(x, float(t[0])), tiny)}
    table = board(network, tmp_path / "i", scores="none", theories=theories, metrics="mse")
    assert table["score"].values.tolist() == ["network", "same"]
    assert float(table["final_mse_median"].sel(score="same")) < 1e-8


X0_AT_SIGMA: dict[str, Any] = {"prediction": "x0", "time": "sigma"}
