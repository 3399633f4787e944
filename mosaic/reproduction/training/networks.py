"""The networks of the study: the row's own, and the same with fewer passes or fewer images.

Each is a training of its own. A snapshot of the longest training is not a shorter training: by default the learning
rate falls to the same end over any number of passes, so a short training ends at a low rate and a snapshot does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from mosaic.reproduction.study.experiment import Experiment

__all__ = ["ALL", "IMAGES", "PASSES", "POINTS", "Point", "network_at", "samples_of"]

PASSES, IMAGES = "passes", "images"
CALIBRATION_SAMPLES, SAMPLES = 4, 32  # unless the settings say how many; the row's own network has the row's


@dataclass(frozen=True)
class Point:
    """A network of the study.

    Attributes
    ----------
    series : str
        What there is less of: passes, or images; "" of neither.
    divisor : int
        What the row's own number is divided by.
    """

    series: str = ""
    divisor: int = 1

    @property
    def name(self) -> str:
        """How it is called in what is stored and said."""
        return f"1/{self.divisor} of the {self.series}" if self.series else "all"


ALL = Point()
POINTS = (*(Point(PASSES, divisor) for divisor in (64, 16, 4)), *(Point(IMAGES, divisor) for divisor in (16, 4)), ALL)


def network_at(own: Experiment, point: Point) -> Experiment:
    """Give the experiment of a network, in a folder inside that of the row; the row's own is `own` itself.

    With fewer passes, the images and their order are the row's. With fewer images, there are about as many training
    steps as the row has: each image is seen more often. The fewer images are among the more.
    """
    if point == ALL:
        return own
    plan, config = own.load_plan(), own.study.config
    update: dict[str, Any] = {
        "calibration_samples": config.calibration_samples or CALIBRATION_SAMPLES,
        "samples": samples_of(own),
    }
    if point.series == PASSES:
        update["epochs"] = max(1, round(plan.config.epochs / point.divisor))
        name = f"epochs-{update['epochs']}"
    else:
        images = max(1, round(len(plan.dataset) / point.divisor))
        steps_per_epoch = math.ceil(images / plan.config.batch_size)
        update["epochs"] = max(1, round(plan.steps / steps_per_epoch))
        update["dataset_options"] = {**config.dataset_options, "limit": images}
        name = f"images-{images}"
    row = f"{own.row.name}/{name}"
    study = replace(own.study, config=config.model_copy(update=update))
    return Experiment(replace(own.row, name=row, scales_of=row), study)


def samples_of(own: Experiment) -> int:
    """Give the number of samples that are compared: the first of those of the row."""
    return min(own.study.config.samples or SAMPLES, own.samples)
