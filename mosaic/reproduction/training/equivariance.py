"""How far a network is from commuting with shifts where ELS commutes with them: its equivariance error of eps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.evaluate.probe.measures import equivariance_errors, seeded_shifts
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level
from mosaic.run.score import Score
from mosaic.sampling.noise import initial_noise

__all__ = ["TIMES", "Moment", "interior_errors", "moments_of"]

TIMES = (0.7, 0.5, 0.3, 0.1)
IMAGES, SHIFTS = 16, 4


@dataclass(frozen=True)
class Moment:
    """Noisy images at a time.

    Attributes
    ----------
    level : Level
        Their noise.
    x : Tensor (B, C, H, W)
        The images.
    window : int
        Side k of the windows of ELS there.
    """

    level: Level
    x: Tensor
    window: int


def moments_of(dataset: DataSet, els: Score, seed: int) -> list[Moment]:
    """Give x = a x_0 + s eps at `TIMES`, of the first 16 images and the noise that a run with this seed starts from."""
    count = min(IMAGES, len(dataset))
    clean, noise = dataset.images[:count].float(), initial_noise(seed, range(count), dataset.shape)
    levels = [els.schedule.level(t) for t in TIMES]
    return [
        Moment(level, level.signal * clean + level.noise * noise.to(clean.device), int(els.scale_at(level)))
        for level in levels
    ]


@standard_torch()
def interior_errors(score: Score, moments: Sequence[Moment], labels: Tensor | None, seed: int) -> NDArray[np.float64]:
    """Equivariance errors (time, sample) of eps in the interior, as shares of eps: |eps(shifted x) - shifted eps(x)|.

    The error is the root mean square over four seeded shifts of up to a quarter of the image, and over the pixels of
    the interior; divided by that of eps(x), which is about 1 unless a network is untrained. NaN without such pixels.

    The interior are the pixels whose k x k window of ELS does not meet the border, before or after the shift, k being
    the row's calibrated scale at that time. There ELS commutes with shifts: its error is 0.

    It is not the interior of the network's own receptive field. A convolutional network commutes with shifts exactly
    where its receptive field lies inside the image, however it is trained: all that it can know of position it is told
    by the padding, up to half a receptive field away. So an error here says that a network looks farther than the
    windows of ELS, and sees another thing there: the border, or what the shift brought in from the other side. There is
    none at the highest noise, where the windows are as large as the receptive field.

    Parameters
    ----------
    score : Score
        A network, or a theory, with its data.
    moments : sequence of Moment
        The same ones for all that are compared.
    labels : Tensor (B,) or None
        Classes of the images.
    seed : int
        Of the shifts.
    """
    errors = []
    for moment in moments:
        eps = partial(score.eps, level=moment.level, labels=labels)
        shifts = seeded_shifts(seed, SHIFTS, *moment.x.shape[2:])
        _, inside = equivariance_errors(eps, moment.x, shifts, moment.window)
        size = eps(moment.x).double().square().mean((1, 2, 3)).sqrt()
        errors.append((inside / size).cpu().numpy())
    return np.stack(errors)
