"""The checks that every score model must pass."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mosaic.errors import UsageError
from mosaic.interfaces.sampler import uniform_times
from mosaic.interfaces.schedule import Level
from mosaic.run.runner import run
from mosaic.storage.trajectory import open_trajectory
from mosaic.testing.attribution import (
    attribution_agrees_with_denoise,
    attribution_names_the_pixels_that_x0hat_shows,
    attribution_of_finished_images_is_the_limit,
)
from mosaic.testing.case import NotApplicable, PluginCase, require
from mosaic.testing.score_case import HIGH, ScoreCase, analytic, require_close

__all__ = ["CHECKS"]

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


def shape_dtype_and_device_are_those_of_x(case: PluginCase) -> None:
    """x0hat (B, C, H, W) is like x, in float32 and float64, for one sample and several."""
    score = ScoreCase(case)
    for dtype in (torch.float32, torch.float64):
        for count in (1, 3):
            x = case.noisy(score.level(0.5), count, dtype)
            x0hat = score(x, score.level(0.5))
            require(x0hat.shape == x.shape, f"x of shape {tuple(x.shape)} gave {tuple(x0hat.shape)}")
            require(x0hat.dtype == dtype, f"x of {dtype} gave {x0hat.dtype}")
            require(x0hat.device == x.device, f"x on {x.device} gave x0hat on {x0hat.device}")


def inputs_are_unchanged(case: PluginCase) -> None:
    """Neither x, the labels nor the training images change."""
    score = ScoreCase(case)
    x = case.noisy(score.level(0.5))
    labels = score.labels(x)
    kept = [x.clone(), labels.clone(), score.dataset.images[:].clone()]
    score(x, score.level(0.5), labels)
    for name, before, after in zip(
        ("x", "labels", "the images"), kept, (x, labels, score.dataset.images[:]), strict=True
    ):
        require(torch.equal(before, after), f"denoise changed {name}")


def a_batch_is_its_samples_one_by_one(case: PluginCase) -> None:
    """x0hat of a sample does not depend on the others in its batch."""
    score = ScoreCase(case)
    x = case.noisy(score.level(0.4), dtype=torch.float64)
    whole, level = score(x, score.level(0.4)), score.level(0.4)
    alone = torch.cat([score(x[n : n + 1], level) for n in range(len(x))])
    require_close(whole, alone, "a batch differs from its samples one by one")


def the_same_input_gives_the_same_result(case: PluginCase) -> None:
    """Also from a new object, or one that has seen other levels: an option must seed everything random."""
    score, again, used = ScoreCase(case), ScoreCase(case), ScoreCase(case)
    x = case.noisy(score.level(0.4))
    first = score(x, score.level(0.4))
    torch.randn(3, dtype=torch.float32, device="cpu")  # changes the state of torch's generator, which must not matter
    require(torch.equal(first, score(x, score.level(0.4))), "the second evaluation differs from the first")
    require(torch.equal(first, again(x, score.level(0.4))), "a new object gives another result")
    for noise in (0.9, 0.1):
        used(case.noisy(score.level(noise)), score.level(noise))
    require(torch.equal(first, used(x, score.level(0.4))), "the result depends on levels that were evaluated before")


def x0hat_is_finite_at_every_level(case: PluginCase) -> None:
    """From noise 1e-3 to 1, near the data and far from them; except at levels that `check` refuses."""
    score = ScoreCase(case)
    levels = [score.level(noise) for noise in (1e-3, 1e-2, 0.1, 0.5, 0.9, 1.0)]
    levels = [level for level in levels if score.accepts(level)]
    require(len(levels) > 2, "it refuses most levels of noise from 1e-3 to 1")
    for level in levels:
        for x in (case.noisy(level), 3 * case.noisy(level), torch.zeros_like(case.noisy(level))):
            require(bool(torch.isfinite(score(x, level)).all()), f"NaN or infinity at {level}")


def x0hat_stays_in_the_range_of_the_data(case: PluginCase) -> None:
    """A posterior mean lies between the least and the greatest pixel."""
    score = analytic(case)
    low, high = score.dataset.images[:].aminmax()
    for noise in (1e-3, 0.1, 1.0):
        x0hat = score(case.noisy(score.level(noise)), score.level(noise))
        over = float(torch.maximum(x0hat.max() - high, low - x0hat.min()))
        require(over <= 1e-4, f"x0hat leaves the range of the data by {over:.2g} at noise {noise}")


def x0hat_at_infinite_noise_is_the_mean(case: PluginCase) -> None:
    """It does not depend on x any more, and its mean over pixels is that of the data."""
    score = analytic(case)
    level = Level(1.0, HIGH)
    first, second = (score(case.noisy(level, 2, torch.float64, seed), level) for seed in (1, 2))
    require_close(first, second, f"x0hat still depends on x at {level}", 1e-3)
    wanted = score.dataset.images[:].double().mean((0, 2, 3))
    require_close(
        first.double().mean((2, 3)), wanted.expand(2, -1), "the mean over pixels is not that of the data", 1e-3
    )


def labels_choose_the_training_images(case: PluginCase) -> None:
    """With the trait `is_conditional`, a labelled sample is compared with images of its class only; -1 means no label.

    A model without it refuses labels, or gives the same x0hat with and without them.
    """
    score = ScoreCase(case)
    labels = score.dataset.labels
    if not score.traits.is_conditional:
        _ignores_labels(analytic(case))
        return
    if labels is None:
        raise NotApplicable
    present = labels.unique().tolist()
    if len(present) < 2:
        raise NotApplicable
    chosen, level, images = present[1], score.level(0.5), score.dataset.images[:].clone()
    images[labels != chosen] = images[labels != chosen].flip(0) * 0.5
    changed = ScoreCase(case, replace(score.dataset, images=images))
    # Noisy images of other classes: the label of this class must change x0hat.
    others = torch.nonzero(labels != chosen)[:3, 0]
    x = case.noisy(level, len(labels), torch.float64)[others]
    wanted, none = (torch.full((len(x),), label, dtype=torch.int64, device="cpu") for label in (chosen, -1))
    of_class = score(x, level, wanted)
    require_close(of_class, changed(x, level, wanted), "images of other classes change x0hat of a labelled sample")
    require(
        float((of_class - score(x, level, none)).abs().max()) > 1e-6,
        "a label changes nothing, though the trait `is_conditional` is True",
    )
    mixed = torch.tensor([present[0], -1, present[-1]], dtype=torch.int64, device="cpu")[: len(x)]
    rows = [score(x[n : n + 1], level, mixed[n : n + 1]) for n in range(len(x))]
    require_close(score(x, level, mixed), torch.cat(rows), "samples of one batch with different labels are mixed up")


def _ignores_labels(score: ScoreCase) -> None:
    level = score.level(0.5)
    x = score.case.noisy(level)
    labels = torch.zeros(len(x), dtype=torch.int64, device="cpu")
    try:
        score.model.check((level,), (score.scale,), (0,))
        labelled = score(x, level, labels)
    except UsageError:
        return
    require_close(
        labelled, score(x, level, labels - 1), "labels change x0hat, so its trait `is_conditional` must be True"
    )


def an_unknown_label_is_refused(case: PluginCase) -> None:
    """A class that the training set does not have raises a UsageError, or is refused by `check` before the run."""
    score = ScoreCase(case)
    level = score.level(0.5)
    x = case.noisy(level)
    try:
        score.model.check((level,), (score.scale,), (99,))
        score(x, level, torch.full((len(x),), 99, dtype=torch.int64, device="cpu"))
    except UsageError:
        return
    require(False, "label 99 was accepted; raise mosaic.UsageError in `check` or `denoise`")


def x0hat_of_an_equivariant_model_follows_shifts(case: PluginCase) -> None:
    """With the trait `is_equivariant`: x0hat of a circularly shifted x is the shifted x0hat."""
    score = ScoreCase(case)
    if not score.traits.is_equivariant:
        raise NotApplicable
    for noise in (0.2, 0.8):
        level = score.level(noise)
        x = case.noisy(level, dtype=torch.float64)
        for shift in ((1, 0), (0, 2), (3, 1)):
            moved = score(x.roll(shift, (2, 3)), level)
            require_close(moved, score(x, level).roll(shift, (2, 3)), f"x0hat does not follow a shift by {shift}")


def x0hat_depends_on_no_more_than_the_window(case: PluginCase) -> None:
    """No pixel of x0hat depends on what lies beyond the window about it that the trait `window` states."""
    score = ScoreCase(case)
    side = score.traits.window(score.scale)
    if side is None:
        raise NotApplicable
    for noise in (0.5, 2.0):  # at the higher noise many candidates have weight
        level = score.level(noise)
        x = case.noisy(level, 1, torch.float64)
        height, width = x.shape[2:]
        before, cols = score(x, level), torch.arange(width, dtype=torch.int64, device="cpu")
        rows = torch.arange(height, dtype=torch.int64, device="cpu")[:, None]
        for row, col in ((0, 0), (height // 2, width // 2), (height - 1, 1)):
            changed = x.clone()
            changed[..., row, col] += 1.7
            across, along = (rows - row).abs(), (cols - col).abs()
            across, along = torch.minimum(across, height - across), torch.minimum(along, width - along)
            moved = (score(changed, level) - before).abs().amax((0, 1))
            far = torch.maximum(across, along) > side // 2
            worst = float(moved[far].max()) if bool(far.any()) else 0.0
            require(worst <= 1e-6, f"a change at {row}, {col} moves x0hat by {worst:.2g} beyond {side} x {side} pixels")


def a_closed_form_of_the_jacobian_is_the_derivative_of_x0hat(case: PluginCase) -> None:
    """Where `jacobian` gives one: along random directions, x0hat changes as it says, in float64."""
    score = ScoreCase(case)
    for noise in (0.3, 1.0):
        level = score.level(noise)
        x = case.noisy(level, 2, torch.float64)
        matrix = score.model.jacobian(x, level, score.labels(x), score.scale)
        if matrix is None:
            raise NotApplicable
        wanted = (*x.shape, *x.shape[1:])
        require(tuple(matrix.shape) == wanted, f"jacobian gave shape {tuple(matrix.shape)}, not {wanted}")
        direction = case.noisy(level, 2, torch.float64, seed=3)
        along = 1e-5 * direction / direction.square().mean().sqrt()
        change = (score(x + along, level) - score(x - along, level)).flatten(1) / 2e-5
        linear = torch.einsum("bij,bj->bi", matrix.flatten(4).flatten(1, 3), along.flatten(1)) / 1e-5
        require_close(
            linear, change, "jacobian is not the derivative of x0hat", 1e-5 * max(1.0, float(change.abs().max()))
        )


def options_survive_json(case: PluginCase) -> None:
    """Options are the same after a round trip through JSON, as in a stored run; each has a description."""
    case.check_options()


def check_returns_notes(case: PluginCase) -> None:
    """`check` returns a sequence of str for what it accepts; empty where there is nothing to say."""
    score = ScoreCase(case)
    label = int(score.labels(torch.empty(1, dtype=torch.float32, device="cpu"))[0])
    notes = score.model.check((score.level(0.5),), (score.scale,), (label,))
    is_sequence = isinstance(notes, Sequence) and not isinstance(notes, str)
    require(is_sequence, f"check returned a {type(notes).__name__}, not a sequence of notes")
    require(all(isinstance(note, str) for note in notes), f"check returned notes that are not all str: {notes!r}")


def it_is_exact(case: PluginCase) -> None:
    """Against the oracle, where one is given: to 1e-9 in float64, 2e-4 in float32."""
    if case.oracle is None:
        raise NotApplicable
    score = ScoreCase(case)
    for dtype in (torch.float64, torch.float32):
        for noise in (0.05, 0.5, 2.0):
            level = Level(1.0, noise)
            x = case.noisy(level, 2, dtype)
            images = score.dataset.images[:].double().numpy()
            wanted = torch.from_numpy(case.oracle(x.double().numpy(), images, level, score.scale))
            require_close(score(x, level).double(), wanted, f"not exact at {level} in {dtype}", TOLERANCE[dtype])


def a_run_is_stored_and_read_back(case: PluginCase) -> None:
    """A stored run has the model's options, and its arrays are what the model computes."""
    score = ScoreCase(case)
    labels = int(score.labels(torch.zeros(1, 1, 1, 1, dtype=torch.float32, device="cpu"))[0])
    settings: dict[str, Any] = {"steps": 3, "samples": 2, "labels": "none" if labels < 0 else str(labels)}
    own = score.traits.schedule()
    if own is not None:
        settings |= {"schedule": own.name, "schedule_options": own.options.model_dump(mode="json")}
    if score.scale:
        settings["scales"] = str(score.scale)
    with tempfile.TemporaryDirectory() as folder:
        run(score.model, out=Path(folder) / "run.nc", progress=False, **settings).close()
        with open_trajectory(Path(folder) / "run.nc") as stored:
            times, level = uniform_times(3), Level(float(stored["signal"][1]), float(stored["noise"][1]))
            require(stored["time"].values.tolist() == times, "the stored times are not those of the flow")
            x = torch.from_numpy(stored["state"][:, 1].values)
            wanted = torch.full((2,), labels, dtype=torch.int64, device="cpu")
            require_close(
                torch.from_numpy(stored["denoised"][:, 1].values), score(x, level, wanted), "what is stored differs"
            )
            options = json.loads(stored.attrs["configuration"])["score_options"]
            require(options == score.model.options.model_dump(mode="json"), f"the stored options are {options}")


CHECKS: dict[str, Callable[[PluginCase], None]] = {
    check.__name__: check
    for check in (
        shape_dtype_and_device_are_those_of_x,
        inputs_are_unchanged,
        a_batch_is_its_samples_one_by_one,
        the_same_input_gives_the_same_result,
        x0hat_is_finite_at_every_level,
        x0hat_stays_in_the_range_of_the_data,
        x0hat_at_infinite_noise_is_the_mean,
        labels_choose_the_training_images,
        an_unknown_label_is_refused,
        x0hat_of_an_equivariant_model_follows_shifts,
        x0hat_depends_on_no_more_than_the_window,
        a_closed_form_of_the_jacobian_is_the_derivative_of_x0hat,
        options_survive_json,
        check_returns_notes,
        attribution_agrees_with_denoise,
        attribution_names_the_pixels_that_x0hat_shows,
        attribution_of_finished_images_is_the_limit,
        it_is_exact,
        a_run_is_stored_and_read_back,
    )
}
