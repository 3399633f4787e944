"""What every score model must hold to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mosaic.errors import UsageError
from mosaic.runner import run
from mosaic.sampler import reverse_times
from mosaic.schedule import Level
from mosaic.testing.provenance import (
    it_names_the_pixels_that_x0hat_shows,
    what_it_tells_of_a_diagnosis_agrees_with_denoise,
)
from mosaic.testing.subject import NotApplicable, Subject, require
from mosaic.testing.tried import HIGH, Tried, analytic, close
from mosaic.trajectory import open_trajectory

__all__ = ["CHECKS"]

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


def shape_dtype_and_device_are_those_of_x(subject: Subject) -> None:
    """x0hat (B, C, H, W) is like x, in float32 and float64, for one sample and several."""
    tried = Tried(subject)
    for dtype in (torch.float32, torch.float64):
        for count in (1, 3):
            x = subject.noisy(tried.level(0.5), count, dtype)
            found = tried(x, tried.level(0.5))
            require(found.shape == x.shape, f"x of shape {tuple(x.shape)} gave {tuple(found.shape)}")
            require(found.dtype == dtype, f"x of {dtype} gave {found.dtype}")
            require(found.device == x.device, f"x on {x.device} gave x0hat on {found.device}")


def inputs_are_left_as_they_were(subject: Subject) -> None:
    """Neither x, the labels nor the training images change."""
    tried = Tried(subject)
    x = subject.noisy(tried.level(0.5))
    labels = tried.labels(x)
    kept = [x.clone(), labels.clone(), tried.dataset.images.clone()]
    tried(x, tried.level(0.5), labels)
    for name, before, after in zip(("x", "labels", "the images"), kept, (x, labels, tried.dataset.images), strict=True):
        require(torch.equal(before, after), f"denoise changed {name}")


def a_batch_is_its_samples_one_by_one(subject: Subject) -> None:
    """x0hat of a sample does not depend on the others in its batch."""
    tried = Tried(subject)
    x = subject.noisy(tried.level(0.4), dtype=torch.float64)
    whole, level = tried(x, tried.level(0.4)), tried.level(0.4)
    alone = torch.cat([tried(x[n : n + 1], level) for n in range(len(x))])
    close(whole, alone, "a batch differs from its samples one by one")


def the_same_input_gives_the_same_result(subject: Subject) -> None:
    """Twice, by a new object, and by one that has seen other levels: whatever is random is seeded by an option."""
    tried, again, used = Tried(subject), Tried(subject), Tried(subject)
    x = subject.noisy(tried.level(0.4))
    first = tried(x, tried.level(0.4))
    torch.randn(3)  # torch's own generator has nothing to do with it
    require(torch.equal(first, tried(x, tried.level(0.4))), "the second evaluation differs from the first")
    require(torch.equal(first, again(x, tried.level(0.4))), "a new object gives another result")
    for noise in (0.9, 0.1):
        used(subject.noisy(tried.level(noise)), tried.level(noise))
    require(torch.equal(first, used(x, tried.level(0.4))), "the result depends on levels that were evaluated before")


def x0hat_is_finite_at_every_level(subject: Subject) -> None:
    """From noise 1e-3 to 1, on data and off them; but at levels that `check` refuses."""
    tried = Tried(subject)
    levels = [tried.level(noise) for noise in (1e-3, 1e-2, 0.1, 0.5, 0.9, 1.0)]
    levels = [level for level in levels if tried.takes(level)]
    require(len(levels) > 2, "it refuses most levels of noise from 1e-3 to 1")
    for level in levels:
        for x in (subject.noisy(level), 3 * subject.noisy(level), torch.zeros_like(subject.noisy(level))):
            require(bool(torch.isfinite(tried(x, level)).all()), f"NaN or infinity at {level}")


def x0hat_stays_in_the_range_of_the_data(subject: Subject) -> None:
    """A posterior mean lies between the least and the greatest pixel."""
    tried = analytic(subject)
    low, high = tried.dataset.images.min(), tried.dataset.images.max()
    for noise in (1e-3, 0.1, 1.0):
        found = tried(subject.noisy(tried.level(noise)), tried.level(noise))
        over = float(torch.maximum(found.max() - high, low - found.min()))
        require(over <= 1e-4, f"x0hat leaves the range of the data by {over:.2g} at noise {noise}")


def x0hat_at_infinite_noise_is_the_mean(subject: Subject) -> None:
    """It does not depend on x any more, and its mean over pixels is that of the data."""
    tried = analytic(subject)
    level = Level(1.0, HIGH)
    one, other = (tried(subject.noisy(level, 2, torch.float64, seed), level) for seed in (1, 2))
    close(one, other, f"x0hat still depends on x at {level}", 1e-3)
    wanted = tried.dataset.images.double().mean((0, 2, 3))
    close(one.double().mean((2, 3)), wanted.expand(2, -1), "the mean over pixels is not that of the data", 1e-3)


def labels_choose_the_training_images(subject: Subject) -> None:
    """A model that says `conditional`: a sample with a label meets the images of that class only; -1 is none.

    One that does not say so refuses labels, or gives what it gives without.
    """
    tried = Tried(subject)
    labels = tried.dataset.labels
    if not tried.model.conditional:
        _ignores_labels(analytic(subject))
        return
    if labels is None:
        raise NotApplicable
    present = labels.unique().tolist()
    if len(present) < 2:
        raise NotApplicable
    chosen, level, images = present[1], tried.level(0.5), tried.dataset.images.clone()
    images[labels != chosen] = images[labels != chosen].flip(0) * 0.5
    other = Tried(subject, replace(tried.dataset, images=images))
    # Noisy images of other classes: that they are told to be of this one must change what is seen in them.
    places = torch.nonzero(labels != chosen)[:3, 0]
    x = subject.noisy(level, len(labels), torch.float64)[places]
    wanted, none = (torch.full((len(x),), label, dtype=torch.int64) for label in (chosen, -1))
    of_class = tried(x, level, wanted)
    close(of_class, other(x, level, wanted), "images of other classes change x0hat of a labelled sample")
    require(
        float((of_class - tried(x, level, none)).abs().max()) > 1e-6,
        "a label changes nothing, though the model says that it is conditional",
    )
    mixed = torch.tensor([present[0], -1, present[-1]])[: len(x)]
    rows = [tried(x[n : n + 1], level, mixed[n : n + 1]) for n in range(len(x))]
    close(tried(x, level, mixed), torch.cat(rows), "samples of one batch with different labels are mixed up")


def _ignores_labels(tried: Tried) -> None:
    level = tried.level(0.5)
    x = tried.subject.noisy(level)
    labels = torch.zeros(len(x), dtype=torch.int64)
    try:
        tried.model.check((level,), (tried.scale,), (0,))
        found = tried(x, level, labels)
    except UsageError:
        return
    close(found, tried(x, level, labels - 1), "labels change x0hat, so its `conditional` must be True")


def an_unknown_label_is_refused(subject: Subject) -> None:
    """A class that the training set does not have raises a UsageError, or is refused by `check` before the run."""
    tried = Tried(subject)
    level = tried.level(0.5)
    x = subject.noisy(level)
    try:
        tried.model.check((level,), (tried.scale,), (99,))
        tried(x, level, torch.full((len(x),), 99))
    except UsageError:
        return
    require(False, "label 99 was accepted; raise mosaic.UsageError in `check` or `denoise`")


def a_model_that_says_it_is_equivariant_is(subject: Subject) -> None:
    """x0hat of a circularly shifted x is the shifted x0hat."""
    tried = Tried(subject)
    if not tried.model.equivariant:
        raise NotApplicable
    for noise in (0.2, 0.8):
        level = tried.level(noise)
        x = subject.noisy(level, dtype=torch.float64)
        for shift in ((1, 0), (0, 2), (3, 1)):
            moved = tried(x.roll(shift, (2, 3)), level)
            close(moved, tried(x, level).roll(shift, (2, 3)), f"x0hat does not follow a shift by {shift}")


def a_model_that_says_it_is_local_is(subject: Subject) -> None:
    """No pixel of x0hat depends on what lies beyond the window about it that `local` states."""
    tried = Tried(subject)
    side = tried.model.local(tried.scale)
    if side is None:
        raise NotApplicable
    for noise in (0.5, 2.0):  # at the higher one no posterior is sure of itself
        level = tried.level(noise)
        x = subject.noisy(level, 1, torch.float64)
        height, width = x.shape[2:]
        before, rows, cols = tried(x, level), torch.arange(height)[:, None], torch.arange(width)
        for row, col in ((0, 0), (height // 2, width // 2), (height - 1, 1)):
            changed = x.clone()
            changed[..., row, col] += 1.7
            across, along = (rows - row).abs(), (cols - col).abs()
            across, along = torch.minimum(across, height - across), torch.minimum(along, width - along)
            moved = (tried(changed, level) - before).abs().amax((0, 1))
            far = torch.maximum(across, along) > side // 2
            worst = float(moved[far].max()) if bool(far.any()) else 0.0
            require(worst <= 1e-6, f"a change at {row}, {col} moves x0hat by {worst:.2g} beyond {side} x {side} pixels")


def options_survive_json(subject: Subject) -> None:
    """They come back as they were, so that a stored run tells them; each has a description."""
    subject.round_trip()


def it_is_exact(subject: Subject) -> None:
    """Against the oracle, where one is given: to 1e-9 in float64, 2e-4 in float32."""
    if subject.oracle is None:
        raise NotApplicable
    tried = Tried(subject)
    for dtype in (torch.float64, torch.float32):
        for noise in (0.05, 0.5, 2.0):
            level = Level(1.0, noise)
            x = subject.noisy(level, 2, dtype)
            images = tried.dataset.images.double().numpy()
            wanted = torch.from_numpy(subject.oracle(x.double().numpy(), images, level, tried.scale))
            close(tried(x, level).double(), wanted, f"not exact at {level} in {dtype}", TOLERANCE[dtype])


def a_run_is_stored_and_read_back(subject: Subject) -> None:
    """A run of it is kept with its options, and what is kept is what it computed."""
    tried = Tried(subject)
    labels = int(tried.labels(torch.zeros(1, 1, 1, 1))[0])
    settings: dict[str, Any] = {"steps": 3, "samples": 2, "labels": "none" if labels < 0 else str(labels)}
    own = tried.model.schedule
    if own is not None:
        settings |= {"schedule": own.name, "schedule_options": own.options.model_dump(mode="json")}
    if tried.scale:
        settings["scales"] = str(tried.scale)
    with tempfile.TemporaryDirectory() as folder:
        run(tried.model, out=Path(folder) / "run.nc", **settings).close()
        with open_trajectory(Path(folder) / "run.nc") as stored:
            times, level = reverse_times(3), Level(float(stored["signal"][1]), float(stored["noise"][1]))
            require(stored["time"].values.tolist() == times, "the stored times are not those of the flow")
            x = torch.from_numpy(stored["state"][:, 1].values)
            wanted = torch.full((2,), labels)
            close(torch.from_numpy(stored["denoised"][:, 1].values), tried(x, level, wanted), "what is stored differs")
            options = json.loads(stored.attrs["configuration"])["score_options"]
            require(options == tried.model.options.model_dump(mode="json"), f"the stored options are {options}")


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        shape_dtype_and_device_are_those_of_x,
        inputs_are_left_as_they_were,
        a_batch_is_its_samples_one_by_one,
        the_same_input_gives_the_same_result,
        x0hat_is_finite_at_every_level,
        x0hat_stays_in_the_range_of_the_data,
        x0hat_at_infinite_noise_is_the_mean,
        labels_choose_the_training_images,
        an_unknown_label_is_refused,
        a_model_that_says_it_is_equivariant_is,
        a_model_that_says_it_is_local_is,
        options_survive_json,
        what_it_tells_of_a_diagnosis_agrees_with_denoise,
        it_names_the_pixels_that_x0hat_shows,
        it_is_exact,
        a_run_is_stored_and_read_back,
    )
}
