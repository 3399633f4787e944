"""Calibration: known scales are found again, the table is what it says, and parts survive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from reports import Reports

import mosaic
from mosaic.evaluate.calibration.calibrate import (
    calibrate_batch,
    chosen_scales,
    job_of,
    open_calibration,
)
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.plan import CalibrationPlan
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.schedule import Level
from mosaic.run.config import RunConfig
from mosaic.run.prepare import prepare
from mosaic.sampling.scales import resolve_scales

TRUE = "3,3,5,5,7"  # from the lowest noise up


def machine(name: str, data: mosaic.DataSet) -> mosaic.ScoreModel:
    kind: type[mosaic.ScoreModel] = mosaic.registry().get("score", name)
    return kind(kind.Options(), data)


def plan_of(tiny: mosaic.DataSet, against: str = "els", **config: object) -> CalibrationPlan:
    """A calibration of ELS against an ELS machine of known scales in place of the network."""
    run = RunConfig.model_validate({"scales": TRUE, "steps": 5, "samples": 6, "batch_size": 2, "labels": "random"})
    plan = prepare(run, DataAccess(), score=machine(against, tiny), dataset=tiny)
    settings = CalibrationConfig.model_validate({"checkpoint": "none", "sizes": "3-9", **config})
    return CalibrationPlan(settings, plan, machine("els", tiny), (3, 5, 7, 9))


@pytest.mark.parametrize("criterion", ["cosine", "l2"])
def test_the_scales_of_a_machine_are_found_again(tiny: mosaic.DataSet, criterion: str) -> None:
    actual = chosen_scales(calibrate_batch(plan_of(tiny), range(6)), criterion)
    assert actual["scale"].values.tolist() == [7, 5, 5, 3, 3]
    assert (actual["best"].values == actual["scale"].values).all()
    assert actual["cosine"].max("k").values == pytest.approx(1)
    assert actual["distance"].min("k").values == pytest.approx(0, abs=1e-4)


def test_the_table_compares_eps_along_the_networks_own_trajectory(tiny: mosaic.DataSet) -> None:
    plan = plan_of(tiny, "ls")
    actual = calibrate_batch(plan, range(2, 4))
    with pytest.warns(mosaic.MosaicWarning, match="7"):  # wider than the images
        run = mosaic.run(machine("ls", tiny), scales=TRUE, steps=5, samples=6, labels="random")
    assert actual["sample"].values.tolist() == [2, 3]
    for i, step, column in [(0, 0, 3), (1, 2, 1), (0, 4, 0)]:
        moment = run.isel(sample=i + 2, step=step)
        level = Level(float(moment["signal"]), float(moment["noise"]))
        x, label = torch.from_numpy(moment["state"].values)[None], torch.tensor([int(moment["label"])])
        both = (
            machine("els", tiny).denoise(x, level, label, plan.sizes[column]),
            torch.from_numpy(moment["denoised"].values),
        )
        eps = [((x - level.signal * denoised) / level.noise).double().numpy().ravel() for denoised in both]
        cosine = eps[0] @ eps[1] / np.sqrt((eps[0] @ eps[0]) * (eps[1] @ eps[1]))
        assert float(actual["cosine"][i, step, column]) == pytest.approx(cosine, abs=1e-6)
        assert float(actual["distance"][i, step, column]) == pytest.approx(np.linalg.norm(eps[0] - eps[1]), rel=1e-4)


def test_a_batch_reports_its_own_work_after_each_scale_of_each_step(tiny: mosaic.DataSet) -> None:
    plan, reports = plan_of(tiny), Reports()
    calibrate_batch(plan, range(2), reports)
    work = plan.work(range(2))
    assert [done for done, *_ in reports] == pytest.approx(np.cumsum(5 * work))
    assert {(total, unit) for _, total, unit, _ in reports} == {(reports[-1][0], plan.unit)}
    assert [note for *_, note in reports] == [f"step {step}/5, k = {k}" for step in range(1, 6) for k in plan.sizes]


def test_median_mode_and_quartiles_are_those_of_the_samples() -> None:
    cosine = np.zeros((4, 2, 3))
    for sample, bests in enumerate([(0, 2), (0, 1), (1, 0), (2, 1)]):
        for step, best in enumerate(bests):
            cosine[sample, step, best] = 1
    dims = ("sample", "step", "k")
    table = xr.Dataset({"cosine": (dims, cosine), "distance": (dims, cosine)}, {"k": [3, 5, 9]})
    actual = chosen_scales(table, "cosine")
    assert actual["best"].values.T.tolist() == [[3, 3, 5, 9], [9, 5, 3, 5]]
    assert actual["scale"].values.tolist() == [3, 5]  # the lower median
    assert actual["scale_mode"].values.tolist() == [3, 5]
    assert actual["scale_q25"].values.tolist() == [3.0, 4.5]
    assert actual["scale_q75"].values.tolist() == [6.0, 6.0]
    assert chosen_scales(table, "l2")["best"].values[0].tolist() == [5, 3]  # least distance; of equal ones the smallest


def test_the_file_is_a_scales_file_for_any_schedule(tiny: mosaic.DataSet) -> None:
    plan = plan_of(tiny)
    with job_of(plan, Path("scales.nc")).execute() as stored:
        assert stored["cosine"].dims == ("sample", "step", "k")
        assert stored.attrs["schema"] == "mosaic-calibration/1"
    assert resolve_scales("scales.nc", plan.network.levels[::-1]) == (3, 3, 5, 5, 7)
    flow = mosaic.registry().get("schedule", "flow")()
    ratios = [level.ratio for level in plan.network.levels]
    wanted = flow.level(0.5)
    nearest = int(np.argmin([abs(np.log(ratio / wanted.ratio)) for ratio in ratios]))
    assert resolve_scales("scales.nc", [wanted]) == ((7, 5, 5, 3, 3)[nearest],)


def test_a_calibration_by_name_takes_data_and_schedule_from_the_checkpoint(
    tiny: mosaic.DataSet, tiny_file: Path
) -> None:
    options = {"dataset_options": {"path": str(tiny_file)}, "network_options": {"channels": 4, "blocks": 0}}
    mosaic.train("resnet", "file", out="net", epochs=2, batch_size=4, schedule="linear", **options)
    actual = mosaic.calibrate("net", out="scales.nc", samples=3, steps=4, batch_size=2)
    assert actual["k"].values.tolist() == [3, 5]  # up to the receptive field
    assert actual.sizes == {"sample": 3, "step": 4, "k": 2}
    assert actual["signal"].values[-1] == pytest.approx(np.sqrt(1 - 0.01 - 0.97 / 4))
    assert ((actual["cosine"] >= -1) & (actual["cosine"] <= 1)).all()
    again = mosaic.calibrate("net", out="scales.nc", samples=3, steps=4, batch_size=2, resume=True)
    assert (again["cosine"].values == actual["cosine"].values).all()
    assert mosaic.calibrate("net", out="scales.nc", resume=True).sizes == actual.sizes  # its settings are kept
    with pytest.raises(mosaic.UsageError, match=r"configuration\.seed: 0, now 1"):
        mosaic.calibrate("net", out="scales.nc", seed=1, resume=True)
    with pytest.raises(mosaic.UsageError):
        mosaic.calibrate("net", out="scales.nc", samples=3)


def test_finished_batches_are_not_computed_again(tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tiny)
    with job_of(plan, Path("whole.nc")).execute() as whole:
        expected = whole["cosine"].values
    batches: list[str] = []

    def interrupt(done: float, total: float, unit: str, note: str = "") -> None:
        batches.append(note.partition("/")[0])
        if batches[-1] == "batch 2" and len(batches) > 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job_of(plan, Path("a.nc")).execute(progress=interrupt)
    assert [path.name for path in sorted(Path("a.nc.parts").glob("*.nc"))] == ["part-00000.nc"]
    batches.clear()

    def listen(done: float, total: float, unit: str, note: str = "") -> None:
        batches.append(note.partition("/")[0])

    with job_of(plan, Path("a.nc")).execute(resume=True, progress=listen) as resumed:
        assert (resumed["cosine"].values == expected).all()
    assert set(batches[1:]) == {"batch 2", "batch 3"}


def test_data_set_objects_and_lists_will_do_and_the_boundary_is_the_networks(tiny: mosaic.DataSet) -> None:
    options = {"channels": 4, "blocks": 0, "padding": "circular"}
    mosaic.train("resnet", tiny, out="net", epochs=1, batch_size=4, network_options=options)
    actual = mosaic.calibrate("net", "els", tiny, out="s.nc", samples=2, steps=2, sizes=[3, 5])
    assert json.loads(actual.attrs["configuration"])["score_options"]["boundary"] == "circular"
    assert actual["k"].values.tolist() == [3, 5]
    with pytest.raises(mosaic.UsageError, match="`data_dir`"):
        mosaic.calibrate("net", "els", tiny, data_dir="data")
    with pytest.raises(mosaic.UsageError):
        mosaic.calibrate("net", "els", tiny, out="t.nc", sizes="3-99999999999", score_options={"boundary": "valid"})


def test_a_run_is_not_a_calibration() -> None:
    mosaic.run("is", samples=1, steps=1, out="run.nc", dataset_options={"limit": 5}).close()
    with pytest.raises(mosaic.DataError, match="'mosaic-trajectory/1'"):
        open_calibration("run.nc")


def test_any_score_is_a_network_to_calibrate_by(tiny: mosaic.DataSet) -> None:
    """A machine of known scales, and a function that calls it with them."""
    own = mosaic.score("els", tiny, scales="3,3,5,5,5")
    settings: dict[str, Any] = {"steps": 5, "samples": 4, "sizes": "3-5", "progress": False}
    table = mosaic.calibrate(own, **settings)
    assert table["scale"].values.tolist() == [5, 5, 5, 3, 3]

    sizes = dict(zip((1.0, 0.8, 0.6, 0.4, 0.2), table["scale"].values.tolist(), strict=True))

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time = min(sizes, key=lambda known: abs(known - float(t[0])))
        return own.denoise(x, time, k=sizes[time])

    again = mosaic.calibrate(mosaic.score(predict, tiny, prediction="x0"), out="c.nc", **settings)
    assert again["scale"].values.tolist() == [5, 5, 5, 3, 3]
    assert "predict" in json.loads(again.attrs["configuration"])["checkpoint"]
    again.close()
    mosaic.calibrate(mosaic.score(predict, tiny, prediction="x0"), out="c.nc", resume=True, **settings).close()
    with pytest.raises(mosaic.UsageError, match=r"network\.options\.prediction"):
        mosaic.calibrate(mosaic.score(predict, tiny, prediction="eps"), out="c.nc", resume=True, **settings)
    sizes[1.0] = 3
    with pytest.raises(mosaic.UsageError, match="network_fingerprint"):
        mosaic.calibrate(mosaic.score(predict, tiny, prediction="x0"), out="c.nc", resume=True, **settings)
    mosaic.calibrate(own, out="d.nc", **settings).close()
    others = [
        mosaic.score("els", tiny, scales=3),
        mosaic.score("ls", tiny, scales="3,3,5,5,5"),
        mosaic.score("els", tiny, scales="3,3,5,5,5", schedule="linear"),
    ]
    for other in others:
        with pytest.raises(mosaic.UsageError, match=r"network\.s"):
            mosaic.calibrate(other, out="d.nc", resume=True, **settings)


def test_a_score_has_its_own_data(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="`dataset`"):
        mosaic.calibrate(mosaic.score("els", tiny), dataset="digits")


def test_the_best_of_a_continuum_is_the_extremum_of_a_parabola() -> None:
    tried = np.array([2.0, 2.5, 3.5, 5.0, 8.0])
    best = np.array([[3.1, 2.6], [6.0, 2.6]])
    values = -((np.log(tried) - np.log(best)[:, :, None]) ** 2)  # a parabola: found exactly
    table = xr.Dataset({"cosine": (("sample", "step", "k"), values), "distance": (("sample", "step", "k"), -values)})
    table = table.assign_coords(k=tried)
    for criterion in ("cosine", "l2"):
        chosen = chosen_scales(table, criterion, continuous=True)
        np.testing.assert_allclose(chosen["best"], best)
        np.testing.assert_allclose(chosen["scale"], [4.55, 2.6])
    rising = chosen_scales(table.isel(k=slice(2)), "cosine", continuous=True)
    assert rising["best"].values.tolist() == [[2.5, 2.5], [2.5, 2.5]]


def test_the_best_of_a_continuum_at_the_end_of_what_was_tried_stays_there() -> None:
    values = np.array([[[1.0, 2.0, 4.0], [3.0, 2.0, 0.0], [1.0, 1.0, 1.0], [0.0, 2.0, 0.0]]])
    dims = ("sample", "step", "k")
    table = xr.Dataset({"cosine": (dims, values), "distance": (dims, -values)}, {"k": [1.0, 2.0, 4.0]})
    assert chosen_scales(table, "cosine", continuous=True)["best"].values.tolist()[0] == pytest.approx([4, 1, 1, 2])
