"""The ResNet and the UNet exactly as the code released with Kamb & Ganguli (ICML 2025) has them.

Names of weights are those of that code, so that its weights can be used. Where ours differ: `networks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

import mosaic
from mosaic_plugins.layers import Padding, conv3x3, sinusoids

__all__ = ["ReleasedResNet", "ReleasedUNet", "recognise_resnet", "recognise_unet"]

FAMILY = "the released {} of Kamb & Ganguli 2025"

GROUPS = 8  # of the normalised embedding, in which no pixel takes part

EMBEDDING = 256  # width of the UNet's embedding


class Embedding(nn.Module):
    """Embedding (B, width) of the time t in [0, 1], at frequencies of at most 1, plus that of the label."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.width = width
        self.class_embeddings = nn.Embedding(classes, width) if classes else None

    def forward(self, t: Tensor, labels: Tensor | None) -> Tensor:
        """Embed times t (B,) and labels (B,)."""
        embedding = torch.cat(sinusoids(t, self.width, last=True), dim=1)
        return embedding if self.class_embeddings is None else embedding + self.class_embeddings(labels)


class ReleasedResNet(nn.Module):
    """h + ReLU(conv(h + embedding)) for each block; the embedding is added once more before the last convolution."""

    def __init__(self, channels: int, classes: int, width: int, blocks: int, padding: Padding) -> None:
        super().__init__()
        self.embedding = Embedding(width, classes)
        self.up_projection = conv3x3(channels, width, padding)
        self.embs = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GroupNorm(GROUPS, width), nn.ReLU()) for _ in range(blocks + 1)
        )
        self.convs = nn.ModuleList(nn.Sequential(conv3x3(width, width, padding), nn.ReLU()) for _ in range(blocks))
        self.down_projection = conv3x3(width, channels, padding)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict eps (B, C, H, W) of x at the times t (B,)."""
        embedding = self.embedding(t, labels)
        *shifts, last = (project(embedding)[:, :, None, None] for project in self.embs)
        h = self.up_projection(x)
        for shift, block in zip(shifts, self.convs, strict=True):
            h = h + block(h + shift)
        eps: Tensor = self.down_projection(h + last)
        return eps


class ReleasedPair(nn.Module):
    """Two 3 x 3 convolutions with ReLU; the embedding is added to their input."""

    def __init__(self, channels_in: int, channels_out: int, padding: Padding) -> None:
        super().__init__()
        self.emb = nn.Sequential(nn.ReLU(), nn.Linear(EMBEDDING, channels_in))
        self.model = nn.Sequential(
            conv3x3(channels_in, channels_out, padding),
            nn.ReLU(),
            conv3x3(channels_out, channels_out, padding),
            nn.ReLU(),
        )

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H, W)."""
        result: Tensor = self.model(h + self.emb(embedding)[:, :, None, None])
        return result


class ReleasedUNet(nn.Module):
    """Pairs of convolutions, down to the lowest resolution and back up; skips come before what is enlarged."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...], padding: Padding) -> None:
        super().__init__()
        self.embedding = Embedding(EMBEDDING, classes)
        *finer, lowest = [ReleasedPair(above, below, padding) for above, below in pairwise((channels, *widths))]
        self.feature_blocks, self.bottleneck = nn.ModuleList(finer), lowest
        upward = [(below, above) for above, below in pairwise(widths)][::-1]
        self.upsamples = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for below, above in upward)
        self.output_blocks = nn.ModuleList(ReleasedPair(2 * above, above, padding) for _, above in upward)
        self.last_emb = nn.Sequential(nn.ReLU(), nn.Linear(EMBEDDING, widths[0]))
        self.output_conv = conv3x3(widths[0], channels, padding)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict eps (B, C, H, W) of x at the times t (B,)."""
        embedding = self.embedding(t, labels)
        h, skips = x, []
        for pair in self.feature_blocks:
            skips.append(pair(h, embedding))
            h = functional.max_pool2d(skips[-1], 2)
        h = self.bottleneck(h, embedding)
        for enlarge, pair in zip(self.upsamples, self.output_blocks, strict=True):
            h = pair(torch.cat([skips.pop(), enlarge(h)], dim=1), embedding)
        eps: Tensor = self.output_conv(h + self.last_emb(embedding)[:, :, None, None])
        return eps


def recognise_resnet(weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
    """Tell whether weights are those of the released ResNet, and its sizes."""
    first = weights.get("up_projection.weight")
    if first is None or first.ndim != 4 or not any(name.startswith("embs.") for name in weights):
        return None
    width, channels = first.shape[:2]
    blocks = len({name.split(".")[1] for name in weights if name.startswith("convs.")})
    return _released("ResNet", weights, {"channels": width, "blocks": blocks}, channels)


def recognise_unet(weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
    """Tell whether weights are those of the released UNet, and its sizes."""
    last, lowest = weights.get("output_conv.weight"), weights.get("bottleneck.model.0.weight")
    if last is None or lowest is None or "feature_blocks.0.model.0.weight" not in weights:
        return None
    levels = len({name.split(".")[1] for name in weights if name.startswith("feature_blocks.")})
    firsts = [weights.get(f"feature_blocks.{level}.model.0.weight") for level in range(levels)]
    widths = [1 if first is None else len(first) for first in firsts]  # a missing one is reported afterwards
    return _released("UNet", weights, {"channels": (*widths, len(lowest))}, len(last))


def _released(
    kind: str, weights: Mapping[str, Tensor], options: Mapping[str, object], channels: int
) -> mosaic.ForeignWeights:
    table = weights.get("embedding.class_embeddings.weight")
    return mosaic.ForeignWeights(
        family=FAMILY.format(kind),
        options={**options, "variant": "released", "class_conditional": table is not None},
        channels=channels,
        classes=0 if table is None else len(table),
        unseen=("padding",),
    )
