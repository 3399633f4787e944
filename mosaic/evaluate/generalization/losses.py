"""Denoising losses of training and held-out images, with the same noise for all scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.evaluate.generalization.plan import HELD_OUT, LEFT_OUT, TRAINING, UNIT, GeneralizationPlan
from mosaic.evaluate.statistics import difference_of_means, interval_of
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, silent
from mosaic.storage.schema import GENERALIZATION_SCHEMA, LOSSES, described

__all__ = ["losses_of", "with_gaps"]

REFERENCES = ("x / a", "mean image")
TAILS = ("_mean", "_low", "_high")
Array = NDArray[np.float64]


@standard_torch()
@torch.no_grad()
def losses_of(plan: GeneralizationPlan, batch: range, progress: Progress = silent) -> xr.Dataset:
    """Evaluate every score at every level of a batch of samples; `progress` is in the plan's work."""
    count, levels, left_out = len(batch), plan.levels, LEFT_OUT in plan.sets
    losses = np.full((len(plan.scores), len(plan.sets), len(levels), count), np.nan)
    references = np.empty((len(REFERENCES), len(plan.sets), len(levels), count))
    clean, labels = plan.clean(batch), plan.labels_of(batch)
    done, total = 0.0, plan.whole_work(batch)
    for column, (t, level) in enumerate(levels.items()):
        x = plan.noisy(batch, level)
        references[:, :2, column] = _references(plan, x, clean, level)
        for row, (name, own) in enumerate(plan.scores.items()):
            errors = _errors(own.model.denoise(x, level, labels, own.scale_at(level)), clean)
            if not np.isfinite(errors).all():
                raise UsageError(f"{own!r} is not finite at noise {level.noise:.3g}, so it has no loss there.")
            losses[row, :2, column] = errors.reshape(2, count)
            done += plan.work(name, level, batch)
            progress(min(done, total), total, UNIT, f"t = {t:.2f}, {name}")
    if left_out:
        # The mean without an image is farther from it by the factor N / (N - 1).
        factors = [1.0, (len(plan.dataset) / max(1, len(plan.dataset) - 1)) ** 2]
        references[:, 2] = references[:, 0] * np.array(factors)[:, None, None]
    for place, n in enumerate(batch if left_out else ()):
        losses[:, 2, :, place] = _left_out(plan, n)
        done += plan.left_out_work(range(n, n + 1))
        progress(min(done, total), total, UNIT, f"without image {n}")
    return _as_dataset(plan, batch, losses, references)


def _errors(denoised: Tensor, clean: Tensor) -> Array:
    """Mean squared error per value of each image (B,)."""
    return np.asarray((denoised.double() - clean.double()).square().flatten(1).mean(1).cpu().numpy())


def _references(plan: GeneralizationPlan, x: Tensor, clean: Tensor, level: Level) -> Array:
    """Losses (reference, set, B) that need no score: of the noisy image over a, and of the mean training image."""
    losses = np.stack([_errors(x / level.signal, clean), _errors(plan.mean_image[None], clean)])
    return losses.reshape(len(REFERENCES), 2, -1)


def _left_out(plan: GeneralizationPlan, n: int) -> Array:
    """Losses (score, time) of the n-th training image, of machines that do not have it; NaN of others."""
    losses = np.full((len(plan.scores), len(plan.levels)), np.nan)
    sample, one = plan.samples[TRAINING], slice(n, n + 1)
    label = sample.labels[one] if plan.is_conditional else None
    rest = _without(plan.dataset, sample.index[n], label)
    for row, (name, own) in enumerate(plan.scores.items()):
        if rest is None or name not in plan.left_out:
            continue
        model = type(own.model)(own.model.options, rest)
        for column, level in enumerate(plan.levels.values()):
            x = sample.noisy(range(n, n + 1), level)
            losses[row, column] = _errors(model.denoise(x, level, label, own.scale_at(level)), sample.images[one])[0]
    return losses


def _without(dataset: DataSet, place: int, label: Tensor | None) -> DataSet | None:
    """Give the training set without an image; None where nothing remains to compare, of its class if it is given."""
    others = torch.arange(len(dataset), dtype=torch.int64, device="cpu") != place
    compared = others if label is None or dataset.labels is None else others & (dataset.labels == label).cpu()
    if not bool(compared.any()):
        return None
    return dataset.select(others.nonzero()[:, 0].to(dataset.images.device))


def _as_dataset(plan: GeneralizationPlan, batch: range, losses: Array, references: Array) -> xr.Dataset:
    levels, part = list(plan.levels.values()), slice(batch.start, batch.stop)
    samples = [plan.samples[TRAINING if name == LEFT_OUT else name] for name in plan.sets]
    coordinates: Mapping[str, object] = {
        "score": list(plan.scores),
        "set": list(plan.sets),
        "time": list(plan.levels),
        "sample": list(batch),
        "reference": list(REFERENCES),
        "signal": ("time", [level.signal for level in levels]),
        "noise": ("time", [level.noise for level in levels]),
        "scale": (("score", "time"), [[float(own.scale_at(at)) for at in levels] for own in plan.scores.values()]),
        "index": (("set", "sample"), [list(own.index[part]) for own in samples]),
        "seed": (("set", "sample"), [list(own.seeds[part]) for own in samples]),
        "label": (("set", "sample"), [own.labels[part].tolist() for own in samples]),
    }
    variables = {"loss": (LOSSES, losses), "reference_loss": (("reference", *LOSSES[1:]), references)}
    return described(xr.Dataset(variables, coordinates), GENERALIZATION_SCHEMA)


def with_gaps(table: xr.Dataset) -> xr.Dataset:
    """Add what the losses of all samples say together.

    Parameters
    ----------
    table : xarray.Dataset
        `loss` (score, set, time, sample) and `reference_loss` (reference, set, time, sample).

    Returns
    -------
    xarray.Dataset
        `table` with `loss_mean` (score, set, time) and the ends of its interval, `loss_low` and `loss_high`; with `gap`
        (score, time), the mean of held-out images minus that of training images, and `gap_low`, `gap_high`; and with
        `reference_loss_mean` (reference, set, time).
    """
    losses = table["loss"].transpose(*LOSSES)
    flat = losses.values.reshape(-1, losses.sizes["sample"])
    means = np.array([interval_of(row, "mean") for row in flat]).reshape(*losses.shape[:3], 3)
    pairs = zip(*(losses.sel(set=name).values.reshape(-1, flat.shape[1]) for name in (HELD_OUT, TRAINING)), strict=True)
    gaps = np.array([difference_of_means(*pair) for pair in pairs]).reshape(losses.shape[0], losses.shape[2], 3)
    added: dict[str, Any] = {f"loss{tail}": (LOSSES[:3], means[..., place]) for place, tail in enumerate(TAILS)}
    added |= {name: (("score", "time"), gaps[..., n]) for n, name in enumerate(("gap", "gap_low", "gap_high"))}
    added["reference_loss_mean"] = table["reference_loss"].mean("sample").variable
    return described(table.assign(added), GENERALIZATION_SCHEMA)
