"""From memorisation to generalisation: what is kept and refused, and known answers at few images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import check_readable
from small_reproduction import SMALL

import mosaic
from mosaic.evaluate.statistics import interval_of
from mosaic.reproduction.reproduce import forecast_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.transition.makers import COUNTS, FIXED, MAKERS
from mosaic.reproduction.transition.transition import Transition, judged

ROW = "mnist-resnet-zeros"
TINY: dict[str, Any] = {**SMALL, "dataset_options": {"limit": 8}}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two numbers of images in place of all."""
    monkeypatch.setitem(COUNTS, "cpu", (2, 4, 8))  # of 8 images there are no two halves of 8


@pytest.mark.system
@pytest.mark.usefixtures("few")
def test_halves_are_compared_and_kept() -> None:
    first = mosaic.reproduce("transition", [ROW], out="out", **TINY)
    for key, variable in first.variables.items():
        assert variable.attrs["long_name"], key
    assert first["count"].values.tolist() == [2, 4]
    assert first["maker"].values.tolist() == list(MAKERS)
    ideal = first.sel(maker="is")
    assert (ideal["copy"] == 1).all()  # at any number of images
    assert (ideal["copy_share"] == 1).all()
    assert (ideal["own_distance"] < 1e-4).all()
    assert (ideal["other_distance"] > 1).all()
    assert (first["pearson_r"].sel(maker="network") > 1 - 1e-9).all()
    largest = first.sel(count=4)
    np.testing.assert_array_equal(largest["image"].sel(maker=FIXED), largest["image"].sel(maker="els"))
    assert first["n_eff_pixel"].shape == (2, 9, 4, 2)
    assert (first["n_eff_pixel"] >= 1).all()
    assert first["step_time"].values.tolist() == sorted(first["step_time"].values.tolist(), reverse=True)

    folder = Path("out/cpu") / f"transition-{ROW}"
    assert {path.name for path in folder.iterdir()} == {"A-2", "B-2", "A-4", "B-4"}
    with mosaic.open(folder / "A-4" / "is.nc") as a, mosaic.open(folder / "B-4" / "is.nc") as b:
        np.testing.assert_array_equal(a["seed"], b["seed"])
        r = mosaic.registry().make("metric", "pearson_r", {})(
            *(torch.from_numpy(run["image"].values) for run in (a, b))
        )
    np.testing.assert_allclose(first["halves_r"].sel(count=4, maker="is"), r)
    with mosaic.open(folder / "A-2" / f"{FIXED}.nc") as fixed, mosaic.open(folder / "A-4" / "els.nc") as own:
        np.testing.assert_array_equal(fixed["scale"], own["scale"])
    (folder / "B-2" / "is.nc").unlink()
    target = Transition(Study(ReproduceConfig(**TINY, rows=ROW), Path("out/cpu")))
    steps = {step.name: step.done for step in forecast_reproduction(target)}
    assert [name for name, done in steps.items() if not done] == [f"{ROW} B 2: is"]
    records = json.loads(first.attrs["records"])
    assert records[f"{ROW} B 4: train"]["dataset_size"] == 32
    assert set(records) == set(steps)
    with pytest.raises(mosaic.UsageError, match="seed: 0, now 1"):
        mosaic.reproduce("transition", [ROW], out="out", **TINY, seed=1)

    lines = target.summary(first)
    assert len(lines) == 3 * 2 + 2 * len(MAKERS) + len(MAKERS) - 1 + 2
    assert lines[3].split()[0] == "IS"
    assert lines[3].split("IS")[1].split()[0] == "1.000"
    figure = target.draw(first)
    check_readable(figure, side=0.4)
    copies = figure.axes[0]
    drawn = {str(line.get_label()): line.get_ydata() for line in copies.get_lines()}
    np.testing.assert_array_equal(drawn["IS"], [1, 1])
    assert len(figure.axes) == 3 + 2 * 12 + 2 + 1


def test_too_few_images_are_refused() -> None:
    with pytest.raises(mosaic.UsageError, match=r"8 images.*at least 20"):
        mosaic.reproduce("transition", [ROW], out="out", **TINY)
    assert not list(Path("out").rglob("*.nc"))


@pytest.mark.usefixtures("few")
def test_times_are_predicted_before_anything_is_there() -> None:
    target = Transition(Study(ReproduceConfig(**TINY, rows=ROW), Path("root")))
    steps = {step.name: step.seconds for step in target.steps()}
    for name in ("A 2: network", f"B 2: {FIXED}", "A 4: n_eff"):
        assert 0 < (steps[f"{ROW} {name}"]() or 0) < 60
    assert not Path("root").exists()


def test_images_are_judged_by_halves() -> None:
    rng = np.random.default_rng(0)
    data = {
        half: mosaic.DataSet(half, torch.from_numpy(rng.uniform(-1, 1, (3, 1, 4, 4)).astype(np.float32)))
        for half in ("A", "B")
    }
    copies = np.stack([each.images.numpy()[[0, 1, 1, 2]] for each in data.values()])
    blends = copies + np.float32(0.3) * rng.uniform(-1, 1, copies.shape).astype(np.float32)
    blends[1] = blends[0]
    measured = judged({"network": copies, "els": blends}, data)
    np.testing.assert_array_equal(measured["own_distance"].sel(maker="network"), 0)
    np.testing.assert_allclose(measured["halves_r"].sel(maker="els"), 1)
    flat = copies.reshape(2, 4, -1).astype(float)
    expected = [np.corrcoef(flat[0, i], flat[1, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(measured["halves_r"].sel(maker="network"), expected)
    other = [min(np.linalg.norm(flat[0, i] - each.numpy().ravel()) for each in data["B"].images) for i in range(4)]
    np.testing.assert_allclose(measured["other_distance"].sel(maker="network", half="A"), other, rtol=1e-6)
    assert (measured["copy"].sel(maker="network") == 1).all()
    assert (measured["copy"].sel(maker="els", half="B") == 0).all()
    share, low, high = interval_of(measured["copy"].sel(maker="els").values.ravel(), "share")
    assert [float(measured[f"copy_{end}"].sel(maker="els")) for end in ("share", "low", "high")] == [share, low, high]
    means = measured["pearson_r"].sel(maker="els").mean("half").values
    ends = [float(measured[f"pearson_r_{end}"].sel(maker="els")) for end in ("median", "low", "high")]
    np.testing.assert_allclose(ends, interval_of(means))
