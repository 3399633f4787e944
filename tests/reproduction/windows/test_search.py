"""The search for the best scale: by the calibration noise alone, against direct evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.windows.search import (
    CALIBRATION,
    FLOWS,
    JUDGING,
    TIMES,
    WindowSearch,
    nearest_steps,
    search,
)
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan

STEPS, SAMPLES = 20, {CALIBRATION: 2, JUDGING: 3}
DATASET = mosaic.DataSet("digits", mosaic.registry().get("dataset", "digits")().load().images[:20])


def flows_of(scales: dict[str, int]) -> dict[str, Path]:
    """Runs of ELS in place of a network's, at these scales."""
    for seed, (flow, scale) in enumerate(scales.items()):
        settings: dict[str, Any] = {"steps": STEPS, "samples": SAMPLES[flow], "seed": seed, "save": "none"}
        mosaic.run("els", DATASET, scales=scale, **settings, out=f"{flow}.nc", progress=False).close()
    return {flow: Path(f"{flow}.nc") for flow in scales}


def plans_of(**options: Any) -> dict[str, Plan]:
    study = Study(ReproduceConfig(), Path("root"))
    shared: dict[str, Any] = {"score": "filtered", "score_options": options, "scales": "3", "steps": STEPS}
    return {flow: study.prepare(RunConfig(samples=SAMPLES[flow], batch_size=2, **shared), DATASET) for flow in FLOWS}


def test_the_scale_of_a_machine_is_found_by_the_calibration_noise_and_judged_on_the_other() -> None:
    flows = flows_of({CALIBRATION: 3, JUDGING: 5})
    found = search(plans_of(window="box"), flows, [(1, 3, 5, 7)] * len(TIMES))
    assert (found["scale"] == 3).all()
    assert float(found["calibration_error"].sel(trial=1).max()) < 1e-12
    assert float(found["error"].min()) > 1e-6  # judged by what has a scale of 5, which would have been better
    with mosaic.open(flows[JUDGING]) as judging:
        for time in TIMES:
            own = judging.isel(step=int(np.abs(judging["time"].values - time).argmin()))
            level = mosaic.Level(float(own["signal"]), float(own["noise"]))
            x, seen = torch.from_numpy(own["state"].values), own["denoised"].values
            direct = mosaic.score("els", DATASET).denoise(x, level=level, k=3).numpy()
            expected = ((direct.astype(float) - seen) ** 2).mean((1, 2, 3))
            np.testing.assert_allclose(found["error"].sel(time=time, method="nearest"), expected, rtol=1e-6)
            inner = ((direct.astype(float) - seen) ** 2)[:, :, 2:6, 2:6].mean((1, 2, 3))
            np.testing.assert_allclose(found["inner_error"].sel(time=time, method="nearest"), inner, rtol=1e-6)


def test_errors_of_a_soft_variant_are_those_of_the_score_evaluated_directly() -> None:
    flows, options = flows_of({CALIBRATION: 3, JUDGING: 3}), {"window": "soft", "mixture": 1.5}
    grids = [(2.5, 3.5)] * 5 + [(1.8, 2.2, 2.6)]
    reports: list[tuple[float, float]] = []
    found = search(plans_of(**options), flows, grids, lambda done, total, unit, note="": reports.append((done, total)))
    assert found["tried"].values[:5].tolist() == pytest.approx(np.array([[2.5, 3.5, np.nan]] * 5), nan_ok=True)
    score = mosaic.score("filtered", DATASET, **options)
    for flow, name in ((CALIBRATION, "calibration_error"), (JUDGING, "error")):
        with mosaic.open(flows[flow]) as run:
            own = run.isel(step=int(np.abs(run["time"].values - 0.45).argmin()))
            level = mosaic.Level(float(own["signal"]), float(own["noise"]))
            x, seen = torch.from_numpy(own["state"].values), own["denoised"].values
            ks = grids[3] if flow == CALIBRATION else [found["scale"].values[3]]
            expected = [((score.denoise(x, level=level, k=k).numpy() - seen) ** 2).mean((1, 2, 3)) for k in ks]
        actual = found[name].values[3]
        np.testing.assert_allclose(
            actual[:2] if flow == CALIBRATION else actual,
            np.mean(expected, 1) if flow == CALIBRATION else expected[0],
            rtol=1e-4,
        )
    best = np.nanargmin(found["calibration_error"].values, 1)
    assert found["scale"].values.tolist() == [grid[place] for grid, place in zip(grids, best, strict=True)]
    done, totals = zip(*reports, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == pytest.approx(totals[0])


def test_steps_are_the_nearest() -> None:
    assert nearest_steps(np.array([1.0, 0.85, 0.6, 0.5, 0.3, 0.0])) == [1, 1, 2, 3, 4, 4]


def test_both_noises_are_the_networks_own_and_not_one() -> None:
    study = Study(ReproduceConfig(seed=5, dataset="digits"), Path("root"))
    own = WindowSearch(Experiment(row_named("cifar10-resnet-circular"), study))
    configs = [own.flow_config(flow) for flow in FLOWS]
    assert [(config.seed, config.samples, config.steps) for config in configs] == [(6, 4, 20), (1005, 16, 20)]
    assert {config.labels for config in configs} == {"random"}
    beside = own.variant_config("hard", CALIBRATION, "3")
    for setting in ("seed", "samples", "steps", "labels", "schedule", "dataset"):
        assert getattr(beside, setting) == getattr(configs[0], setting)
    assert beside.score_options == {"boundary": "circular", "window": "box"}


def test_times_are_predicted_before_anything_is_there() -> None:
    study = Study(ReproduceConfig(dataset="digits", dataset_options={"limit": 20}), Path("root"))
    own = WindowSearch(Experiment(row_named("mnist-resnet-zeros"), study))
    assert 0 < (own.variant_seconds("soft") or 0) < 60
    assert not Path("root").exists()
