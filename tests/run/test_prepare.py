"""From a configuration to a plan: everything is resolved and checked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import xarray as xr
from careless import Careless

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered


def test_arguments_of_the_wrong_type_are_named(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"mosaic\.DataSet.*Tensor"):
        mosaic.run("els", tiny.images)
    with pytest.raises(mosaic.UsageError, match=r"`init`.*DataArray"):
        mosaic.run("els", tiny, init=xr.DataArray([0.0]))
    with pytest.raises(mosaic.DataError, match=r"name.*Tensor"):
        mosaic.DataSet(tiny.images, tiny.labels)


def test_what_is_probably_unintended_is_noted(tiny: mosaic.DataSet) -> None:
    bright = mosaic.DataSet("bright", (tiny.images + 1) / 2)
    notes = prepare(layered(RunConfig, {"scales": "7"}), DataAccess(), dataset=bright).notes
    assert "'bright'" in notes[0]  # the range is -1 to 1, the pixels 0 to 1
    assert " 7 " in notes[1]
    assert " 5 " in notes[1]
    assert prepare(layered(RunConfig, {"scales": "5"}), DataAccess(), dataset=tiny).notes == ()


@pytest.mark.parametrize(
    ("score", "preset", "boundary", "made_for"),
    [
        ("els", "paper/mnist-resnet-circular", "circular", "valid"),
        ("els", "paper/mnist-resnet-circular", "zeros", "valid"),
        ("ls", "paper/mnist-resnet-circular", "circular", "valid"),
        ("soft-els", " soft-els/fashion-resnet-zeros", "circular", "zeros"),
        ("nearest-patch", "paper/mnist-unet-zeros", "circular", "zeros"),
        ("els", "paper/mnist-resnet-circular", "valid", None),
        ("els", "paper/mnist-resnet-zeros", "zeros", None),
        ("patch-posterior", "niedoba/cifar10-square", "circular", None),
        ("els", "3", "circular", None),
    ],
)
def test_a_preset_with_another_boundary_than_its_own_is_noted(
    score: str, preset: str, boundary: str, made_for: str | None
) -> None:
    large = mosaic.DataSet("large", torch.zeros(1, 1, 32, 32, dtype=torch.float32, device="cpu"), range=(0.0, 1.0))
    settings = {"score": score, "scales": preset, "score_options": {"boundary": boundary}}
    notes = prepare(layered(RunConfig, settings), DataAccess(), dataset=large).notes
    assert [f"boundary {made_for}, not {boundary}" in note for note in notes] == [True] * (made_for is not None)


def test_a_score_model_must_be_where_the_run_is(tiny: mosaic.DataSet) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    model.dataset = SimpleNamespace(name="d", images=torch.empty(1, 1, 6, 5, device="meta"))
    with pytest.raises(mosaic.UsageError, match="meta"):
        mosaic.run(score=model, device="cpu")
    with pytest.raises(mosaic.UsageError, match="'meta'"):
        mosaic.run(dataset=tiny, device="meta")


def test_a_class_in_place_of_a_score_model_is_refused(tiny):
    with pytest.raises(mosaic.UsageError, match="Careless"):
        mosaic.run(Careless, tiny, steps=1)


def test_notes_of_the_data_set_are_notes_of_the_run(tiny: mosaic.DataSet) -> None:
    noted = replace(tiny, notes=("Two images were left out.",))
    assert prepare(layered(RunConfig, {"scales": "5"}), DataAccess(), dataset=noted).notes == noted.notes


def test_the_memory_allowed_is_looked_at_before_data_are_read(tiny_file: Path) -> None:
    config = layered(RunConfig, {"dataset": "file", "dataset_options": {"path": str(tiny_file)}, "score": "gaussian"})
    assert prepare(config, DataAccess(), memory="385M").config.dataset == "file"
    with pytest.raises(mosaic.DataError, match=r"12 images of 1 x 6 x 5.*\b1 MiB.*\b0 MiB"):
        prepare(config, DataAccess(), memory="384M")


@pytest.mark.parametrize("where", ["check", "traits", "posterior"])
def test_a_score_model_that_ends_the_program_is_an_error(tiny: mosaic.DataSet, where: str) -> None:
    def leave(*_: object) -> None:
        sys.exit(3)

    kind = mosaic.registry().get("score", "is")
    model = type("Leaving", (kind,), {where: property(leave) if where == "traits" else leave})(None, tiny)
    with pytest.raises(mosaic.PluginError, match=r"sys\.exit\(3\)"):
        mosaic.run(model, steps=1, samples=1)
