"""The UNet of Ho et al. (2020) under the names of its common PyTorch port, as baselines of other projects use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

import mosaic
from mosaic_plugins.layers import Multipliers, Resolutions, check_attention, check_sides, sinusoids
from mosaic_plugins.references import DDPM, LUKOIANOV

__all__ = ["DDPMUNet"]

GROUPS = 32

TABLE = "time_embedding.timembedding.0.weight"  # of the port: embeddings of all timesteps, which are not learned

ROUNDING = 1e-3  # of the angles of late timesteps, in float32


class TimeFeatures(nn.Module):
    """Sines and cosines of the time in turn, (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, time: Tensor) -> Tensor:
        """Embed times (B,)."""
        return torch.stack(sinusoids(time, self.width, last=False), dim=-1).flatten(1)


class TimeEmbedding(nn.Module):
    """Embedding (B, 4 width) of the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timembedding = nn.Sequential(
            TimeFeatures(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width)
        )

    def forward(self, time: Tensor) -> Tensor:
        """Embed times (B,)."""
        embedding: Tensor = self.timembedding(time)
        return embedding


class AttentionBlock(nn.Module):
    """Residual self-attention over all positions, one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels)
        self.proj_q, self.proj_k, self.proj_v, self.proj = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        normed = self.group_norm(h)
        query, key, value = (of(normed).flatten(2).mT for of in (self.proj_q, self.proj_k, self.proj_v))
        mixed = functional.scaled_dot_product_attention(query, key, value).mT.reshape(h.shape)
        result: Tensor = h + self.proj(mixed)
        return result


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each after a group norm and SiLU, with the embedding added between them."""

    def __init__(self, channels_in: int, channels_out: int, width: int, attends: bool = False) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels_out, 3, padding=1)
        )
        self.temb_proj = nn.Sequential(nn.SiLU(), nn.Linear(width, channels_out))
        self.block2 = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_out),
            nn.SiLU(),
            nn.Identity(),  # where the port has dropout, which is for training alone
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
        )
        is_same = channels_in == channels_out
        self.shortcut = nn.Identity() if is_same else nn.Conv2d(channels_in, channels_out, 1)
        self.attn = AttentionBlock(channels_out) if attends else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H, W)."""
        inner = self.block2(self.block1(h) + self.temb_proj(embedding)[:, :, None, None])
        result: Tensor = self.attn(inner + self.shortcut(h))
        return result


class Resample(nn.Module):
    """Half the sides, by a convolution of stride 2; or twice the sides, by repeating pixels before a convolution."""

    def __init__(self, channels: int, is_up: bool) -> None:
        super().__init__()
        self.is_up = is_up
        self.main = nn.Conv2d(channels, channels, 3, stride=1 if is_up else 2, padding=1)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H / 2, W / 2), or to (B, C, 2 H, 2 W)."""
        result: Tensor = self.main(functional.interpolate(h, scale_factor=2.0) if self.is_up else h)
        return result


class DDPMModule(nn.Module):
    """Residual blocks, down to the lowest resolution and back up; every block's output is a skip connection."""

    def __init__(self, channels: int, options: DDPMUNet.Options) -> None:
        super().__init__()
        base, width = options.channels, 4 * options.channels
        widths = [base * multiplier for multiplier in options.multipliers]
        last, size, skips = len(widths) - 1, base, [base]
        self.time_embedding = TimeEmbedding(base)
        self.head = nn.Conv2d(channels, base, 3, padding=1)
        self.downblocks, self.upblocks = nn.ModuleList(), nn.ModuleList()
        for level, out in enumerate(widths):
            for _ in range(options.blocks):
                self.downblocks.append(ResidualBlock(size, out, width, level in options.attention))
                size = out
                skips.append(size)
            if level != last:
                self.downblocks.append(Resample(size, is_up=False))
                skips.append(size)
        self.middleblocks = nn.ModuleList(ResidualBlock(size, size, width, attends) for attends in (True, False))
        for level, out in reversed(list(enumerate(widths))):
            for _ in range(options.blocks + 1):
                self.upblocks.append(ResidualBlock(size + skips.pop(), out, width, level in options.attention))
                size = out
            if level:
                self.upblocks.append(Resample(size, is_up=True))
        self.tail = nn.Sequential(nn.GroupNorm(GROUPS, size), nn.SiLU(), nn.Conv2d(size, channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict eps (B, C, H, W) of x at the timesteps t (B,), numbers from 0 to 999 that need not be whole."""
        embedding = self.time_embedding(t)
        h = self.head(x)
        skips = [h]
        for block in self.downblocks:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middleblocks:
            h = block(h, embedding)
        for block in self.upblocks:
            h = block(h if isinstance(block, Resample) else torch.cat([h, skips.pop()], dim=1), embedding)
        eps: Tensor = self.tail(h)
        return eps


class DDPMUNet(mosaic.Network):
    """The UNet of Ho et al. 2020, with group norms and self-attention at its lowest resolution: not local.

    Its weights have the names of the PyTorch port w86763777/pytorch-ddpm, whose constructor the baseline of Lukoianov
    et al. 2025 calls (128 channels, multipliers 1, 2, 3, 4, two blocks; on images of 28 x 28 pixels 64 and 1, 2, 2).
    Converted weights are told the index of the training timestep of `ddpm-linear`, which is made continuous: within
    3.5 of 1000 timesteps of the discrete betas.

    References: Ho et al. 2020, app. B; Lukoianov et al. 2025 (arXiv 2509.09672).
    """

    name = "ddpm-unet"
    references = (DDPM, LUKOIANOV)
    convention = mosaic.Convention(time="timestep")

    class Options(mosaic.Options):
        """Sizes; the defaults are those for images of 32 x 32 and 64 x 64 pixels."""

        channels: int = Field(
            128, ge=GROUPS, le=1024, multiple_of=GROUPS, description="Channels of the first layer, a multiple of 32."
        )
        multipliers: Multipliers = Field(
            (1, 2, 3, 4),
            description="Channels at each resolution, the finest first, as multiples of `channels`.",
        )
        blocks: int = Field(2, ge=1, le=16, description="Residual blocks at each resolution.")
        attention: Resolutions = Field(
            (), description="Resolutions with self-attention: 0 for the finest, 1 for the next, ..."
        )

        @model_validator(mode="after")
        def _has_resolutions(self) -> Self:
            check_attention(self.attention, len(self.multipliers))
            return self

    options: Options

    def build(self, channels: int, classes: int) -> nn.Module:
        """Build the module; it has no use for classes."""
        return DDPMModule(channels, self.options)

    def check(self, shape: tuple[int, int, int]) -> None:
        """Refuse sides that cannot be halved as often."""
        check_sides(self, "multipliers", shape)

    @classmethod
    def recognise(cls, weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
        """Know the weights of the port."""
        head, first, table = (weights.get(name) for name in ("head.weight", "downblocks.0.block1.0.weight", TABLE))
        if head is None or first is None or table is None or head.ndim != 4 or table.ndim != 2:
            return None
        base, timesteps = len(head), len(table)
        features = TimeFeatures(base)(torch.arange(timesteps, dtype=torch.float64, device="cpu"))
        if features.shape != table.shape or not torch.allclose(table.double(), features, rtol=0, atol=ROUNDING):
            return None
        levels: list[list[int]] = [[]]
        for number in sorted({int(name.split(".")[1]) for name in weights if re.match(r"downblocks\.\d+\.", name)}):
            if f"downblocks.{number}.main.weight" in weights:
                levels.append([])
            else:
                levels[-1].append(number)
        ends = [weights.get(f"downblocks.{level[-1]}.block2.3.weight") if level else None for level in levels]
        attends = [level for level, blocks in enumerate(levels) if blocks and _has_attention(weights, blocks[0])]
        return mosaic.ForeignWeights(
            family="the UNet of Ho et al. 2020 in PyTorch (w86763777/pytorch-ddpm)",
            options={
                "channels": base,
                "multipliers": tuple(1 if end is None else max(1, len(end) // base) for end in ends),
                "blocks": max(1, len(levels[0])),
                "attention": tuple(attends),
            },
            channels=head.shape[1],
            convention=cls.convention.model_copy(update={"timesteps": timesteps}),
            schedule="ddpm-linear",
            unused=(TABLE,),
        )


def _has_attention(weights: Mapping[str, Tensor], number: int) -> bool:
    return f"downblocks.{number}.attn.proj.weight" in weights
