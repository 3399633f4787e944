"""`mosaic show`: a plugin class and its options, and presets of scales."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from command_results import done, refused

import mosaic
from mosaic.sampling.scales import paper_scales

Invoke = Callable[..., Result]


def test_show_prints_a_preset_that_scales_reads(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(invoke("show", "scales", "paper/fashion-unet-zeros", "--json").stdout)
    runs = [invoke("run", "--dry-run", "--json", "--scales", s).stdout for s in ("s.json", "paper/fashion-unet-zeros")]
    assert json.loads(runs[0])["configuration"]["scales"] == json.loads(runs[1])["configuration"]["scales"]
    refused(invoke("show", "scales", "paper/fashion-unet"), 2, "'paper/fashion-unet'", "'paper/fashion-unet-zeros'")


def test_a_preset_is_a_table_of_scales_by_noise_to_signal_ratio(invoke: Invoke) -> None:
    header, *lines = done(invoke("show", "scale", "mnist-resnet-zeros")).stdout.splitlines()
    table = paper_scales("mnist-resnet-zeros")
    assert header.split()[-1] == "SCALE"
    assert [int(line.split()[1]) for line in lines] == list(table.scales)
    assert [float(line.split()[0]) for line in lines] == pytest.approx(table.ratios, rel=1e-3)


def test_a_preset_says_what_boundary_it_was_made_for(invoke: Invoke) -> None:
    assert "boundary valid" in invoke("show", "scales", "paper/mnist-resnet-circular").stderr
    assert "boundary" not in invoke("show", "scales", "niedoba/cifar10-square").stderr


def test_a_preset_says_on_what_network_it_was_calibrated(invoke: Invoke) -> None:
    note = invoke("show", "scales", "soft-els/fashion-resnet-zeros").stderr
    options = mosaic.registry().get("score", "soft-els").Options()
    for name in ("cutoff", "border", "border_limit", "temperature"):
        assert f"{name} {getattr(options, name):g}" in note
    assert "table2 --rows fashion-resnet-zeros" in note
    assert "largest scale tried was 17" in note
    assert "Kamb & Ganguli" in invoke("show", "scales", "paper/mnist-resnet-circular").stderr
    assert "Niedoba" in invoke("show", "scales", "niedoba/cifar10-square").stderr


def test_presets_of_others_are_shown_and_listed_by_their_whole_names(invoke: Invoke) -> None:
    lines = done(invoke("show", "niedoba/cifar10-square")).stdout.splitlines()
    assert [line.split()[1] for line in lines[-2:]] == ["32", "32"]
    assert "niedoba/cifar10-square" in done(invoke("list", "scales")).stdout


def test_show_prints_the_option_table(invoke: Invoke) -> None:
    output = invoke("show", "schedule", "exponential").stdout
    (row,) = [line for line in output.splitlines() if line.startswith("schedule.t_max")]
    assert [cell.strip() for cell in row.split("  ") if cell.strip()][1:4] == ["number", "1.0", "> 0, <= 50"]
    description = mosaic.registry().get("schedule", "exponential").Options.model_fields["t_max"].description
    assert description in row


def test_show_says_of_a_score_what_is_whose(invoke: Invoke) -> None:
    for name in mosaic.registry().names("score"):
        lines = done(invoke("show", "score", name)).stdout.splitlines()
        for label in ("The paper's", "The published code's", "Ours"):
            assert any(line.startswith((f"{label}: ", f"{label}, ")) for line in lines), name


def test_show_says_on_what_a_default_was_chosen(invoke: Invoke) -> None:
    lines = done(invoke("show", "score", "soft-els")).stdout.splitlines()
    chosen = [line.split()[0] for line in lines if "Default chosen on networks of MNIST and FashionMNIST." in line]
    assert chosen == ["score.border_limit", "score.temperature"]


def test_options_of_a_metric_go_by_the_metrics_name(invoke: Invoke) -> None:
    lines = done(invoke("show", "metrics", "local_consistency")).stdout.splitlines()
    assert lines[0] == "metric local_consistency, from mosaic-diffusion:metrics"
    names = [line.split()[0] for line in lines if line.startswith("local_consistency.")]
    assert names == ["local_consistency.k", "local_consistency.boundary", "local_consistency.tolerance"]


def test_the_document_is_the_json_schema_of_the_options(invoke: Invoke) -> None:
    schema = json.loads(invoke("show", "score", "els", "--json").stdout)
    assert schema["properties"]["boundary"]["enum"] == ["zeros", "circular", "valid"]


def test_a_kind_or_name_that_there_is_not_is_refused_with_the_nearest(invoke: Invoke) -> None:
    refused(invoke("show", "score", "elss"), 3, "'elss'", "'els'")
    refused(invoke("show", "scre", "els"), 2, "'scre'", "'score'")


def test_a_name_that_one_kind_has_needs_no_kind(invoke: Invoke) -> None:
    assert done(invoke("show", "els")).stdout == done(invoke("show", "score", "els")).stdout
    assert done(invoke("show", "paper/mnist-resnet-zeros")).stdout.count("\n") == 21
    refused(invoke("show", "scores"), 2, "'scores'", "els")
    refused(invoke("show", "elss"), 2, "'elss'", "'els'")
