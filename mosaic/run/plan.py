"""A run that is ready to start: everything that its steps need."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.engine.machine import AnalyticMachine
from mosaic.interfaces.attribution import Attribution
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.estimate import Estimate
from mosaic.interfaces.sampler import Sampler
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import ScoreModel
from mosaic.run.checks import check_result, guarded
from mosaic.run.config import RunConfig
from mosaic.run.memory import Size
from mosaic.run.work import count_comparisons, step_work, unit_of
from mosaic.sampling.noise import initial_noise, sample_seed
from mosaic.storage.output import Output

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """A run, resolved and checked.

    Attributes
    ----------
    config : RunConfig
        With every default filled in.
    dataset : DataSet
        Training set, on `device`.
    schedule, sampler, model, device
        What the configuration names, made.
    times, levels, scales : tuple
        One entry a step, from noise to data; scale 0 where the model has none.
    labels, seeds : tuple of int
        One entry a sample; label -1 for no class, seed -1 where the noise came from a file without seeds.
    start : Tensor (samples, C, H, W), float64, or None
        Standard normal noise to start from, where it does not come from the seed.
    size : Size
        What its memory depends on.
    save, save_steps : tuple
        What to keep of the posterior apart from its mean, and at which steps.
    threads : int or None
        Blocks of candidates to work on at a time, at most, so that the memory allowed is enough; None for no limit.
    memory : str, number or None
        The memory allowed, as it was given; None for a quarter of what the machine has.
    output : Output or None
        Where the run is to be kept; None for in memory.
    notes : tuple of str
        What the user should know before the run starts.
    access : DataAccess or None
        Where another process finds what the configuration names; None where objects were given in their place.
    """

    config: RunConfig
    dataset: DataSet
    schedule: NoiseSchedule
    sampler: Sampler
    model: ScoreModel
    times: tuple[float, ...]
    levels: tuple[Level, ...]
    scales: tuple[float, ...]
    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    start: Tensor | None
    device: torch.device
    size: Size
    save: tuple[str, ...] = ()
    save_steps: tuple[int, ...] = ()
    threads: int | None = None
    memory: str | float | None = None
    output: Output | None = None
    notes: tuple[str, ...] = ()
    access: DataAccess | None = None

    @property
    def samples(self) -> int:
        """How many images the run makes, over all batches."""
        return len(self.labels)

    @property
    def shared_images(self) -> int:
        """How many training images all samples are compared with, by a machine that compares all of them.

        0 where samples have classes, or sums may stop early: then shards cannot be compared apart from each other.
        """
        is_whole = isinstance(self.model, AnalyticMachine) and self.model.traits.is_exact
        is_shared = is_whole and all(label == -1 for label in self.labels)
        return len(self.dataset) if is_shared else 0

    @property
    def dtype(self) -> torch.dtype:
        """Type of the states and of x0hat: float32 or float64."""
        return self.size.dtype

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
        """Seeds of the noise that a sampler adds: the samples' own, where they have one."""
        return [self.seeds[i] if self.seeds[i] >= 0 else sample_seed(self.config.seed, i) for i in batch]

    def labels_of(self, batch: range) -> Tensor:
        """Labels (B,) of a batch, int64; -1 for none."""
        return torch.tensor(self.labels[batch.start : batch.stop], device=self.device, dtype=torch.int64)

    def denoise(self, x: Tensor, index: int, batch: range, level: Level | None = None) -> Tensor:
        """Evaluate the score model on a batch at one step.

        Parameters
        ----------
        x : Tensor (B, C, H, W)
            States of the batch, of the plan's dtype.
        index : int
            The step, 0 at noise, whose scale is used.
        batch : range
            Indices of the samples, which have their labels.
        level : Level, optional
            The level of x, if it is not that of the step.

        Returns
        -------
        Tensor (B, C, H, W)
            x0hat, of x's dtype.

        Raises
        ------
        MosaicError
            If the model gives anything but finite numbers of x's shape and dtype, or changes x or the training images.
        UsageError
            If the model refuses the level, the scale or a label.
        """
        level = level or self.levels[index]
        with self._guarded(x), standard_torch():  # for networks as well
            denoised = self.model.denoise(x, level, self.labels_of(batch), self.scales[index])
        self._check(x, denoised, index, level)
        return denoised

    def attribute(self, x: Tensor, index: int, batch: range, level: Level | None = None) -> Attribution:
        """Evaluate the score model at one step, and find what x0hat is made of.

        Arguments and errors as for `denoise`. The model must have the trait `has_attribution`.

        Returns
        -------
        Attribution
            `denoised` (B, C, H, W), and for each pixel (B, H, W) its best candidate.
        """
        level = level or self.levels[index]
        with self._guarded(x), standard_torch():
            attribution = self.model.attribute(x, level, self.labels_of(batch), self.scales[index])
        self._check(x, attribution.denoised, index, level)
        return attribution

    def estimate(self, x: Tensor, index: int, batch: range, level: Level | None = None) -> Estimate:
        """Evaluate the score model at one step, and say how good x0hat is.

        Arguments and errors as for `denoise`.

        Returns
        -------
        Estimate
            `denoised` (B, C, H, W), and for each sample (B,) the comparisons made and the estimated error.
        """
        level = level or self.levels[index]
        with self._guarded(x), standard_torch():
            estimate = self.model.estimate(x, level, self.labels_of(batch), self.scales[index])
        self._check(x, estimate.denoised, index, level)
        return estimate

    def _guarded(self, x: Tensor) -> AbstractContextManager[None]:
        return guarded(self.config.score, {"x": x, "the training images": self.dataset.images})

    def _check(self, x: Tensor, denoised: Tensor, index: int, level: Level) -> None:
        check_result(self.config.score, x, denoised, f"step {index} ({level})")

    @property
    def evaluations(self) -> tuple[int, ...]:
        """How often each step evaluates the score model."""
        return (*(self.sampler.evaluations,) * (len(self.levels) - 1), 1)

    def comparisons(self) -> int:
        """Comparisons, of windows or of whole images, of the whole run."""
        evaluated = [scale for scale, times in zip(self.scales, self.evaluations, strict=True) for _ in range(times)]
        return count_comparisons(self.model, evaluated, self.labels)

    def work(self, batch: range) -> list[float]:
        """Work of each step of a batch, in `unit`."""
        once = step_work(self.model, self.scales, self.labels[batch.start : batch.stop])
        return [work * times for work, times in zip(once, self.evaluations, strict=True)]

    @property
    def unit(self) -> str:
        """What `work` is counted in: weighted comparisons, or steps where the model compares nothing."""
        return unit_of(self.model, self.scales)
