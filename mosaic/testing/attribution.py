"""The checks that every score model that attributes pixels must pass."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.interfaces.attribution import Attribution, Source
from mosaic.interfaces.schedule import Level
from mosaic.testing.case import NotApplicable, PluginCase, require
from mosaic.testing.score_case import ScoreCase, analytic, require_close

__all__ = [
    "attribution_agrees_with_denoise",
    "attribution_names_the_pixels_that_x0hat_shows",
    "attribution_of_finished_images_is_the_limit",
]

FINISHED = Level(1.0, 0.0)


def attribution_agrees_with_denoise(case: PluginCase) -> None:
    """With the trait `has_attribution`: the same x0hat, weights in (0, 1], sources inside the training set."""
    score = ScoreCase(case)
    if not score.traits.has_attribution:
        raise NotApplicable
    level = score.level(0.3)
    x = case.noisy(level, dtype=torch.float64)
    attribution = score.attribute(x, level)
    require_close(attribution.denoised, score(x, level), "attribute gives another x0hat than denoise")
    require(float(attribution.entropy.min()) >= 0, "an entropy is negative")
    _require_weights(attribution)
    for source in (attribution.source, score.attribute(x, FINISHED).source):
        _require_inside(source, x, score.dataset.images[:])


def attribution_names_the_pixels_that_x0hat_shows(case: PluginCase) -> None:
    """Where one candidate has all the weight, x0hat is its pixel; training images are attributed to pixels like them.

    For a model with the trait `has_attribution`.
    """
    score = analytic(case)
    if not score.traits.has_attribution:
        raise NotApplicable
    level, images = score.level(0.02), score.dataset.images[:].double()
    x = case.noisy(level, dtype=torch.float64)
    attribution = score.attribute(x, level)
    sure = (attribution.weight * attribution.source.multiplicity.clamp_min(1) > 0.999)[:, None].expand_as(x)
    difference = (_pixels(images, attribution.source) - attribution.denoised)[sure]
    apart = float(difference.abs().max()) if sure.any() else 0.0
    require(apart < 0.01, f"x0hat and the pixel of the candidate that has all the weight differ by {apart:.2g}")
    source = score.attribute(images[: len(x)], FINISHED).source
    same = float((_pixels(images, source) - images[: len(x)]).abs().lt(1e-6).double().mean())
    require(same > 0.25, f"of training images only {same:.0%} of the pixels are attributed to pixels like them")


def attribution_of_finished_images_is_the_limit(case: PluginCase) -> None:
    """At noise 0, `denoised` of training images is the pixels of its source, and the weights are in (0, 1].

    For a model with the trait `has_attribution`; in float32 and float64, and x does not change.
    """
    score = ScoreCase(case)
    if not score.traits.has_attribution:
        raise NotApplicable
    for dtype in (torch.float32, torch.float64):
        images = score.dataset.images[:].to(dtype)
        finished = images[:3].clone()
        attribution = score.attribute(finished, FINISHED)
        require(torch.equal(finished, images[:3]), "attribute changed x")
        require(attribution.denoised.dtype == dtype, f"x of {dtype} gave {attribution.denoised.dtype}")
        _require_inside(attribution.source, finished, images)
        _require_weights(attribution)
        shown = _pixels(images, attribution.source)
        require_close(attribution.denoised, shown, "at noise 0 x0hat is not the pixels of its source", 1e-6)


def _require_weights(attribution: Attribution) -> None:
    weight = attribution.weight
    require(bool(((weight > 0) & (weight <= 1 + 1e-6)).all()), "weights of candidates leave (0, 1]")


def _require_inside(source: Source, x: Tensor, images: Tensor) -> None:
    count, _, height, width = images.shape
    for name, bound in (("image", count), ("row", height), ("column", width)):
        index = getattr(source, name)
        require(index.shape == (len(x), height, width), f"source.{name} has shape {tuple(index.shape)}")
        require(int(index.min()) >= 0 and int(index.max()) < bound, f"source.{name} leaves the training set")


def _pixels(images: Tensor, source: Source) -> Tensor:
    """Give the pixels (B, C, H, W) that a source names."""
    return images[source.image, :, source.row, source.column].movedim(-1, 1)
