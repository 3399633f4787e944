"""From a configuration to a run ready to start: names resolved, data loaded, everything checked, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from mosaic.device import chosen_device, full_precision
from mosaic.errors import UsageError
from mosaic.interfaces.attribution import Attribution
from mosaic.interfaces.dataset import DataAccess, DataSet
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import EpsModel, ScoreModel
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry
from mosaic.run.checks import assert_unmodified, check_result
from mosaic.run.config import RunConfig
from mosaic.run.memory import Size, threads_within
from mosaic.run.samples import samples_of
from mosaic.run.saved import resolve_save
from mosaic.sampling.flow import reverse_levels, reverse_times
from mosaic.sampling.noise import initial_noise, sample_seed
from mosaic.sampling.scales import coarse_to_fine, resolve_scales
from mosaic.storage.job import Output

__all__ = ["Plan", "ScoreLike", "prepare"]

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
    schedule, model, device
        What the configuration names, made.
    levels, scales : tuple
        One entry a step, from noise to data; scale 0 where the model has none.
    labels, seeds : tuple of int
        One entry a sample; label -1 for no class, seed -1 where the noise came from a file without seeds.
    start : Tensor (samples, C, H, W), float64, or None
        Standard normal noise to start from, where it does not come from the seed.
    save, save_steps : tuple
        What to keep of the posterior beside its mean, and at which steps.
    threads : int or None
        Blocks of candidates to work on at a time, at most, so that the memory allowed is enough; None for no limit.
    output : Output or None
        Where the run is to be kept; None for in memory.
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
    threads: int | None = None
    output: Output | None = None
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

    @property
    def size(self) -> Size:
        """What its memory depends on."""
        return Size(
            samples=self.samples,
            steps=len(self.levels),
            batch=len(self.batches[0]),
            largest_scale=max(self.scales),
            dtype=self.dtype,
            save=self.save,
        )

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

    def labels_of(self, batch: range) -> Tensor:
        """Labels (B,) of a batch, int64; -1 for none."""
        return torch.tensor(self.labels[batch.start : batch.stop], device=self.device)

    def denoise(self, x: Tensor, index: int, batch: range) -> Tensor:
        """Evaluate the score model on a batch at one step."""
        with self._unmodified(x), full_precision():  # networks, too
            denoised = self.model.denoise(x, self.levels[index], self.labels_of(batch), self.scales[index])
        self._check(x, denoised, index)
        return denoised

    def attribute(self, x: Tensor, index: int, batch: range) -> Attribution:
        """Evaluate it, and find what x0hat is made of."""
        with self._unmodified(x), full_precision():
            attribution = self.model.attribute(x, self.levels[index], self.labels_of(batch), self.scales[index])
        self._check(x, attribution.denoised, index)
        return attribution

    def _unmodified(self, x: Tensor) -> AbstractContextManager[None]:
        return assert_unmodified(self.config.score, {"x": x, "the training images": self.dataset.images})

    def _check(self, x: Tensor, denoised: Tensor, index: int) -> None:
        check_result(self.config.score, x, denoised, f"step {index} ({self.levels[index]})")

    def comparisons(self) -> int:
        """Window comparisons of the whole run."""
        return round(sum(self.model.traits.comparisons(scale) for scale in self.scales) * self._share(self.labels))

    def work(self, batch: range) -> list[float]:
        """Work of each step of a batch: comparisons times k, which time is in proportion to.

        (An engine shares the products of windows that overlap; k of a window's k x k are its own.) Where the model
        compares no windows, a step of a sample counts 1.
        """
        comparisons, share = self.model.traits.comparisons, self._share(self.labels[batch.start : batch.stop])
        steps = [comparisons(scale) * max(1, scale) * share for scale in self.scales]
        return steps if any(steps) else [float(len(batch))] * len(self.scales)

    @property
    def unit(self) -> str:
        """What `work` counts."""
        return "comparison" if any(map(self.model.traits.comparisons, self.scales)) else "step"

    def _share(self, labels: Sequence[int]) -> float:
        """How often samples with these labels meet the whole training set, a class counting by its share of it."""
        classes = self.dataset.labels
        return sum(
            1.0 if label < 0 or classes is None else float((classes == label).double().mean()) for label in labels
        )


def prepare(
    config: RunConfig,
    access: DataAccess,
    *,
    score: ScoreModel | EpsFunction | None = None,
    dataset: DataSet | None = None,
    memory: str | None = None,
    output: Output | None = None,
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
    memory : str, optional
        What the run may take, such as 2G; by default a quarter of what the machine has.
    output : Output, optional
        Where the run is to be kept; refused here if it cannot be.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    if isinstance(score, type):
        raise UsageError(f"`score` is the class {score.__name__}; give its registered name, or an object of it.")
    if output is not None:
        output.check()
    device, names = _device(config, score, dataset), registry()
    schedule: NoiseSchedule = names.make("schedule", config.schedule, config.schedule_options)
    # Options are checked before the data are read, which can take long.
    if score is None:
        names.parse("score", config.score, config.score_options)
    dataset_options = config.dataset_options
    if dataset is None:
        dataset_options = names.parse("dataset", config.dataset, dataset_options).model_dump(mode="json")
        dataset = load_dataset(config.dataset, config.dataset_options, access)
    dataset = dataset.to(device)
    levels, times = tuple(reverse_levels(schedule, config.steps)), reverse_times(config.steps)
    model = _model(config, score, dataset, levels, times)
    _check_schedule(config.score, model, schedule)
    scales, notes = _scales(config, model, dataset, levels, times)
    start, seeds, labels = samples_of(config, dataset)
    notes += [*_oddities(dataset, scales), *model.check(levels, scales, labels)]
    save, save_steps = resolve_save(config, model)
    config = config.model_copy(
        update={
            "dataset_options": dataset_options,
            "score_options": model.options.model_dump(mode="json"),
            "schedule_options": schedule.options.model_dump(mode="json"),
            "samples": len(labels),
            "save": ",".join(save) or "none",
            "device": str(device),
        }
    )
    plan = Plan(
        config, dataset, schedule, model, levels, scales, labels, seeds, start, device, save, save_steps, None, output
    )
    threads, more = threads_within(memory, plan.model, plan.size, config.score)
    return replace(plan, threads=threads, notes=(*notes, *more))


def _model(
    config: RunConfig,
    score: ScoreModel | EpsFunction | None,
    dataset: DataSet,
    levels: Sequence[Level],
    times: Sequence[float],
) -> ScoreModel:
    """Make the score model: the registered one, or the object given."""
    if score is None:
        return cast(ScoreModel, registry().make("score", config.score, config.score_options, dataset))
    if isinstance(score, ScoreModel):
        return score
    return EpsModel(score, dict(zip(levels, times, strict=True)).__getitem__, dataset)


def _check_schedule(name: str, model: ScoreModel, schedule: NoiseSchedule) -> None:
    """Refuse another schedule than the model was made for."""
    wanted = model.traits.schedule()
    if wanted is None or (wanted.name, wanted.options) == (schedule.name, schedule.options):
        return
    options = "".join(f" `schedule.{key}={value}`" for key, value in wanted.options.model_dump(mode="json").items())
    raise UsageError(
        f"Score model '{name}' was trained with the schedule '{wanted.name}', not with '{schedule.name}' as it is set "
        f"here; use `schedule` {wanted.name}{options}."
    )


def _device(config: RunConfig, score: ScoreModel | EpsFunction | None, dataset: DataSet | None) -> torch.device:
    """Device of the run."""
    given = dataset.images.device if dataset is not None else torch.device("cpu") if score is not None else None
    device = chosen_device(config.device, config.dtype, given)
    if config.device != "auto" and isinstance(score, ScoreModel) and score.dataset.images.device != device:
        raise UsageError(
            f"The score model's data are on {score.dataset.images.device}; use `device` auto, or move them."
        )
    return device


def _scales(
    config: RunConfig, model: ScoreModel, dataset: DataSet, levels: Sequence[Level], times: Sequence[float]
) -> tuple[tuple[int, ...], list[str]]:
    """Scale of each step, from noise to data, and what there is to say about it."""
    if not model.traits.has_scale:
        note = [f"Score model '{config.score}' has no locality scale; `scales` is not used."] if config.scales else []
        return (0,) * len(levels), note
    rising = levels[::-1]
    spec = config.scales or dataset.scales
    if spec is not None:
        return resolve_scales(spec, rising)[::-1], []
    side = min(dataset.shape[1:])
    return coarse_to_fine(side, times[::-1], rising).scales[::-1], []


def _oddities(dataset: DataSet, scales: Sequence[int]) -> list[str]:
    """What is allowed but probably unintended."""
    notes, side = [], min(dataset.shape[1:])
    if dataset.range[0] < 0 <= float(dataset.images.min()):
        notes.append(
            f"Data set '{dataset.name}' has no pixel below 0 in the range {dataset.range}; if 0 is meant to be black, "
            f"say so (data set 'file': `dataset.range=0,1`)."
        )
    if max(scales) > side:
        notes.append(f"Scales up to {max(scales)} exceed the images' {side} pixels.")
    return notes
