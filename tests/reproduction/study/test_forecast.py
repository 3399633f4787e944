"""What is there is forecast as done, what is not as to be done, and other settings are refused."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.reproduce import forecast_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.forecast import Forecast, Step, forecast
from mosaic.reproduction.study.study import Study
from mosaic.storage.job import ConfigMismatch, Job, State
from mosaic.storage.made_by import core_digest


def forecast_of(name: str, folder: Path, measure: bool = False, **settings: Any) -> dict[str, Forecast]:
    rows = None if name == "fig3" else "fashion-resnet-zeros"
    study = Study(ReproduceConfig(**{**SMALL, "rows": rows, **settings}), folder / "cpu")
    target = prepare_reproduction(name, study)
    return {step.name.removeprefix("fashion-resnet-zeros: "): step for step in forecast_reproduction(target, measure)}


@pytest.fixture(scope="module")
def reproduced(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a folder in which a figure has been made, of each figure one; not to be changed."""

    @cache
    def make(name: str) -> Path:
        if name == "table2":
            return made
        folder = Path(shutil.copytree(made, tmp_path_factory.mktemp(name) / "made"))
        mosaic.reproduce(name, [] if name == "fig3" else ["fashion-resnet-zeros"], out=folder, **SMALL)
        return folder

    return make


@pytest.mark.parametrize("name", ["table2", "fig3", "fig4", "fig5c", "memorization"])
def test_what_is_there_is_forecast_as_done(
    name: str, reproduced: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.STEPS", (5,))
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.SAMPLES", 1)
    folder = reproduced(name)
    steps = forecast_of(name, folder)
    assert all(step.done and step.seconds is None and not step.other_code for step in steps.values())
    monkeypatch.setattr("mosaic.storage.made_by.core_digest", lambda: "another")
    assert all(step.done and step.other_code for step in forecast_of(name, folder).values())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("table2", {"samples": 4}, r"network\.nc'.*configuration\.samples: 3, now 4"),
        ("table2", {"calibration_samples": 3}, r"scales\.nc'.*samples: 2, now 3"),
        ("fig4", {"calibration_samples": 3}, "samples: 2, now 3"),
        ("fig5c", {"seed": 1}, "seed: 0, now 1"),
        ("memorization", {"epochs": 3}, "epochs: 2, now 3"),
    ],
)
def test_other_settings_are_refused_beforehand(name: str, settings: Any, message: str, folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=message):
        forecast_of(name, folder, **settings)


@pytest.mark.parametrize("name", ["table2", "fig5c", "memorization"])
def test_a_forecast_computes_nothing_that_is_kept(name: str, reproduced: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(reproduced(name), tmp_path / "again"))
    (folder / "cpu" / "fashion-resnet-zeros" / "network" / "training.safetensors").unlink()  # from which it would go on
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    actual = forecast_of(name, folder, measure=True)
    assert not actual["train"].done
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_in_progress_with_other_settings_is_refused_beforehand(folder: Path) -> None:
    row = folder / "cpu" / "fashion-resnet-zeros"
    (row / "els.nc").unlink()

    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith("batch 2/"):
            raise KeyboardInterrupt

    data = {"dataset_options": {"limit": 30}, "scales": str(row / "scales.nc"), "score_options": {"boundary": "zeros"}}
    with pytest.raises(KeyboardInterrupt):
        mosaic.run("els", "digits", out=row / "els.nc", samples=9, labels="random", progress=stop, **data)
    assert (row / "els.nc.parts").exists()
    with pytest.raises(mosaic.UsageError, match="samples: 9, now 3"):
        forecast_of("table2", folder)


def test_what_rests_on_what_is_not_there_is_forecast_as_to_be_done(folder: Path) -> None:
    row = folder / "cpu" / "fashion-resnet-zeros"
    (row / "scales.nc").unlink()
    actual = forecast_of("table2", folder)
    assert [name for name, step in actual.items() if step.done] == [
        "train",
        "network",
        "is",
        "calibrate soft-els",
        "soft-els",
    ]
    (row / "network" / "weights.safetensors").unlink()
    actual = forecast_of("table2", folder)
    assert [name for name, step in actual.items() if step.done] == ["is"]
    assert all(step.seconds is None for step in actual.values())
    actual = forecast_of("table2", folder, measure=True)
    assert {name for name, step in actual.items() if step.seconds is None} == {"is", "network"}
    assert all(step.seconds > 0 for step in actual.values() if step.seconds is not None)


class Kept(Job):
    """Work that is kept as a netCDF file with its identity and the code that made it."""

    def __init__(self, place: Path, seed: int = 0) -> None:
        self.place, self.identity = place, {"seed": seed}

    def kept(self) -> list[tuple[State, Mapping[str, Any]]]:
        if not self.place.exists():
            return []
        with xr.open_dataset(self.place) as stored:
            return [(State.DONE, {"seed": int(stored.attrs["seed"])})]

    def execute(self, *, resume: bool = False, overwrite: bool = False, progress: Any = None) -> None:
        raise AssertionError("a forecast executes nothing")


def keep(name: str, code: str = "other", seed: int = 0) -> None:
    xr.Dataset(attrs={"seed": seed, "code": code}).to_netcdf(f"{name}.nc")


def step_of(name: str, seconds: float, rests_on: Step | None = None) -> Step:
    return Step(name, lambda: Kept(Path(f"{name}.nc")), rests_on, lambda: seconds)


def never() -> Any:
    raise AssertionError("it is not asked for")


def test_steps_are_forecast_in_order_and_each_once() -> None:
    first = step_of("first", 2.0)
    second = step_of("second", 3.0, first)
    keep("first")
    actual = forecast(lambda: [second, first, second], measure=True)
    assert actual == [Forecast("second", False, seconds=3.0), Forecast("first", True, other_code=True)]


def test_what_is_done_or_not_asked_for_is_not_measured() -> None:
    keep("first", core_digest())
    steps = [Step(name, step_of(name, 0.0).job, seconds=never) for name in ("first", "second")]
    assert forecast(lambda: steps[:1], measure=True) == [Forecast("first", True)]
    assert forecast(lambda: steps, measure=False) == [Forecast("first", True), Forecast("second", False)]


def test_the_job_of_what_rests_on_undone_work_is_not_made() -> None:
    """Though its own place is taken; and what rests on that is undone, too, listed or not."""
    first = step_of("first", 1.0)
    second = Step("second", never, first)
    third = Step("third", never, second, lambda: 4.0)
    keep("third")
    assert forecast(lambda: [third, second], measure=True) == [
        Forecast("third", False, seconds=4.0),
        Forecast("second", False),
    ]


def test_work_of_another_identity_is_refused() -> None:
    keep("first", seed=3)
    with pytest.raises(ConfigMismatch, match="seed: 3, now 0") as caught:
        forecast(lambda: [step_of("first", 1.0)], measure=False)
    assert caught.value.place == Path("first.nc")


def test_each_step_that_is_measured_is_announced() -> None:
    notes: list[str] = []
    steps = [step_of(name, 1.0) for name in ("first", "second", "first", "third")]
    keep("third")
    forecast(lambda: steps, True, lambda done, total, unit, note="": notes.append(note.partition(",")[0]))
    assert notes == ["first", "second"]


def test_no_step_is_kept_when_the_next_one_is_looked_at() -> None:
    """It may hold its data in memory."""
    alive: list[weakref.ref[Step]] = []

    def steps() -> Iterator[Step]:
        for name in ("first", "second", "third"):
            assert sum(each() is not None for each in alive) <= 1  # the one before
            step = step_of(name, 1.0)
            alive.append(weakref.ref(step))
            yield step

    assert len(forecast(steps, measure=True)) == 3
