"""The UNet of Karras et al. (2022), EDM: DDPM++ of Song et al. (2021), as their models of CIFAR10 have it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

import mosaic
from mosaic_plugins.layers import Multipliers, Resolutions, check_attention, check_sides, sinusoids
from mosaic_plugins.references import EDM, SDE

__all__ = ["EDMUNet"]

GROUP, GROUPS = 4, 32  # channels in a group of a norm at least, and groups at most

AVERAGE = 0.25  # weights of the resampling filter of DDPM++: the mean of 2 x 2 pixels


def norm(channels: int) -> nn.GroupNorm:
    """Group norm over positions and channels of a group."""
    return nn.GroupNorm(min(GROUPS, channels // GROUP), channels, eps=1e-6)


class Block(nn.Module):
    """Residual block of two 3 x 3 convolutions, which may change the resolution, and self-attention after it."""

    def __init__(
        self, channels_in: int, channels_out: int, width: int, resample: float = 1.0, attends: bool = False
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm0, self.norm1 = norm(channels_in), norm(channels_out)
        self.conv0 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv1 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.affine = nn.Linear(width, channels_out)
        is_same = channels_in == channels_out and resample == 1
        self.skip = None if is_same else nn.Conv2d(channels_in, channels_out, 1)
        self.norm2 = norm(channels_out) if attends else None
        self.qkv = nn.Conv2d(channels_out, 3 * channels_out, 1) if attends else None
        self.proj = nn.Conv2d(channels_out, channels_out, 1) if attends else None

    def _resampled(self, h: Tensor) -> Tensor:
        if self.resample == 1:
            return h
        return functional.avg_pool2d(h, 2) if self.resample < 1 else functional.interpolate(h, scale_factor=2.0)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H', W'), with half, the same or twice the sides."""
        inner = self.conv0(self._resampled(functional.silu(self.norm0(h))))
        inner = self.norm1(inner + self.affine(embedding)[:, :, None, None])
        inner = self.conv1(functional.silu(inner))
        beside = h if self.skip is None else self.skip(self._resampled(h))
        result: Tensor = (inner + beside) * math.sqrt(0.5)
        if self.norm2 is not None and self.qkv is not None and self.proj is not None:
            # Query, key and value of a channel are neighbours.
            mixed = self.qkv(self.norm2(result)).reshape(len(h), result.shape[1], 3, -1)
            query, key, value = (each.mT for each in mixed.unbind(2))
            attended = functional.scaled_dot_product_attention(query, key, value).mT.reshape(result.shape)
            result = (result + self.proj(attended)) * math.sqrt(0.5)
        return result


class EDMModule(nn.Module):
    """Residual blocks, down to the lowest resolution and back up; every module's output is a skip connection.

    Modules have the names of EDM's code, with the resolution's number in place of its sides.
    """

    def __init__(self, channels: int, classes: int, options: EDMUNet.Options) -> None:
        super().__init__()
        base, width = options.channels, 4 * options.channels
        widths = [base * multiplier for multiplier in options.multipliers]
        self.base, self.classes = base, classes
        self.map_label = nn.Linear(classes, base) if classes else None
        self.map_layer0, self.map_layer1 = nn.Linear(base, width), nn.Linear(width, width)
        size, skips = base, [base]
        self.enc = nn.ModuleDict({"0_conv": nn.Conv2d(channels, base, 3, padding=1)})
        for level, out in enumerate(widths):
            if level:
                self.enc[f"{level}_down"] = Block(size, size, width, resample=0.5)
                skips.append(size)
            for number in range(options.blocks):
                self.enc[f"{level}_block{number}"] = Block(size, out, width, attends=level in options.attention)
                size = out
                skips.append(size)
        self.dec = nn.ModuleDict()
        for level, out in reversed(list(enumerate(widths))):
            if level == len(widths) - 1:
                self.dec[f"{level}_in0"] = Block(size, size, width, attends=True)
                self.dec[f"{level}_in1"] = Block(size, size, width)
            else:
                self.dec[f"{level}_up"] = Block(size, size, width, resample=2)
            for number in range(options.blocks + 1):
                attends = number == options.blocks and level in options.attention
                self.dec[f"{level}_block{number}"] = Block(size + skips.pop(), out, width, attends=attends)
                size = out
        self.dec["0_aux_norm"] = norm(size)
        self.dec["0_aux_conv"] = nn.Conv2d(size, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Give F (B, C, H, W) of x, at t = ln(sigma) / 4 (B,)."""
        embedding = torch.cat(sinusoids(t, self.base, last=True), dim=1)
        if self.map_label is not None and labels is not None:
            one_hot = functional.one_hot(labels, self.classes).to(x.dtype)
            embedding = embedding + self.map_label(one_hot * math.sqrt(self.classes))
        embedding = functional.silu(self.map_layer1(functional.silu(self.map_layer0(embedding))))
        h, skips = x, []
        for name, block in self.enc.items():
            h = block(h) if name == "0_conv" else block(h, embedding)
            skips.append(h)
        for name, block in self.dec.items():
            if "aux" not in name:
                h = block(torch.cat([h, skips.pop()], dim=1) if "block" in name else h, embedding)
        result: Tensor = self.dec["0_aux_conv"](functional.silu(self.dec["0_aux_norm"](h)))
        return result


class EDMUNet(mosaic.Network):
    """DDPM++ as in EDM: residual blocks with group norms and self-attention, not local.

    The defaults are the sizes of EDM's models of CIFAR10; those of FFHQ and AFHQ, of 64 x 64 pixels, have multipliers
    1, 2, 2, 2 and attention at resolution 2. Converted weights are the raw network F of EDM's preconditioning, told
    ln(sigma) / 4; EDM's baselines of VP have the same names but another preconditioning, so do not convert those.
    It is for conversion: F is not trained here.

    References: Karras et al. 2022, eq. 7, tables 1 and 7; Song et al. 2021 (DDPM++).
    """

    name = "edm-unet"
    references = (EDM, SDE)
    convention = mosaic.Convention(preconditioning="edm")

    class Options(mosaic.Options):
        """Sizes, and whether the network is given classes."""

        channels: int = Field(128, ge=GROUP, le=1024, description="Channels of the first layer.")
        multipliers: Multipliers = Field(
            (2, 2, 2),
            description="Channels at each resolution, the finest first, as multiples of `channels`.",
        )
        blocks: int = Field(
            4, ge=1, le=16, description="Residual blocks at each resolution, and one more on the way up."
        )
        attention: Resolutions = Field(
            (1,), description="Resolutions with self-attention: 0 for the finest, 1 for the next, ..."
        )
        class_conditional: bool = Field(False, description="Whether the network is given the class of the image.")

        @model_validator(mode="after")
        def _has_resolutions(self) -> Self:
            check_attention(self.attention, len(self.multipliers))
            return self

        @model_validator(mode="after")
        def _can_be_grouped(self) -> Self:
            most = 2 * self.channels * max(self.multipliers)
            if self.channels % GROUPS and (self.channels % GROUP or most > GROUP * GROUPS):
                raise ValueError(
                    f"channels must be a multiple of {GROUPS}, or of {GROUP} where no layer has over "
                    f"{GROUP * GROUPS} (here {most})"
                )
            return self

    options: Options

    def build(self, channels: int, classes: int) -> nn.Module:
        """Build the module, with PyTorch's default initialisation."""
        return EDMModule(channels, classes, self.options)

    def check(self, shape: tuple[int, int, int]) -> None:
        """Refuse sides that cannot be halved as often."""
        check_sides(self, "multipliers", shape)

    @classmethod
    def recognise(cls, weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
        """Know the `state_dict` of EDM's networks of the kind DDPM++; those of its other kinds are refused.

        Raises
        ------
        UsageError
            If they are of NCSN++ or ADM.
        """
        names = [match for name in weights if (match := re.fullmatch(r"enc\.(\d+)x\1_conv\.weight", name))]
        if not names or "map_layer0.weight" not in weights:
            return None
        filters = [value for name, value in weights.items() if name.endswith("resample_filter")]
        is_average = all(value.shape[-2:] == (2, 2) and bool((value == AVERAGE).all()) for value in filters)
        if "map_noise.freqs" in weights or not is_average:
            raise mosaic.UsageError("These are weights of EDM's NCSN++ (ve); convert those of its DDPM++ (vp).")
        if "out_norm.weight" in weights:
            raise mosaic.UsageError("These are weights of EDM's ADM; convert those of its DDPM++ (cifar10, ffhq).")
        side, first = int(names[0][1]), weights[names[0][0]]
        base, levels = len(first), 0
        while f"enc.{side >> levels}x{side >> levels}_block0.conv0.weight" in weights:
            levels += 1
        sides = [f"{side >> level}x{side >> level}" for level in range(max(1, levels))]
        ends = [weights.get(f"enc.{each}_block0.conv0.weight") for each in sides]
        blocks = sum(f"enc.{sides[0]}_block{number}.conv0.weight" in weights for number in range(16))
        labels = weights.get("map_label.weight")

        def rename(own: str) -> str:
            return re.sub(r"^(enc|dec)\.(\d)_", lambda match: f"{match[1]}.{sides[int(match[2])]}_", own)

        return mosaic.ForeignWeights(
            family="EDM's DDPM++ with its preconditioning, sigma_data 0.5 (Karras et al. 2022)",
            options={
                "channels": base,
                "multipliers": tuple(1 if end is None else max(1, len(end) // base) for end in ends),
                "blocks": max(1, blocks),
                "attention": tuple(n for n, each in enumerate(sides) if f"enc.{each}_block0.qkv.weight" in weights),
                "class_conditional": labels is not None,
            },
            channels=first.shape[1],
            classes=0 if labels is None else labels.shape[1],
            sides=(side, side),
            convention=cls.convention,
            schedule="edm",
            rename=rename,
            # Of augmentation, which is off where the network is used; and of resampling, which is known.
            unused=["map_augment.weight", *(name for name in weights if name.endswith("resample_filter"))],
        )
