"""The windows that are compared, and the scales that each may have."""

from __future__ import annotations

import itertools

import pytest

import mosaic
from mosaic.reproduction.windows.variants import BASELINE, VARIANTS, boxes, scales_near, variants_for


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_every_variant_is_a_choice_of_filtered_and_no_two_are_alike(boundary: str) -> None:
    dataset = mosaic.DataSet("grey", mosaic.registry().get("dataset", "digits")().load().images[:2])
    names = variants_for(boundary)
    options = [{"boundary": boundary, **VARIANTS[name].options} for name in names]
    models = [mosaic.registry().make("score", "filtered", each, dataset) for each in options]
    assert len({model.options.model_dump_json() for model in models}) == len(names)
    assert [model.traits.has_continuous_scale for model in models] == [not VARIANTS[name].is_box for name in names]
    assert names[0] == BASELINE  # the grids of others rest on it


def test_soft_windows_are_those_of_soft_els() -> None:
    images = mosaic.DataSet("grey", mosaic.registry().get("dataset", "digits")().load().images[:2])
    chosen, soft = (
        mosaic.registry().make("score", name, options, images).options.model_dump()
        for name, options in (("filtered", VARIANTS["soft"].options), ("soft-els", {}))
    )
    assert {name: chosen[name] for name in soft} == {**soft, "border": None}  # which is that of soft-els
    models = [mosaic.registry().make("score", name, {}, images) for name in ("soft-els",)]
    models += [mosaic.registry().make("score", "filtered", VARIANTS["soft"].options, images)]
    assert len({model.border(2.7) for model in models}) == 1


def test_borders_are_varied_only_where_windows_see_nothing_beyond() -> None:
    assert variants_for("zeros") == list(VARIANTS)
    assert set(VARIANTS) - set(variants_for("circular")) == {
        name for name, variant in VARIANTS.items() if variant.options.keys() & {"border", "border_limit"}
    }


def test_profiles_weigh_as_much_as_a_gaussian_where_they_are_cut_off() -> None:
    for variant in VARIANTS.values():
        if "exponent" in variant.options:
            assert variant.options["cutoff"] ** variant.options["exponent"] == pytest.approx(2.5**2)


def test_boxes_are_odd_and_no_larger_than_the_image() -> None:
    assert boxes(32) == (1, 3, 5, 7, 9, 11, 13, 15, 17)
    assert boxes(8) == (1, 3, 5, 7)


def test_soft_scales_are_a_fifth_apart_and_near_the_best_box() -> None:
    for best in (1, 3, 9, 17):
        scales = scales_near(best)
        assert len(scales) >= 2
        assert all(max(1.5, best / 2) <= scale <= min(28, 2 * best) for scale in scales)
        assert all(b / a == pytest.approx(1.2, rel=0.01) for a, b in itertools.pairwise(scales))
    assert scales_near(3)[0] == 1.5
    assert scales_near(17)[-1] == 28
