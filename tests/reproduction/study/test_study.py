"""What the steps of a reproduction share: progress, runs that are kept, and records of what made them."""

from __future__ import annotations

from pathlib import Path

import pytest

import mosaic
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig

IDEAL = RunConfig(score="is", dataset="digits", dataset_options={"limit": 20}, steps=3, samples=2)


def test_notes_of_a_step_start_with_its_name() -> None:
    notes: list[str] = []
    study = Study(ReproduceConfig(), Path("root"), progress=lambda done, total, unit, note="": notes.append(note))
    study.run("a row: is", IDEAL, Path("root/is.nc")).close()
    batch = [f"a row: is, batch 1/1, step {step}/3" for step in (1, 2, 3)]
    assert notes == ["a row: is, starting", *batch]


def test_a_run_is_kept_used_again_and_recorded() -> None:
    study, path = Study(ReproduceConfig(), Path("root")), Path("root/a/b/is.nc")
    with study.run("first", IDEAL, path) as made, mosaic.run(**IDEAL.model_dump()) as expected:
        assert made["image"].values.tobytes() == expected["image"].values.tobytes()
    written = path.stat().st_mtime_ns
    notes: list[str] = []
    again = Study(ReproduceConfig(), Path("root"), progress=lambda done, total, unit, note="": notes.append(note))
    again.run("second", IDEAL, path).close()
    assert path.stat().st_mtime_ns == written
    assert notes == []
    for records, step in ((study.records, "first"), (again.records, "second")):
        assert list(records) == [step]
        assert records[step]["configuration"]["samples"] == 2
        assert records[step]["dataset_fingerprint"] == expected_fingerprint()


def expected_fingerprint() -> str:
    source = mosaic.registry().get("dataset", "digits")
    dataset: mosaic.DataSet = source(source.Options(limit=20)).load()
    return dataset.fingerprint()


def test_a_run_of_other_settings_is_refused_where_another_is_kept() -> None:
    study, path = Study(ReproduceConfig(), Path("root")), Path("root/is.nc")
    study.run("a", IDEAL, path).close()
    with pytest.raises(mosaic.UsageError, match="samples: 2, now 3"):
        study.run("a", IDEAL.model_copy(update={"samples": 3}), path)


def test_data_that_are_given_are_not_read() -> None:
    dataset = mosaic.DataSet("digits", mosaic.registry().get("dataset", "digits")().load().images[:5])
    plan = Study(ReproduceConfig(), Path("root")).prepare(IDEAL, dataset)
    assert len(plan.dataset) == 5


def test_only_machines_have_seconds_that_are_predicted() -> None:
    study = Study(ReproduceConfig(), Path("root"))
    assert 0 < study.run_seconds(IDEAL) < 60
    assert study.run_seconds(IDEAL.model_copy(update={"score": "gaussian"})) is None


def test_the_memory_of_a_study_is_that_of_its_runs() -> None:
    Study(ReproduceConfig(), Path("root"), memory="2G").prepare(IDEAL)
    with pytest.raises(mosaic.UsageError, match=r"100 MiB.*`memory`"):
        Study(ReproduceConfig(), Path("root"), memory="100M").prepare(IDEAL)
