"""ELS as one writes it down first: the yardstick of `mosaic bench`, and of nothing else.

All windows of a few images at a time are cut out (unfold), compared by one float32 matrix product, and summed with a
running log-sum-exp. Windows that hang over the border meet those that hang over alike, group by group.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import unfold

from mosaic.schedule import Level

__all__ = ["straightforward_els"]


def straightforward_els(x: Tensor, images: Tensor, level: Level, k: int, batch: int = 16) -> Tensor:
    """Posterior mean (B, C, H, W) of ELS with boundary `zeros`, `batch` training images at a time, in float32.

    Right where float32 is enough: at low noise its cancellation is not guarded against.
    """
    samples, channels, height, width = x.shape
    groups, queries = _groups(height, width, k), _windows(x, k)
    log_sums = [torch.full((samples * len(places), 1), -torch.inf) for places in groups]
    means = [torch.zeros(samples * len(places), channels) for places in groups]
    for some in images.split(batch):
        windows, pixels = _windows(some, k), some.flatten(2).transpose(1, 2)
        for g, places in enumerate(groups):
            q, keys = queries[:, places].flatten(0, 1), windows[:, places].flatten(0, 1)
            distances = q.square().sum(1, keepdim=True) - 2 * level.signal * q @ keys.T
            distances += level.signal**2 * keys.square().sum(1)
            logits = distances / (-2 * level.noise**2)
            log_sum = torch.logaddexp(log_sums[g], logits.logsumexp(1, keepdim=True))
            means[g] = means[g] * (log_sums[g] - log_sum).exp()
            means[g] += (logits - log_sum).exp() @ pixels[:, places].flatten(0, 1)
            log_sums[g] = log_sum
    result = torch.empty(samples, height * width, channels)
    for places, mean in zip(groups, means, strict=True):
        result[:, places] = mean.view(samples, len(places), channels)
    return result.transpose(1, 2).reshape(x.shape)


def _windows(images: Tensor, k: int) -> Tensor:
    """All windows (n, H W, C k k), zero outside."""
    return unfold(images, k, padding=k // 2).transpose(1, 2)


def _groups(height: int, width: int, k: int) -> list[Tensor]:
    """Pixels, numbered row by row, whose windows hang over the border alike."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for i in range(height):
        for j in range(width):
            over_rows = max(0, k // 2 - i), max(0, i + k // 2 - height + 1)
            over_cols = max(0, k // 2 - j), max(0, j + k // 2 - width + 1)
            alike.setdefault(over_rows + over_cols, []).append(i * width + j)
    return [torch.tensor(places) for places in alike.values()]
