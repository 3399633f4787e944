"""Two models in one: which serves at a level, and what it asks of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small_training
import torch
from theories import assert_is_compared_with_its_class_only, images_of, model_of

import mosaic

pytestmark = pytest.mark.usefixtures("pieces")


def switch_of(images: Any, labels: Any = None, **options: Any) -> Any:
    """Switch between two theories; by default from the Gaussian to ELS at ratio 1."""
    return model_of("switch", images, labels, **{"below": "els", "at": 1.0, **options})


@pytest.mark.parametrize("ratio", [0.3, 3.0])
def test_switch_is_one_model_above_and_the_other_below(ratio: float) -> None:
    images = images_of()
    level = mosaic.Level(0.5, 0.5 * ratio)
    model = switch_of(images, below="ls", below_options={"boundary": "circular"})
    alone = model_of("gaussian", images) if ratio > 1 else model_of("ls", images, boundary="circular")
    x = torch.as_tensor(images[:2])
    assert torch.equal(model.denoise(x, level, None, 3), alone.denoise(x, level, None, 3))


def test_by_default_a_network_goes_on_after_the_share_of_steps_that_the_paper_skips(tiny: mosaic.DataSet) -> None:
    folder = small_training.train(tiny, schedule="edm").folder
    kind = mosaic.registry().get("score", "switch")
    model, plain = kind(kind.Options(checkpoint=folder), tiny), mosaic.score(folder, tiny)
    # The 18 levels of Karras et al. 2022, eq. 5, and the levels that the paper's 15 to 30 % of them lead to.
    ends = [sigma ** (1 / 7) for sigma in (80, 0.002)]
    sigmas = [(ends[0] + i / 17 * (ends[1] - ends[0])) ** 7 for i in range(18)]
    fewest, most = 0.15 * 18, 0.30 * 18  # of steps
    assert [round(sigmas[i]) for i in range(18) if fewest <= i <= most] == [28, 19, 13]
    served = [model.model_at(mosaic.Level(1.0, sigma)).name for sigma in sigmas]
    assert served == 4 * ["gaussian"] + 14 * ["network"]
    assert fewest <= 4 <= most
    level = mosaic.registry().make("schedule", "edm", {}).level(0.5)
    x = level.noise * torch.randn(2, *tiny.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.denoise(x, level), plain.denoise(x, level=level))
    assert model.traits.schedule().name == "edm"
    assert model.traits.fingerprint() is not None


def test_a_network_needs_its_folder(tmp_path: Path) -> None:
    kind = mosaic.registry().get("score", "switch")
    for options in ({}, {"above": "network", "below": "els"}):
        with pytest.raises(mosaic.UsageError, match=r"score\.switch.*'checkpoint'"):
            kind.Options.parse(options, "score.switch")
    for options in ({"checkpoint": "net"}, {"below_options": {"checkpoint": "net"}}, {"below": "els"}):
        kind.Options.parse(options, "score.switch")
    assert mosaic.registry().checkpoint_score() == "network"  # which needs one in any case


def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("switch", below="els", at=1.0)


def test_switch_refuses_itself_and_what_does_not_exist() -> None:
    with pytest.raises(mosaic.UsageError):
        switch_of(images_of(), above="switch")
    with pytest.raises(mosaic.PluginError, match="'gausian'"):
        switch_of(images_of(), above="gausian")
    with pytest.raises(mosaic.UsageError, match="above_options"):
        switch_of(images_of(), above="smoothed", above_options={"sigma": -1})


def test_a_checkpoint_that_no_model_would_read_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="'els'"):
        switch_of(images_of(), below="els", checkpoint="net")


def test_its_scale_is_continuous_if_no_model_needs_a_window_size() -> None:
    images = images_of()
    for above, below, continuous in (
        ("gaussian", "soft-els", True),
        ("els", "soft-els", False),
        ("gaussian", "els", False),
        ("gaussian", "is", False),
    ):
        assert switch_of(images, above=above, below=below).traits.has_continuous_scale == continuous


def test_switch_asks_each_model_for_its_own_levels() -> None:
    model = switch_of(images_of(), above="is", below_options={"boundary": "valid"})
    levels = (mosaic.Level(0.1, 1.0), mosaic.Level(1.0, 0.1))
    model.check(levels, (99, 3), (-1,))  # IS has no scale to refuse
    with pytest.raises(mosaic.UsageError, match=r"\b5\b"):
        model.check(levels, (3, 5), (-1,))
    assert model.traits.has_attribution
    half = switch_of(images_of(), below_options='{"boundary": "circular"}')
    assert not half.traits.has_attribution  # a Gaussian has no candidates
    assert half.below.options.boundary == "circular"
    assert model.attribute(torch.zeros(1, 2, 4, 3), levels[1], None, 3) is not None
    assert model.attribute(torch.zeros(1, 2, 4, 3), mosaic.Level(1.0, 0.0), None, 3) is not None


def test_the_level_at_which_it_switches_belongs_to_the_model_above() -> None:
    model = switch_of(images_of(), at=0.75, above="is", below="es")
    assert model.model_at(mosaic.Level(2.0, 1.5)).name == "is"
    assert model.model_at(mosaic.Level(2.0, 1.499)).name == "es"


def test_its_traits_are_what_both_can_do_and_the_most_that_either_needs() -> None:
    images = images_of()
    both = switch_of(images, above="ls", boundary="circular")
    above, below = model_of("ls", images, boundary="circular"), model_of("els", images, boundary="circular")
    assert (both.above.options, both.below.options) == (above.options, below.options)
    assert both.traits.comparisons(3) == below.traits.comparisons(3) > above.traits.comparisons(3)
    assert both.traits.window(3) == 3
    assert (both.traits.has_scale, both.traits.is_equivariant, both.traits.fingerprint()) == (True, False, None)
    mixed = switch_of(images, above="is", boundary="circular")
    assert mixed.traits.has_scale
    assert mixed.traits.window(3) is None  # IS sees all of x
    assert switch_of(images, above="es", boundary="circular").traits.is_equivariant


def test_its_fingerprint_is_that_of_the_models_in_their_places() -> None:
    images = images_of()
    names = ("gaussian", "gaussian-mixture")
    options = {"gaussian": {}, "gaussian-mixture": {"components": 2}}
    made = {
        (above, below): switch_of(
            images,
            above=above,
            below=below,
            above_options=options[above],
            below_options=options[below],
        ).traits.fingerprint()
        for above in names
        for below in names
    }
    assert made["gaussian", "gaussian"] is None
    assert len(set(made.values())) == 4


def test_switch_says_which_models_it_uses() -> None:
    model = switch_of(images_of(), above="gaussian", below="ls")
    assert list(model.traits.plugins()) == [("score", "gaussian"), ("score", "ls")]
