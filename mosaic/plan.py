"""From a configuration to a run ready to start: names resolved, data loaded, everything checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from mosaic.config import RunConfig
from mosaic.convolved import full_precision
from mosaic.dataset import DataAccess, DataSet
from mosaic.diagnosis import Diagnosis
from mosaic.errors import MosaicError, PluginError, UsageError
from mosaic.guard import check_result, left_alone
from mosaic.noise import initial_noise, sample_seed
from mosaic.plugins import registry
from mosaic.run_samples import samples_of
from mosaic.sampler import reverse_levels, reverse_times
from mosaic.saving import what_to_save
from mosaic.scales import coarse_to_fine, resolve_scales
from mosaic.schedule import Level, NoiseSchedule
from mosaic.score import EpsModel, ScoreModel
from mosaic.ties import Source

__all__ = ["Plan", "ScoreLike", "chosen_device", "describe", "prepare", "settings_of"]

EpsFunction = Callable[[Tensor, Tensor], Tensor]
ScoreLike = str | ScoreModel | EpsFunction


@dataclass(frozen=True)
class Plan:
    """A run, resolved and checked.

    Attributes
    ----------
    config : RunConfig
        With every default filled in.
    dataset : DataSet
        Training set, on `device`.
    levels, scales : tuple
        One entry a step, from noise to data; scale 0 where the model has none.
    labels, seeds : tuple of int
        One entry a sample.
    start : Tensor (samples, C, H, W), float64, or None
        Standard normal noise to start from, where it does not come from the seed.
    save, save_steps : tuple
        What to keep of the posterior beside its mean, and at which steps.
    notes : tuple of str
        What the user should know before the run starts.
    """

    config: RunConfig
    dataset: DataSet
    schedule: NoiseSchedule
    model: ScoreModel
    levels: tuple[Level, ...]
    scales: tuple[int, ...]
    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    start: Tensor | None
    device: torch.device
    save: tuple[str, ...] = ()
    save_steps: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.labels)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the computation."""
        return torch.float64 if self.config.dtype == "float64" else torch.float32

    @property
    def batches(self) -> list[range]:
        """Sample indices of each batch."""
        size = self.config.batch_size
        return [range(first, min(first + size, self.samples)) for first in range(0, self.samples, size)]

    def starts(self, batch: range) -> Tensor:
        """States x(1) = s(1) eps of a batch (B, C, H, W)."""
        noise = (
            initial_noise(self.config.seed, batch, self.dataset.shape)
            if self.start is None
            else self.start[batch.start : batch.stop]
        )
        return (noise.double() * self.levels[0].noise).to(self.dtype).to(self.device)

    def step_seeds(self, batch: range) -> list[int]:
        """Seeds of the noise that an ancestral sampler adds: the samples' own, where they have one."""
        return [self.seeds[i] if self.seeds[i] >= 0 else sample_seed(self.config.seed, i) for i in batch]

    def denoise(self, x: Tensor, index: int, batch: range) -> Tensor:
        """Evaluate the score model on a batch at one step."""
        with self._left_alone(x), full_precision():  # networks, too
            denoised = self.model.denoise(x, self.levels[index], self._labels(batch), self.scales[index])
        self._check(x, denoised, index)
        return denoised

    def diagnose(self, x: Tensor, index: int, batch: range) -> Diagnosis:
        """Evaluate it, and find what x0hat is made of."""
        with self._left_alone(x), full_precision():
            found = self.model.diagnose(x, self.levels[index], self._labels(batch), self.scales[index])
        if found is None:
            raise self._silent("diagnose")
        self._check(x, found.denoised, index)
        return found

    def trace(self, images: Tensor, batch: range) -> Source:
        """Find what the final images of a batch are made of."""
        found = self.model.trace(images, self._labels(batch), self.scales[-1])
        if found is None:
            raise self._silent("trace")
        return found

    def _silent(self, method: str) -> MosaicError:
        return PluginError(f"Score model '{self.config.score}' says that it `tells`, but its `{method}` gave None.")

    def _labels(self, batch: range) -> Tensor:
        return torch.tensor(self.labels[batch.start : batch.stop], device=self.device)

    def _left_alone(self, x: Tensor) -> AbstractContextManager[None]:
        return left_alone(self.config.score, {"x": x, "the training images": self.dataset.images})

    def _check(self, x: Tensor, denoised: Tensor, index: int) -> None:
        check_result(self.config.score, x, denoised, f"step {index} ({self.levels[index]})")

    def comparisons(self) -> int:
        """Window comparisons of the whole run."""
        classes = self.dataset.labels
        shares = [
            1.0 if label < 0 or classes is None else float((classes == label).double().mean()) for label in self.labels
        ]
        return round(sum(self.model.comparisons(scale) for scale in self.scales) * sum(shares))


def prepare(
    config: RunConfig, access: DataAccess, score: ScoreModel | EpsFunction | None = None, dataset: DataSet | None = None
) -> Plan:
    """Resolve a configuration.

    Parameters
    ----------
    config : RunConfig
        What is asked for.
    access : DataAccess
        Where data may be found.
    score, dataset
        Objects to use in place of `config.score` and `config.dataset`.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    if isinstance(score, type):
        raise UsageError(f"score is the class {score.__name__}; give its registered name, or an object of it.")
    device = _device(config, score, dataset)
    names = registry()
    schedule_class = names.get("schedule", config.schedule)
    schedule = schedule_class(schedule_class.Options.parse(config.schedule_options, f"schedule.{config.schedule}"))
    model_class: type[ScoreModel] | None = names.get("score", config.score) if score is None else None
    # Options are checked before the data are read, which can take long.
    model_options = (
        model_class.Options.parse(config.score_options, f"score.{config.score}") if model_class is not None else None
    )
    if dataset is None:
        source_class = names.get("dataset", config.dataset)
        options = source_class.Options.parse(config.dataset_options, f"dataset.{config.dataset}")
        dataset = source_class(options, access).load()
        config = config.model_copy(update={"dataset_options": options.model_dump(mode="json")})
    dataset = dataset.to(device)
    times, levels = reverse_times(config.steps), reverse_levels(schedule, config.steps)
    if model_class is not None:
        model = model_class(model_options, dataset)
    elif isinstance(score, ScoreModel):
        model = score
    else:
        model = EpsModel(cast(EpsFunction, score), dict(zip(levels, times, strict=True)).__getitem__, dataset)
    scales, notes = _scales(config, model, dataset, levels, times)
    notes += _oddities(dataset, scales)
    start, seeds, labels = samples_of(config, dataset)
    _check_schedule(config.score, model, schedule)
    model.check(tuple(levels), scales, labels)
    notes += model.notes()
    save, save_steps = what_to_save(config, model)
    config = _filled(config, model, schedule, samples=len(labels), save=",".join(save) or "none", device=str(device))
    return Plan(
        config, dataset, schedule, model, tuple(levels), scales, labels, seeds, start, device, save, save_steps,
        tuple(notes),
    )  # fmt: skip


def _filled(config: RunConfig, model: ScoreModel, schedule: NoiseSchedule, **settings: Any) -> RunConfig:
    """Fill in what was left to defaults."""
    options = {"score_options": model.options, "schedule_options": schedule.options}
    resolved = {name: value.model_dump(mode="json") for name, value in options.items()}
    return config.model_copy(update={**resolved, **settings})


def _check_schedule(name: str, model: ScoreModel, schedule: NoiseSchedule) -> None:
    """Refuse another schedule than the model was made for."""
    wanted = model.schedule
    if wanted is None or (wanted.name, wanted.options) == (schedule.name, schedule.options):
        return
    options = "".join(f" -o schedule.{key}={value}" for key, value in wanted.options.model_dump(mode="json").items())
    raise UsageError(
        f"Score model '{name}' was trained with the schedule '{wanted.name}', not with '{schedule.name}' as it is set "
        f"here; use --schedule {wanted.name}{options}."
    )


def chosen_device(name: str, dtype: str, given: torch.device | None) -> torch.device:
    """Choose the device called `name`; `auto` is the one of the objects given, else cuda where there is one, else cpu.

    Raises
    ------
    UsageError
        If it cannot be used here with `dtype`.
    """
    if name == "auto":
        return given or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device, dtype=getattr(torch, dtype)).item()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"Device '{name}' cannot be used here with {dtype}: {reason}.") from None
    return device


def _device(config: RunConfig, score: ScoreModel | EpsFunction | None, dataset: DataSet | None) -> torch.device:
    """Device of the run."""
    given = dataset.images.device if dataset is not None else torch.device("cpu") if score is not None else None
    device = chosen_device(config.device, config.dtype, given)
    if config.device != "auto" and isinstance(score, ScoreModel) and score.dataset.images.device != device:
        raise UsageError(
            f"The score model's data are on {score.dataset.images.device}; use device='auto', or move them."
        )
    return device


def _scales(
    config: RunConfig, model: ScoreModel, dataset: DataSet, levels: Sequence[Level], times: Sequence[float]
) -> tuple[tuple[int, ...], list[str]]:
    """Scale of each step, from noise to data, and what there is to say about it."""
    if not model.has_scale:
        note = [f"Score model '{config.score}' has no locality scale; --scales is not used."] if config.scales else []
        return (0,) * len(levels), note
    rising = levels[::-1]
    spec = config.scales or dataset.scales
    if spec is not None:
        return resolve_scales(spec, rising)[::-1], []
    side = min(dataset.shape[1:])
    return coarse_to_fine(side, times[::-1], rising).scales[::-1], []


def _oddities(dataset: DataSet, scales: Sequence[int]) -> list[str]:
    """What is allowed but seldom meant."""
    notes, side = [], min(dataset.shape[1:])
    if dataset.range[0] < 0 <= float(dataset.images.min()):
        notes.append(
            f"Data set '{dataset.name}' has no pixel below 0 in the range {dataset.range}; if 0 is meant to be black, "
            f"say so (data set 'file': -o dataset.range=0,1)."
        )
    if max(scales) > side:
        notes.append(f"Scales up to {max(scales)} exceed the images' {side} pixels.")
    return notes


def describe(plan: Plan) -> dict[str, Any]:
    """Resolved settings of a run, as they are stored with it."""
    settings = plan.config.model_dump(mode="json")
    return {
        **settings,
        "scales": list(plan.scales),
        "scales_from": plan.config.scales or (plan.dataset.scales if plan.model.has_scale else None),
        "labels": list(plan.labels),
        "labels_from": plan.config.labels,
    }


def settings_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what `describe` gave back into settings for a `RunConfig`."""
    asked = {**description, "scales": description["scales_from"], "labels": description["labels_from"]}
    return {name: asked[name] for name in RunConfig.model_fields if asked.get(name) is not None}
