"""`mosaic list`: the names there are."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from command_results import done, refused

import mosaic
from mosaic_cli.list import summary_of

Invoke = Callable[..., Result]


def test_list_names_everything_built_in(invoke: Invoke) -> None:
    names = {(row["kind"], row["name"]) for row in json.loads(invoke("list", "--json").stdout)}
    schedules = {"cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm"}
    samplers = {"ddim", "ddpm", "euler", "heun", "dpmpp-2m", "euler-maruyama"}
    datasets = {
        "mnist",
        "fashion_mnist",
        "cifar10",
        "celeba",
        "folder",
        "file",
        "digits",
        "black-white",
        "shapes",
    }
    assert {("schedule", name) for name in schedules} <= names
    assert {("dataset", name) for name in datasets} <= names
    assert {("sampler", name) for name in samplers} <= names
    assert {("score", name) for name in ("is", "es", "ls", "els")} <= names
    presets = [name for kind, name in names if kind == "scales"]
    assert sum(name.startswith("paper/") for name in presets) == 10
    assert {"niedoba/cifar10-square", "soft-els/fashion-resnet-zeros"} <= set(presets)


def test_names_of_a_kind_are_sorted(invoke: Invoke) -> None:
    listed = json.loads(invoke("list", "scores", "--json").stdout)
    names = [row["name"] for row in listed]
    assert names == sorted(names)
    assert {"diffusers", "els", "els-attention", "es", "gaussian", "is", "ls", "network", "switch"} < set(names)
    assert {row["kind"] for row in listed} == {"score"}


def test_a_row_has_the_provider_and_the_first_line_of_the_docstring(invoke: Invoke) -> None:
    (row,) = [row for row in json.loads(invoke("list", "schedule", "--json").stdout) if row["name"] == "cosine"]
    cls = mosaic.registry().get("schedule", "cosine")
    assert row["provider"] == "mosaic-diffusion:schedules"
    assert row["summary"] == cls.__doc__.strip().splitlines()[0]
    lines = [line for line in done(invoke("list", "schedules")).stdout.splitlines() if line.split()[1] == "cosine"]
    assert [line.rstrip().split(maxsplit=3) for line in lines] == [
        ["schedule", "cosine", row["provider"], row["summary"]]
    ]


def test_a_preset_is_listed_with_its_scales_and_their_boundary(invoke: Invoke) -> None:
    rows = {row["name"]: row for row in json.loads(invoke("list", "scales", "--json").stdout)}
    preset = json.loads(invoke("show", "scales", "paper/mnist-unet-zeros", "--json").stdout)
    scales, boundary = rows["paper/mnist-unet-zeros"]["summary"].split(" (")
    assert scales.split() == [str(scale) for scale in preset["scales"]]
    assert boundary == "boundary zeros)"
    assert "(" not in rows["niedoba/cifar10-square"]["summary"]


@pytest.mark.parametrize("kind", ["scoer", "scoers"])
def test_a_kind_that_there_is_not_is_refused_with_the_nearest(invoke: Invoke, kind: str) -> None:
    refused(invoke("list", kind), 2, f"'{kind}'", "'score'")


def test_a_class_without_docstring_has_no_summary() -> None:
    assert summary_of(type("Bare", (), {})) == ""
    assert summary_of(type("Long", (), {"__doc__": "\n  First.\n\n  Second."})) == "First."
