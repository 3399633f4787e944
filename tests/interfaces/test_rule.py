"""Rules: the verdict on every combination of what two or three parts can show."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import mosaic

KINDS = ("red", "green", "blue")


def rule(kinds: tuple[str, ...] = KINDS) -> mosaic.Rule:
    """A part is a column, which shows the kind that its pixels name."""
    return mosaic.Rule(lambda images: images[:, 0, 0].round().long(), kinds)


def images_of(shown: list[tuple[int, ...]]) -> Tensor:
    return torch.tensor(shown, dtype=torch.float32)[:, None, None, :].expand(-1, 1, 4, -1)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_unknown_goes_before_empty_and_both_before_agreement(parts: int) -> None:
    shown = list(itertools.product((mosaic.Rule.UNKNOWN, mosaic.Rule.EMPTY, 0, 1, 2), repeat=parts))
    actual = [mosaic.VERDICTS[verdict] for verdict in rule().judge(images_of(shown)).tolist()]
    for parts_shown, verdict in zip(shown, actual, strict=True):
        if mosaic.Rule.UNKNOWN in parts_shown:
            expected = "malformed"
        elif mosaic.Rule.EMPTY in parts_shown:
            expected = "missing"
        else:
            expected = "consistent" if len(set(parts_shown)) == 1 else "different"
        assert verdict == expected, parts_shown


def test_the_order_of_images_is_that_of_verdicts() -> None:
    images = images_of([(0, 0), (0, 1), (-1, 0), (-2, -1)])
    verdicts = rule().judge(images)
    assert verdicts.tolist() == [0, 1, 2, 3]
    assert torch.equal(rule().judge(images.flip(0)), verdicts.flip(0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_chance_is_the_share_of_equal_pairs_among_all(count: int) -> None:
    own = rule(KINDS * 2)
    own = mosaic.Rule(own.shows, own.kinds[:count])
    pairs = list(itertools.product(range(count), repeat=2))
    consistent = own.judge(images_of(pairs)) == mosaic.VERDICTS.index("consistent")
    assert own.chance == pytest.approx(float(consistent.double().mean()))
