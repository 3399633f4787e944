"""The networks and theories of the attention experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_attention import MINIATURE

import mosaic
from mosaic.reproduction.attention.theories import (
    ATTENTIVE,
    NETWORKS,
    THEORIES,
    notes_on,
    run_theory,
    scale_of,
    stem_of,
    theory_config,
    theory_step,
)
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig


@pytest.fixture
def base() -> Experiment:
    return Experiment(NETWORKS["resnet"], Study(ReproduceConfig(**{**MINIATURE, "samples": 2}), Path("root")))


def test_theories_are_machines_with_options_that_they_know() -> None:
    for name, (score, options) in THEORIES.items():
        mosaic.registry().parse("score", score, options)
        assert " " not in stem_of(name)
    assert len({stem_of(name) for name in THEORIES}) == len(THEORIES)
    assert set(ATTENTIVE) < set(THEORIES)
    for row in NETWORKS.values():
        mosaic.registry().parse("network", row.network, row.options)
        assert row.scales_of == NETWORKS["resnet"].name


def test_the_window_of_the_theories_is_the_receptive_field_of_the_network(base: Experiment) -> None:
    """Three convolutions of 3 x 3 pixels, of which one is the only block's: 7 pixels."""
    assert scale_of(base) == 7
    assert set(theory_step(base, "a", "els", "els").job().identity["scales"]) == {7}
    assert set(theory_step(base, "a", "els", "els", k=5).job().identity["scales"]) == {5}


@pytest.mark.parametrize(
    ("dataset", "size", "blocks", "is_noted"),
    [("pairs", 16, 2, False), ("pairs", 16, 3, True), ("pairs", 20, 4, False), ("pairs-shape", 16, 4, True)],
)
def test_windows_that_see_both_halves_are_noted(dataset: str, size: int, blocks: int, is_noted: bool) -> None:
    options = {"dataset_options": {"count": 40, "size": size}, "network_options": {"channels": 4, "blocks": blocks}}
    study = Study(ReproduceConfig(dataset=dataset, **options), Path("root"))
    notes = notes_on(Experiment(NETWORKS["resnet"], study))
    assert bool(notes) == is_noted
    if is_noted:
        assert f" {2 * blocks + 5} pixels" in notes[0]
        assert f" {size - 8} columns" in notes[0]


def test_theories_start_from_the_noise_of_the_networks(base: Experiment) -> None:
    network = base.calibrated_config("network")
    for name in THEORIES:
        config = theory_config(base, name, "7")
        assert (config.seed, config.samples, config.labels) == (network.seed, network.samples, network.labels)
        assert config.score == THEORIES[name][0]
        assert config.score_options.items() >= THEORIES[name][1].items()
        assert config.scales == (None if name == "is" else "7")
        assert config.score_options.get("boundary") == (None if name == "is" else "zeros")


def test_a_theory_is_kept_under_its_name_or_another(base: Experiment) -> None:
    name = "compose identity"
    with run_theory(base, name, 3) as attentive, run_theory(base, "els", 3, "els-3") as plain:
        assert attentive["image"].values.tobytes() == plain["image"].values.tobytes()
    assert {path.name for path in base.folder.iterdir() if path.suffix == ".nc"} == {"compose-identity.nc", "els-3.nc"}
    assert theory_step(base, "a", name, stem_of(name), 3).job().is_done()
    assert not theory_step(base, "a", "is", "is").job().is_done()


def test_the_time_of_a_theory_is_that_of_its_own_run(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []
    monkeypatch.setattr(Experiment, "run_seconds", lambda experiment, config: asked.append(config) or 3.0)
    assert theory_step(base, "a", "mixture top1", "stem", 5).seconds() == 3.0
    assert asked == [theory_config(base, "mixture top1", "5")]
