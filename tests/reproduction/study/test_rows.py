"""The rows of table 2 and their sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

import mosaic
from mosaic.reproduction.study.rows import ROWS, row_named, sizes_of


def test_there_are_the_eleven_rows_of_table_2() -> None:
    assert len(ROWS) == 11
    assert ROWS["mnist-resnet-zeros"].paper == (0.94, 0.82, 0.61)
    assert ROWS["cifar10-resnet-circular"].padding == "circular"
    assert ROWS["cifar10-unet-attention"].scales_of == "cifar10-resnet-zeros"
    assert {row.dataset for row in ROWS.values() if row.conditional} == {"cifar10", "fashion_mnist"}
    for row in ROWS.values():  # every plugin that a row names is there, with the options it is given
        network = mosaic.registry().get("network", row.network)
        mosaic.registry().get("dataset", row.dataset)
        for preset in ("cpu", "paper"):
            network.Options.parse(sizes_of(row, preset).network_options, row.name)


def test_the_papers_preset_has_the_papers_sizes() -> None:
    sizes = sizes_of(ROWS["mnist-resnet-zeros"], "paper")
    assert sizes.dataset_options == {}
    assert sizes.training == {"epochs": 300, "batch_size": 128, "learning_rate": 1e-4}
    assert (sizes.samples, sizes.network_steps) == (100, 150)


def test_every_row_has_scales_of_a_network_without_attention() -> None:
    for name, row in ROWS.items():
        assert row.name == name
        owner = row_named(row.scales_of)
        assert owner.scales_of == owner.name
        assert "attention" not in owner.network
        assert (owner.dataset, owner.padding) == (row.dataset, row.padding)
    assert len({row.title for row in ROWS.values()}) == len(ROWS)


def test_the_paper_never_has_a_theory_above_els_but_in_its_unet_of_celeba() -> None:
    exceptions = [name for name, row in ROWS.items() if max(row.paper) > row.paper[0]]
    assert exceptions == ["celeba-unet-zeros"]
    assert all(0 < row.paper[2] < row.paper[1] for row in ROWS.values())


def test_networks_of_a_kind_see_as_many_images_whatever_their_data() -> None:
    """So that rows of one architecture are trained alike on two cores: up to the last pass, which is whole."""
    seen: dict[tuple[str, str], list[int]] = {}
    for row in ROWS.values():
        sizes = sizes_of(row, "cpu")
        images, epochs = sizes.dataset_options["limit"], sizes.training["epochs"]
        seen.setdefault((row.network, row.padding), []).append(images * epochs)
        assert sizes.network_options["padding"] == row.padding
        assert sizes.network_options["class_conditional"] == row.conditional
    expected = {
        ("unet", "zeros"): 400_000,
        ("resnet", "zeros"): 220_000,
        ("resnet", "circular"): 130_000,
        ("unet-attention", "zeros"): 400_000,
    }
    assert set(seen) == set(expected)
    for kind, counts in seen.items():
        assert all(0 <= expected[kind] - count < 15_000 for count in counts)  # the largest set is of 15 000 images


def test_rows_beside_the_papers_have_the_same_sizes_in_both_presets() -> None:
    row = replace(ROWS["mnist-resnet-zeros"], dataset="pairs", options={"embedding": 16})
    sizes = sizes_of(row, "cpu")
    assert sizes == sizes_of(row, "paper")
    assert sizes.network_options["embedding"] == 16
    assert sizes.dataset_options == {"count": 54, "size": 20, "height": 5}


@pytest.mark.parametrize("name", ["mnist-resnet-zero", ""])
def test_a_row_that_there_is_not_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(mosaic.UsageError, match=f"'{name}'") as caught:
        row_named(name)
    assert all(row in str(caught.value) for row in ROWS)
