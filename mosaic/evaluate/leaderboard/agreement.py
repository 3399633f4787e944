"""Agreement of images by a metric, and its median over trainings and samples with an interval."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mosaic.device import standard_torch
from mosaic.evaluate.statistics import crossed_interval
from mosaic.interfaces.metric import Metric

__all__ = ["Values", "evaluated", "partial_correlation", "with_interval"]

Values = NDArray[np.float64]
NEGLIGIBLE = 1e-10  # share of an image's variance that rounding may leave of what another image explains wholly


@standard_torch()
def evaluated(metric: Metric, images: NDArray[np.float32], reference: NDArray[np.float32]) -> Values:
    """Give a metric (samples,) of images (samples, C, H, W) against a reference."""
    values: Values = metric(torch.from_numpy(images), torch.from_numpy(reference)).double().cpu().numpy()
    return values


def partial_correlation(
    images: NDArray[np.float32], reference: NDArray[np.float32], given: NDArray[np.float32]
) -> Values:
    """Correlate images with a reference over pixels, each less what a line in a third image explains of it.

    Parameters
    ----------
    images, reference, given : array (samples, C, H, W)
        Image by image.

    Returns
    -------
    array (samples,)
        From -1 to 1, 0 if an image says nothing of the reference that `given` does not say; NaN if `given` explains
        one of the two wholly.

    References
    ----------
    Yule 1907.
    """
    flat = [batch.reshape(len(batch), -1).astype(np.float64) for batch in (images, reference, given)]
    first, second, base = (rows - rows.mean(1, keepdims=True) for rows in flat)
    with np.errstate(divide="ignore", invalid="ignore"):
        rests = [rows - base * ((rows * base).sum(1) / (base * base).sum(1))[:, None] for rows in (first, second)]
        shares = [(rest**2).sum(1) / (rows**2).sum(1) for rest, rows in zip(rests, (first, second), strict=True)]
        values = (rests[0] * rests[1]).sum(1) / np.sqrt((rests[0] ** 2).sum(1) * (rests[1] ** 2).sum(1))
    values[~((shares[0] > NEGLIGIBLE) & (shares[1] > NEGLIGIBLE))] = np.nan
    return np.asarray(values)


def with_interval(name: str, dims: tuple[str, ...], values: Values) -> dict[str, tuple[object, ...]]:
    """Give values along `training` and a last dimension of samples, with their median over both and its interval."""
    place = dims.index("training")
    tables = np.moveaxis(values, place, -2)
    kept = tuple(dim for dim in dims[:-1] if dim != "training")
    ends = np.array([crossed_interval(table) for table in tables.reshape(-1, *tables.shape[-2:])])
    ends = ends.reshape(*tables.shape[:-2], 3)
    return {
        name: (dims, values),
        **{f"{name}_{end}": (kept, ends[..., number]) for number, end in enumerate(("median", "low", "high"))},
    }
