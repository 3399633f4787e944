"""Probes: their measures by hand, their scores, and the files that they write."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from reports import Reports
from torch import Tensor

import mosaic
from mosaic.run import derivative
from mosaic.storage.schema import ATTRIBUTES, PROBE_SCHEMA, TABLES

QUIET: dict[str, Any] = {"progress": False, "times": [0.3, 0.8], "samples": 2, "modes": 3}


def probed(scores: Any, dataset: mosaic.DataSet | None = None, **more: Any) -> xr.Dataset:
    return mosaic.probe(scores, dataset, **{**QUIET, **more})


def test_what_is_said_of_a_jacobian_is_that_of_the_score(tiny: mosaic.DataSet) -> None:
    probe = probed(["els", "is"], tiny)
    els = mosaic.score("els", tiny)
    for column, t in enumerate([0.3, 0.8]):
        point = probe.isel(score=0, time=column, sample=1)
        x = torch.from_numpy(probe["state"].values[column, 1:2])
        level = els.schedule.level(t)
        matrix = level.signal * els.jacobian(x, t).matrix.view(30, 30)
        assert float(point["trace"]) == pytest.approx(float(matrix.trace()))
        assert float(point["curl"]) == pytest.approx(float((matrix - matrix.T).norm() / (2 * matrix.norm())))
        eigenvalues = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)
        np.testing.assert_allclose(point["eigenvalue"], eigenvalues[:3], rtol=1e-6)
        vector = torch.from_numpy(point["eigenvector"].values[0]).double().flatten()
        torch.testing.assert_close((matrix + matrix.T) @ vector / 2, eigenvalues[0] * vector, rtol=1e-4, atol=1e-5)
        rank = float(eigenvalues.abs().sum() ** 2 / eigenvalues.square().sum())
        assert float(point["effective_rank"]) == pytest.approx(rank)
        other = level.signal * mosaic.score("is", tiny).jacobian(x, t).matrix.view(30, 30)
        cosine = float((matrix * other).sum() / (matrix.norm() * other.norm()))
        assert float(probe["similarity"].values[1, column, 1]) == pytest.approx(cosine)
        assert int(point["scale"]) == els.scale_at(level)
    np.testing.assert_allclose(probe["curl"].values[1], 0, atol=1e-12)
    np.testing.assert_allclose(probe["similarity"].values[0], 1)
    assert probe["method"].values.tolist() == ["closed form"] * 2


def test_fields_are_those_of_the_receptive_field(tiny: mosaic.DataSet) -> None:
    probe, els = probed("els", tiny, seed=3), mosaic.score("els", tiny)
    whole = mosaic.receptive_field(els, [0.3, 0.8], images=2, seed=3, progress=False)
    np.testing.assert_allclose(probe["field"].isel(score=0).mean("sample"), whole["field"], rtol=1e-10)
    assert "similarity" not in probe


def test_symmetries_are_those_of_the_machines(tiny: mosaic.DataSet) -> None:
    """ELS that wraps follows shifts; with zeros it does so where no window meets the border; LS never does."""
    scores = {
        "wraps": mosaic.score("els", tiny, scales=3, boundary="circular"),
        "zeros": mosaic.score("els", tiny, scales=3, boundary="zeros"),
        "ls": mosaic.score("ls", tiny, scales=3),
    }
    probe = probed(scores)
    assert probe["score"].values.tolist() == ["wraps", "zeros", "ls"]
    errors, inside = probe["equivariance_error"].values, probe["equivariance_error_interior"].values
    np.testing.assert_allclose(errors[0], 0, atol=1e-10)
    np.testing.assert_allclose(inside[:2], 0, atol=1e-10)
    assert (errors[1] > 0.05).all()
    assert (inside[2] > 0.05).all()
    assert np.isnan(probed("is", tiny)["equivariance_error_interior"]).all()


def test_the_scores_meet_the_same_images_and_seeds_decide_them(tiny: mosaic.DataSet) -> None:
    probe, again, other = probed("is", tiny), probed(["is"], tiny), probed("is", tiny, seed=1)
    xr.testing.assert_identical(probe.drop_attrs(), again.drop_attrs())
    assert not np.allclose(probe["state"], other["state"])
    clean = xr.DataArray(tiny.images[:2].numpy(), dims=("sample", "channel", "height", "width"))
    noise = (probe["state"] - probe["signal"] * clean) / probe["noise"]
    np.testing.assert_allclose(noise.isel(time=0), noise.isel(time=1), atol=1e-5)


def test_a_network_gives_those_named_its_data_schedule_and_padding(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    larger = mosaic.DataSet("larger", tiny.images.repeat(1, 1, 2, 2))  # with pixels whose windows meet no border
    options = {"channels": 4, "blocks": 0, "padding": "circular"}
    mosaic.train(
        "resnet", larger, schedule="linear", network_options=options, epochs=1, out=tmp_path / "net", progress=False
    )
    network = mosaic.score(tmp_path / "net", larger)
    probe = probed([network, "els"], scales=5)
    assert probe["score"].values.tolist() == ["network", "els"]
    assert probe["method"].values.tolist() == ["torch", "closed form"]
    assert probe["signal"].values.tolist() == [network.schedule.level(t).signal for t in (0.3, 0.8)]
    np.testing.assert_allclose(probe["equivariance_error"], 0, atol=1e-4)  # both wrap
    assert np.isfinite(probe["equivariance_error_interior"]).all()  # its receptive field is known
    assert (probe["scale"].values == [[0, 0], [5, 5]]).all()
    zeros = probed([network, "els"], score_options={"els": {"boundary": "zeros"}})
    assert (zeros["equivariance_error"].isel(score=1) > 0.01).all()


def test_classes_are_given_if_asked_for(tiny: mosaic.DataSet) -> None:
    given, none = probed("gaussian", tiny, class_conditional=True), probed("gaussian", tiny)
    assert given["label"].values.tolist() == [0, 1]
    assert none["label"].values.tolist() == [-1, -1]
    assert not np.allclose(given["trace"], none["trace"])


def test_where_a_jacobian_vanishes_nothing_is_said_of_it(tiny: mosaic.DataSet) -> None:
    probe = probed(["is", "gaussian"], tiny, times=[0.001])
    for name in ("curl", "effective_rank", "field_width", "similarity", "eigenvector"):
        assert np.isnan(probe[name].values[0]).all(), name
    assert np.isfinite(probe["curl"].values[1]).all()


def test_a_probe_is_stored_as_the_table_says(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    probe = probed(["els", "els"], tiny, out=tmp_path / "probe.nc")
    assert probe["score"].values.tolist() == ["els", "els 2"]
    with mosaic.open_netcdf(tmp_path / "probe.nc") as stored:
        xr.testing.assert_equal(stored.load(), probe)
        assert set(stored.attrs) <= set(ATTRIBUTES)
        assert stored.attrs["schema"] == PROBE_SCHEMA
        for name, variable in stored.variables.items():
            assert variable.dims == TABLES[PROBE_SCHEMA][str(name)].dims
    assert "eigenvalue" not in probed("is", tiny, modes=0)
    assert probed("is", tiny, modes=99).sizes["mode"] == 30
    with pytest.raises(mosaic.UsageError, match="exists"):
        probed("els", tiny, out=tmp_path / "probe.nc")
    probed("is", tiny, out=tmp_path / "probe.nc", overwrite=True)


def test_work_is_reported_from_the_start(tiny: mosaic.DataSet) -> None:
    reports = Reports()
    probed(["ls", "es"], tiny, progress=reports)
    shares = [done / total for done, total, *_ in reports]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    "given",
    [
        {"scores": []},
        {"scores": [3]},
        {"times": []},
        {"times": [2.0]},
        {"samples": 0},
        {"modes": -1},
        {"shifts": 0},
        {"seed": -1},
        {"difference": 1.0},
        {"overwrite": True},
        {"scales": 3},  # IS has none
        {"score_options": {"els": {}, "ls": {"boundary": "zeros"}}},
        {"dataset_options": {"limit": 3}},
    ],
)
def test_what_cannot_be_probed_is_refused(tiny: mosaic.DataSet, given: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError):
        mosaic.probe(**{"scores": "is", "dataset": tiny, **QUIET, **given})


def test_scores_with_data_of_their_own_take_no_others(tiny: mosaic.DataSet) -> None:
    own = mosaic.score("is", tiny)
    with pytest.raises(mosaic.UsageError, match="`dataset`"):
        probed(own, tiny)
    with pytest.raises(mosaic.UsageError, match="shape"):
        probed([own, mosaic.score("is", mosaic.DataSet("other", torch.rand(3, 1, 4, 4)))])
    with pytest.warns(mosaic.MosaicWarning, match="training sets"):
        probed([own, mosaic.score("is", mosaic.DataSet("other", tiny.images.flip(0)))])


def test_what_is_not_finite_or_does_not_fit_is_refused(tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: Tensor, t: Tensor) -> Tensor:
        return x * float("nan")

    with pytest.raises(mosaic.UsageError, match="finite"):
        probed(mosaic.score(broken, tiny))
    monkeypatch.setattr(derivative, "physical_memory", lambda: 10**4)
    with pytest.raises(mosaic.UsageError, match="30 x 30"):
        probed("is", tiny)


def test_the_examples_give_what_they_show() -> None:
    for example, lines in ((mosaic.probe, 4), (mosaic.Score.jacobian, 3)):
        (found,) = doctest.DocTestFinder(recurse=False).find(example, "example", globs={})
        assert doctest.DocTestRunner().run(found) == (0, lines)
