"""The machine against ELS on turned and mirrored images, and mosaic's own conformance suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mosaic_dihedral import GROUPS, DihedralELS, oriented

import mosaic
import mosaic.testing

LEVEL = mosaic.Level(0.8, 0.5)


def square() -> mosaic.DataSet:
    images = torch.rand(7, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return mosaic.DataSet("square", images, torch.arange(7) % 2, ("a", "b"))


@mosaic.testing.conformance("score", DihedralELS, options={"group": "dihedral"}, dataset=square())
def test_conformance(check: Callable[[], str]) -> None:
    check()


TURNING = {"group": "rotations", "boundary": "circular"}


@mosaic.testing.conformance("score", DihedralELS, options=TURNING, dataset=square())
def test_conformance_when_windows_wrap(check: Callable[[], str]) -> None:
    check()


@pytest.mark.parametrize("group", list(GROUPS))
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_it_is_els_on_all_orientations_of_the_training_set(group: str, boundary: str) -> None:
    data = square()
    x = LEVEL.signal * data.images[:2] + LEVEL.noise * torch.randn(
        2, 1, 6, 6, generator=torch.Generator().manual_seed(1)
    )
    options = DihedralELS.Options(group=group, boundary=boundary)
    denoised = DihedralELS(options, data).denoise(x.double(), LEVEL, None, 3)
    whole = torch.cat([oriented(data.images, orientation) for orientation in GROUPS[group]])
    els = mosaic.registry().get("score", "els")
    expected = els(els.Options(boundary=boundary), mosaic.DataSet("all", whole)).denoise(x.double(), LEVEL, None, 3)
    torch.testing.assert_close(denoised, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("orientation", GROUPS["dihedral"])
def test_it_commutes_with_turns_and_mirrors(orientation: tuple[bool, int]) -> None:
    data = square()
    model = DihedralELS(None, data)
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    turned = model.denoise(oriented(x, orientation).contiguous(), LEVEL, None, 3)
    torch.testing.assert_close(turned, oriented(model.denoise(x, LEVEL, None, 3), orientation), rtol=0, atol=1e-10)


@pytest.mark.parametrize("group", list(GROUPS))
def test_sources_are_pixels_of_the_training_images_as_they_are(group: str) -> None:
    data = square()
    model = DihedralELS(DihedralELS.Options(group=group, boundary="circular"), data)
    x = oriented(data.images[:2], (False, 1)) + 0.01 * torch.randn(
        2, 1, 6, 6, generator=torch.Generator().manual_seed(1)
    )
    attribution = model.attribute(x.double(), mosaic.Level(1.0, 0.01), None, 3)
    source = attribution.source
    rebuilt = data.images.double()[source.image, :, source.row, source.column].movedim(-1, 1)
    if group != "mirrors":  # the turned images are among the candidates
        torch.testing.assert_close(rebuilt, attribution.denoised, rtol=0, atol=1e-6)
    torch.testing.assert_close(rebuilt, attribution.denoised, rtol=0, atol=0.5)


def test_images_that_are_not_square_can_only_be_mirrored() -> None:
    data = mosaic.DataSet("long", torch.rand(3, 1, 4, 6))
    with pytest.raises(mosaic.UsageError, match=r"score\.group=mirrors"):
        mosaic.run(DihedralELS(None, data), steps=1, samples=1, scales="3")
    run = mosaic.run(DihedralELS(DihedralELS.Options(group="mirrors"), data), steps=1, samples=1, scales="3")
    assert run.sizes["width"] == 6
