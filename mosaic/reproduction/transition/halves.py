"""Two disjoint halves of a data set, of as many images as asked for, and a network trained on each.

References: Kadkhodaie, Guth, Simoncelli & Mallat 2024 (arXiv 2310.02557), sec. 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from mosaic.interfaces.dataset import DataSet, balanced_subset
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import THEORY_STEPS, Row
from mosaic.reproduction.study.study import Study
from mosaic.run.memory import access_within
from mosaic.train.config import TrainConfig
from mosaic.train.plan import TrainPlan
from mosaic.train.prepare import prepare_training

__all__ = ["HALVES", "HalfExperiment", "half_of", "repeated"]

HALVES = ("A", "B")
PASSED = {"cpu": 120_000, "paper": 2_880_000}  # images that each training passes: 3,750 and 22,500 steps
FALL = 0.1  # what the learning rate falls to; where it falls to 0.7 %, networks stop before they memorise


def half_of(dataset: DataSet, half: str, count: int, seed: int) -> DataSet:
    """Choose images of one half of a data set, as evenly over the classes as they allow.

    Parameters
    ----------
    dataset : DataSet
        What is halved, at random.
    half : {"A", "B"}
        The halves share no image.
    count : int
        How many images. Those of a smaller choice are among those of a larger one.
    seed : int
        Seed of both choices.
    """
    chosen = torch.zeros(len(dataset), dtype=torch.bool, device="cpu")
    chosen[balanced_subset(len(dataset), len(dataset) // 2, seed, dataset.labels)] = True
    places = (chosen if half == HALVES[0] else ~chosen).nonzero()[:, 0]
    own = dataset.select(places.to(dataset.images.device))
    return own.select(balanced_subset(len(own), count, seed, own.labels).to(own.images.device))


def repeated(dataset: DataSet, batch_size: int) -> DataSet:
    """Repeat a data set until its images fill batches, so that trainings on few images have whole batches, too."""
    length = math.lcm(len(dataset), batch_size)
    places = torch.arange(length, dtype=torch.int64, device=dataset.images.device) % len(dataset)
    return dataset.select(places)


class HalfExperiment(Experiment):
    """The experiment of a row whose training set is some images of one half of the data.

    Trainings on any number of images have as many steps, to within an epoch, and the same initial weights, times and
    noise; those of the two halves have the same order, too. Networks are not given classes: few images lack some.

    Parameters
    ----------
    row : Row
        What is trained on what.
    study : Study
        How large, and where it is kept.
    half, count
        As for `half_of`.
    load_whole : callable
        Gives the whole data set.
    largest : int
        The largest count: `epochs` of the study are passes over so many images.
    scales_from : HalfExperiment, optional
        The experiment whose calibrated scales are used; by default its own.
    """

    def __init__(
        self,
        row: Row,
        study: Study,
        half: str,
        count: int,
        load_whole: Callable[[], DataSet],
        largest: int,
        scales_from: HalfExperiment | None = None,
    ) -> None:
        super().__init__(row, study)
        self.half, self.count, self.largest = half, count, largest
        self.folder = study.folder / f"transition-{row.name}" / f"{half}-{count}"
        self.network_folder = self.folder / "network"
        # The network has the theories' steps: the final images of all are x0hat at the same level.
        options = {**self.sizes.network_options, "class_conditional": False}
        self.sizes = replace(self.sizes, network_steps=THEORY_STEPS, network_options=options)
        self._load_whole, self._scales_from = load_whole, scales_from
        self._images: DataSet | None = None

    def step(self, name: str) -> str:
        """Name, unique in a study, under which a step is forecast, reported and recorded."""
        return f"{self.row.name} {self.half} {self.count}: {name}"

    def load_dataset(self) -> DataSet:
        """Give the images of the half, chosen once."""
        if self._images is None:
            self._images = half_of(self._load_whole(), self.half, self.count, self.study.config.seed)
        return self._images

    def load_plan(self) -> TrainPlan:
        """Plan the training, once, on images that are repeated to fill its batches."""
        if self._plan is None:
            config, access = self._training_config(), access_within(self.study.access, self.study.memory)
            images = repeated(self.load_dataset(), config.batch_size)
            self._plan = prepare_training(config, access, dataset=images)
        return self._plan

    def _training_config(self) -> TrainConfig:
        config, epochs = super()._training_config(), self.study.config.epochs
        passed = PASSED[self.study.config.preset] if epochs is None else epochs * self.largest
        images = math.lcm(self.count, config.batch_size)
        own = max(1, round(passed / images))
        decay = FALL ** (config.batch_size / (own * images))
        return config.model_copy(update={"epochs": own, "lr_decay": decay})

    def scales_owner(self) -> Experiment:
        """Give the experiment whose calibrated scales are used."""
        return self if self._scales_from is None else self._scales_from
