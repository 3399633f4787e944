"""For each check of the conformance suite a plugin that is wrong in just that, and one that is right in all."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

import mosaic
import mosaic.testing
from mosaic.testing.case import Failed
from mosaic.testing.suite import KINDS


class Undescribed(mosaic.Options):
    """Options of which one has no description."""

    size: int = 3


class Lossy(mosaic.Options):
    """Options that JSON does not bring back."""

    mood: float = Field(default_factory=random.random, exclude=True, description="Left out of what is stored.")


# Score models


class Ideal(mosaic.ScoreModel):
    """Right: the ideal score, in plain torch."""

    name = "ideal"

    @property
    def traits(self) -> mosaic.Traits:
        return mosaic.Traits(is_conditional=True)

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        rows = [self.sample(x[n], level, -1 if labels is None else int(labels[n])) for n in range(len(x))]
        return torch.stack(rows).to(x.dtype)

    def sample(self, x: Tensor, level: mosaic.Level, label: int) -> Tensor:
        images = self.dataset.images.double()
        if label >= 0:
            images = images[self.dataset.labels == label]
            if len(images) == 0:
                raise mosaic.UsageError(f"There are no images of label {label}.")
        apart = (x.double() - level.signal * images).square().sum((1, 2, 3))
        return torch.einsum("n,nchw->chw", (-apart / (2 * level.noise**2)).softmax(0), images)


def ideal(x: np.ndarray, images: np.ndarray, level: mosaic.Level, scale: int) -> np.ndarray:
    logits = -((x[:, None] - level.signal * images) ** 2).sum((2, 3, 4)) / (2 * level.noise**2)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return np.einsum("bn,nchw->bchw", weights / weights.sum(1, keepdims=True), images)


def denoising(change: Callable[[Any, Tensor, mosaic.Level, Tensor], Tensor]) -> type[Ideal]:
    """A score model whose x0hat is changed: change(model, x, level, x0hat)."""

    class Wrong(Ideal):
        calls = 0

        def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
            type(self).calls += 1
            return change(self, x, level, super().denoise(x, level, labels, scale))

    return Wrong


class Deaf(Ideal):
    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        return super().denoise(x, level, None, scale)


class Shifting(Ideal):
    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, is_equivariant=True)


class Local(Ideal):
    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, window=lambda scale: 3)


class Attributing(Ideal):
    """Attributes every pixel to the first, with half of x0hat."""

    @property
    def traits(self) -> mosaic.Traits:
        return replace(super().traits, has_attribution=True)

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0
    ) -> mosaic.Attribution:
        index = torch.zeros(len(x), *x.shape[2:], dtype=torch.int64)
        source = mosaic.Source(index, index, index, index)
        denoised = 0.5 * self.denoise(x, mosaic.Level(level.signal, level.noise or 0.1), labels)
        return mosaic.Attribution(denoised, source, index + 0.5, index.double())


class Misplacing(mosaic.AnalyticMachine):
    """Right but for the sources: those of another image."""

    name = "misplacing"

    def posterior(
        self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        return mosaic.ideal_posterior(x, images, level, compute=compute)

    def sources(self, posterior: mosaic.Posterior, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Source:
        source = mosaic.resolve_image_ties(posterior, images, translates=False)
        return replace(source, image=(source.image + 1) % len(images))


class Blurring(Misplacing):
    """Right but at noise 0, where x0hat is not the pixels of the source."""

    sources = mosaic.AnalyticMachine.sources

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0
    ) -> mosaic.Attribution:
        attribution = super().attribute(x, level, labels, scale)
        return attribution if level.noise else replace(attribution, denoised=0.9 * attribution.denoised)


class Silent(Ideal):
    def check(self, levels: tuple[mosaic.Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> Any:
        return None


class Remembering(Ideal):
    """Depends on the first level that it ever saw."""

    first: mosaic.Level | None = None

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        self.first = self.first or level
        return super().denoise(x, level, labels, scale) * (1 - 1e-4 * self.first.noise)


class Unconditional(Ideal):
    """Uses labels, though its traits deny it."""

    @property
    def traits(self) -> mosaic.Traits:
        return mosaic.Traits()


class Forgetful(Ideal):
    Options = Lossy


def spoil(x: Tensor, x0hat: Tensor) -> Tensor:
    x += 1
    return x0hat


SCORES: dict[str, type[mosaic.ScoreModel]] = {
    "shape_dtype_and_device_are_those_of_x": denoising(lambda model, x, level, x0hat: x0hat.double()),
    "inputs_are_unchanged": denoising(lambda model, x, level, x0hat: spoil(x, x0hat)),
    "a_batch_is_its_samples_one_by_one": denoising(lambda model, x, level, x0hat: x0hat + 1e-3 * x.mean(0)),
    "the_same_input_gives_the_same_result": denoising(lambda m, x, level, x0hat: x0hat + 1e-6 * torch.randn(x.shape)),
    "x0hat_is_finite_at_every_level": denoising(lambda m, x, level, x0hat: x0hat / (level.noise > 2e-3)),
    "x0hat_stays_in_the_range_of_the_data": denoising(lambda model, x, level, x0hat: 1.2 * x0hat),
    "x0hat_at_infinite_noise_is_the_mean": denoising(lambda model, x, level, x0hat: x0hat + x / level.noise / 10),
    "labels_choose_the_training_images": Deaf,
    "an_unknown_label_is_refused": Deaf,
    "x0hat_of_an_equivariant_model_follows_shifts": Shifting,
    "x0hat_depends_on_no_more_than_the_window": Local,
    "options_survive_json": Forgetful,
    "check_returns_notes": Silent,
    "attribution_agrees_with_denoise": Attributing,
    "attribution_names_the_pixels_that_x0hat_shows": Misplacing,
    "attribution_of_finished_images_is_the_limit": Blurring,
    "it_is_exact": denoising(lambda model, x, level, x0hat: x0hat + 1e-3),
    "a_run_is_stored_and_read_back": denoising(lambda model, x, level, x0hat: x0hat + 1e-3 * type(model).calls),
}


# Noise schedules


class Flow(mosaic.NoiseSchedule):
    """Right: signal 1 - 0.99 t, noise t."""

    name = "flow-like"

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - 0.99 * t, t.clone()


def scheduling(change: Callable[[Tensor], tuple[Tensor, Tensor]]) -> type[Flow]:
    class Wrong(Flow):
        def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
            return change(t)

    return Wrong


class Timeless(Flow):
    def time(self, level: mosaic.Level) -> float:
        return 0.3


class ForgetfulFlow(Flow):
    Options = Undescribed


SCHEDULES: dict[str, type[mosaic.NoiseSchedule]] = {
    "signal_and_noise_are_float64_like_t": scheduling(lambda t: ((1 - 0.99 * t).float(), t.float())),
    "signal_is_positive_and_noise_not_negative": scheduling(lambda t: (1 - t, t.clone())),
    "noise_over_signal_rises_with_t": scheduling(lambda t: (torch.ones_like(t), (3 * t).sin().abs())),
    "it_is_vectorised": scheduling(lambda t: (torch.ones_like(t), t / t.max().clamp_min(1e-3) * t)),
    "time_is_the_inverse_of_level": Timeless,
    "options_survive_json": ForgetfulFlow,
}


# Data sets


class Waves(mosaic.DataSource):
    """Right: smooth images of two classes."""

    name = "waves"

    class Options(mosaic.DataSetOptions):
        seed: int = Field(0, description="Seed.")

    def read(self) -> mosaic.DataSet:
        generator = torch.Generator().manual_seed(self.options.seed)
        images = torch.rand(8, 1, 5, 5, generator=generator) * 2 - 1
        return mosaic.DataSet(self.name, images, torch.arange(8) % 2, ("a", "b"), scales="3")


def reading(change: Callable[[mosaic.DataSet], mosaic.DataSet]) -> type[Waves]:
    class Wrong(Waves):
        def read(self) -> mosaic.DataSet:
            return change(super().read())

    return Wrong


class Absent(Waves):
    def available(self) -> str | None:
        return "not there"


class Lopsided(Waves):
    def load(self) -> mosaic.DataSet:
        whole = self.read()
        ordered = whole.select(whole.labels.argsort(stable=True))  # type: ignore[union-attr]
        return ordered.select(torch.arange(self.options.limit or len(whole)))


class ForgetfulWaves(Waves):
    class Options(Waves.Options):
        size: int = 3


BROKEN = mosaic.Rule(
    lambda images: torch.stack([torch.zeros(len(images)), torch.ones(len(images))], 1).long(), ("a", "b")
)

DATASETS: dict[str, type[mosaic.DataSource]] = {
    "it_is_available_and_loads": Absent,
    "images_and_labels_fit": reading(lambda data: replace(data, images=data.images / 50)),
    "it_loads_the_same_twice": reading(lambda data: replace(data, images=data.images * torch.rand(1))),
    "limit_takes_a_balanced_subset": Lopsided,
    "its_scales_exist": reading(lambda data: replace(data, scales="paper/nothing")),
    "its_images_obey_its_rule": reading(lambda data: replace(data, rule=BROKEN)),
    "options_survive_json": ForgetfulWaves,
}


# Metrics


class Apart(mosaic.Metric):
    """Right: mean absolute difference."""

    name = "apart"
    range = (0.0, float("inf"))
    higher_is_better = False

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        assert reference is not None
        return (images.double() - reference.double()).abs().mean((1, 2, 3))


def measuring(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> type[Apart]:
    class Wrong(Apart):
        def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
            assert reference is not None
            return change(images, reference, super().__call__(images, reference))

    return Wrong


class Unbounded(Apart):
    range = (1.0, 1.0)


class ForgetfulMetric(Apart):
    Options = Undescribed


METRICS: dict[str, type[mosaic.Metric]] = {
    "it_declares_what_it_is": Unbounded,
    "one_float64_value_a_sample": measuring(lambda images, reference, value: value.float()),
    "values_stay_in_its_range": measuring(lambda images, reference, value: value - 1),
    "samples_are_measured_one_by_one": measuring(lambda images, reference, value: value / value.max()),
    "inputs_are_unchanged": measuring(lambda images, reference, value: spoil(images, value)),
    "nothing_is_closer_than_the_reference_itself": measuring(lambda images, reference, value: 1 / (1 + value)),
    "options_survive_json": ForgetfulMetric,
}


# Networks


class Small(nn.Module):
    """Right: two convolutions, with the time added between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 6, 3, padding=1), nn.Conv2d(6, channels, 3, padding=1)
        self.time = nn.Linear(1, 6)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.first(x) + self.time(t[:, None])[:, :, None, None]
        eps: Tensor = self.second(nn.functional.silu(h))
        return eps


class Convolutions(mosaic.Network):
    name = "convolutions"
    module: type[nn.Module] = Small

    def build(self, channels: int, classes: int) -> nn.Module:
        return self.module(channels)

    def receptive_field(self) -> int | None:
        return 5


def building(change: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor], extra: bool = False) -> type[Convolutions]:
    class Module(Small):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            if extra:
                self.idle = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            return change(self, x, t, super().forward(x, t, labels))

    class Wrong(Convolutions):
        module = Module

    return Wrong


class Random(Convolutions):
    def build(self, channels: int, classes: int) -> nn.Module:
        torch.seed()
        return Small(channels)


class Narrow(Convolutions):
    def receptive_field(self) -> int | None:
        return 3


class ForgetfulNetwork(Convolutions):
    Options = Undescribed


NETWORKS: dict[str, type[mosaic.Network]] = {
    "eps_is_like_x": building(lambda module, x, t, eps: eps[:, :, 1:]),
    "torch_seed_decides_its_weights": Random,
    "evaluation_is_deterministic": building(lambda module, x, t, eps: eps + 1e-3 * torch.randn(eps.shape)),
    "every_weight_can_be_trained": building(lambda module, x, t, eps: eps, extra=True),
    "time_matters": building(lambda module, x, t, eps: Small.forward(module, x, 0 * t)),  # type: ignore[arg-type]
    "its_receptive_field_is_what_it_says": Narrow,
    "options_survive_json": ForgetfulNetwork,
}

RIGHT = {"score": Ideal, "schedule": Flow, "dataset": Waves, "metric": Apart, "network": Convolutions}
WRONG: dict[str, dict[str, Any]] = {
    "score": SCORES,
    "schedule": SCHEDULES,
    "dataset": DATASETS,
    "metric": METRICS,
    "network": NETWORKS,
}
SETTINGS: dict[str, dict[str, Any]] = {"score": {"oracle": ideal}}


@pytest.mark.parametrize("kind", list(RIGHT))
def test_a_right_plugin_passes(kind: str) -> None:
    for check in mosaic.testing.checks_of(kind, RIGHT[kind], **SETTINGS.get(kind, {})):
        assert check() in ("passed", "does not apply")


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in KINDS[kind]])
def test_every_check_catches_a_wrong_plugin(kind: str, name: str) -> None:
    checks = mosaic.testing.checks_of(kind, WRONG[kind][name], **SETTINGS.get(kind, {}))
    (check,) = [check for check in checks if check.name == name]
    with pytest.raises(mosaic.testing.NotConforming, match=name) as caught:
        check()
    assert isinstance(caught.value.__cause__, Failed)  # by what it checks, not by a crash


@pytest.mark.parametrize(
    ("wrong", "name", "message"),
    [
        (Remembering, "the_same_input_gives_the_same_result", "depends on levels that were evaluated before"),
        (Unconditional, "labels_choose_the_training_images", "its trait `is_conditional` must be True"),
    ],
)
def test_other_ways_to_be_wrong(wrong: type[mosaic.ScoreModel], name: str, message: str) -> None:
    with pytest.raises(mosaic.testing.NotConforming, match=message):
        {check.name: check for check in mosaic.testing.checks_of("score", wrong)}[name]()


def test_all_at_once_everything_wrong_is_named() -> None:
    wrong = denoising(lambda model, x, level, x0hat: (1.2 * x0hat).double())
    with pytest.raises(mosaic.testing.NotConforming) as caught:
        mosaic.testing.check_score(wrong)
    for name in ("shape_dtype_and_device_are_those_of_x", "x0hat_stays_in_the_range_of_the_data"):
        assert f"- {name}: " in str(caught.value)
    assert "inputs_are_unchanged" not in str(caught.value)


def test_an_expected_failure_must_stay_one() -> None:
    wrong, reason = SCORES["x0hat_stays_in_the_range_of_the_data"], "it overshoots"
    known = {"x0hat_stays_in_the_range_of_the_data": reason, "x0hat_at_infinite_noise_is_the_mean": reason}
    outcomes = mosaic.testing.check_score(wrong, expected_failures=known)
    assert outcomes["x0hat_stays_in_the_range_of_the_data"] == "failed as expected"
    with pytest.raises(mosaic.testing.NotConforming, match="it passes, but a failure was expected"):
        mosaic.testing.check_score(Ideal, expected_failures={"it_is_exact": reason}, oracle=ideal)
    with pytest.raises(mosaic.UsageError, match="Did you mean 'it_is_exact'"):
        mosaic.testing.check_score(Ideal, expected_failures={"it_is_exakt": reason})


def test_under_pytest_each_check_is_a_test() -> None:
    mark = mosaic.testing.conformance("schedule", Flow)
    assert mark.args[0] == "check"
    assert mark.kwargs["ids"] == list(KINDS["schedule"])
    checks = {check.name: check for check in mosaic.testing.conformance("score", Ideal).args[1]}
    with pytest.raises(pytest.skip.Exception, match="does not apply"):
        checks["it_is_exact"]()
