"""What every score model that tells what images are made of must hold to."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.testing.subject import NotApplicable, Subject, require
from mosaic.testing.tried import Tried, analytic, close
from mosaic.ties import Source

__all__ = ["it_names_the_pixels_that_x0hat_shows", "what_it_tells_of_a_diagnosis_agrees_with_denoise"]


def what_it_tells_of_a_diagnosis_agrees_with_denoise(subject: Subject) -> None:
    """A model that `tells`: the same x0hat, weights in (0, 1], places inside the training set."""
    tried = Tried(subject)
    if not tried.model.tells:
        raise NotApplicable
    level = tried.level(0.3)
    x = subject.noisy(level, dtype=torch.float64)
    found = tried.model.diagnose(x, level, tried.labels(x), tried.scale)
    traced = tried.model.trace(x, tried.labels(x), tried.scale)
    if found is None or traced is None:
        require(False, "it says that it tells, but diagnose or trace gave None")
        return
    close(found.denoised, tried(x, level), "diagnose gives another x0hat than denoise")
    require(bool(((found.weight > 0) & (found.weight <= 1 + 1e-6)).all()), "weights of candidates leave (0, 1]")
    require(float(found.entropy.min()) >= 0, "an entropy is negative")
    count, _, height, width = tried.dataset.images.shape
    for source in (found.source, traced):
        for name, bound in (("image", count), ("row", height), ("column", width)):
            places = getattr(source, name)
            require(places.shape == (len(x), height, width), f"source.{name} has shape {tuple(places.shape)}")
            require(int(places.min()) >= 0 and int(places.max()) < bound, f"source.{name} leaves the training set")


def it_names_the_pixels_that_x0hat_shows(subject: Subject) -> None:
    """A model that `tells`: where one candidate has all the weight, x0hat is its pixel; training images are traced."""
    tried = analytic(subject)
    if not tried.model.tells:
        raise NotApplicable
    level, images = tried.level(0.02), tried.dataset.images.double()
    x = subject.noisy(level, dtype=torch.float64)
    found = tried.model.diagnose(x, level, tried.labels(x), tried.scale)
    traced = tried.model.trace(images[: len(x)], tried.labels(x), tried.scale)
    if found is None or traced is None:
        require(False, "it says that it tells, but diagnose or trace gave None")
        return
    decided = (found.weight * found.source.multiplicity.clamp_min(1) > 0.999)[:, None].expand_as(x)
    apart = float((_pixels(images, found.source) - found.denoised)[decided].abs().max()) if decided.any() else 0.0
    require(apart < 0.01, f"x0hat and the pixel of the one candidate that has all the weight differ by {apart:.2g}")
    same = float((_pixels(images, traced) - images[: len(x)]).abs().lt(1e-6).double().mean())
    require(same > 0.25, f"of training images only {same:.0%} of the pixels are traced to pixels like them")


def _pixels(images: Tensor, source: Source) -> Tensor:
    return images[source.image, :, source.row, source.column].movedim(-1, 1)
