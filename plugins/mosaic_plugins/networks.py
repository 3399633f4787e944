"""The networks of Kamb & Ganguli (ICML 2025, app. C.1): a ResNet and a UNet; and each with self-attention.

Sizes and kinds of layers are those of the paper's text. What the text leaves open is ours by default: SiLU, the
embedding of the time (`layers.Condition`), where it is added, the 1 x 1 convolution that ends the UNet. With
`variant=released` all is as in the authors' code (`released.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

import mosaic
from mosaic_plugins.ddpm_unet import DDPMUNet
from mosaic_plugins.edm_unet import EDMUNet
from mosaic_plugins.layers import (
    Attention,
    Condition,
    ConvPair,
    FieldAttention,
    Padding,
    SelfAttention,
    Widths,
    check_sides,
    conv3x3,
)
from mosaic_plugins.references import FINN, KAMB, UNET
from mosaic_plugins.released import GROUPS, ReleasedResNet, ReleasedUNet, recognise_resnet, recognise_unet

__all__ = ["ResNet", "ResNetAttention", "UNet", "UNetAttention"]


class NetworkOptions(mosaic.Options):
    """Options that all built-in networks share."""

    padding: Padding = Field("zeros", description="What convolutions see beyond the border: zeros, or the other side.")
    class_conditional: bool = Field(False, description="Whether the network is given the class of the image.")


Variant = Literal["ours", "released"]

VARIANT = (
    "What the paper's text leaves open: ours, or exactly as in the authors' released code (time embedding, "
    "activations, last convolution)."
)


class ResidualModule(nn.Module):
    """3 x 3 convolution up, residual 3 x 3 convolutions, 3 x 3 convolution down."""

    def __init__(
        self, channels: int, classes: int, width: int, blocks: int, padding: Padding, channels_out: int | None = None
    ) -> None:
        super().__init__()
        self.condition = Condition(width, classes)
        self.up = conv3x3(channels, width, padding)
        self.blocks = nn.ModuleList(conv3x3(width, width, padding) for _ in range(blocks))
        self.conditions = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.down = conv3x3(width, channels_out or channels, padding)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict eps (B, C, H, W) of x at the times t (B,)."""
        condition = self.condition(t, labels)
        h = self.up(x)
        for block, project in zip(self.blocks, self.conditions, strict=True):
            h = h + block(functional.silu(h + project(condition)[:, :, None, None]))
        eps: Tensor = self.down(functional.silu(h))
        return eps


class ResNetOptions(NetworkOptions):
    """Width and depth; the defaults are the paper's."""

    channels: int = Field(256, ge=1, le=4096, description="Channels of the hidden layers.")
    blocks: int = Field(6, ge=0, le=100, description="Residual blocks.")


class ResNet(mosaic.Network):
    """Residual 3 x 3 convolutions at full resolution: local and translation-equivariant but for the padding.

    The default is the paper's size; each block holds one convolution, so the receptive field is 2 blocks + 5. By
    default a block is h + conv(SiLU(h + embedding)), which is ours; with `variant=released` it is the authors'
    h + ReLU(conv(h + embedding)), and the embedding is added once more before the last convolution.

    References: Kamb & Ganguli 2025, app. C.1.
    """

    name = "resnet"
    references = (KAMB,)

    class Options(ResNetOptions):
        """Width, depth, and whether what the paper's text leaves open is ours."""

        variant: Variant = Field("ours", description=VARIANT)

        @model_validator(mode="after")
        def _can_be_normalised(self) -> Self:
            if self.variant == "released" and (self.channels % GROUPS or self.channels < 2 * GROUPS):
                raise ValueError(f"variant released needs a multiple of {GROUPS} channels, at least {2 * GROUPS}")
            return self

    options: Options

    def build(self, channels: int, classes: int) -> nn.Module:
        """Build the module; its eps starts from PyTorch's default initialisation."""
        options = self.options
        kind = ReleasedResNet if options.variant == "released" else ResidualModule
        return kind(channels, classes, options.channels, options.blocks, options.padding)

    @classmethod
    def recognise(cls, weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
        """Know the weights of the authors' released ResNet."""
        return recognise_resnet(weights)

    def receptive_field(self) -> int | None:
        """2 blocks + 5: one pixel to each side for every convolution."""
        return 2 * self.options.blocks + 5


class ResNetAttention(mosaic.Network):
    """The ResNet with one layer of attention at its end: a local field g, plus at each pixel those that it attends to.

    eps(p) = g(p) + sum_q alpha_pq g(q), alpha_pq = softmax_q <g(p), g(q)>, with the ResNet's output for g. With
    `embedding`, g has more channels than the image (ours), and a 1 x 1 convolution reads eps off the sum.

    References: Finn, Keller, Theodosis & Ba 2025 (arXiv 2506.17324).
    """

    name = "resnet-attention"
    references = (FINN, KAMB)

    class Options(ResNetOptions):
        """Those of the ResNet, which gives the local field g, and what the attention over it does."""

        attention: Attention = Field(
            "softmax",
            description="softmax; top1: all weight on the best one (straight-through Gumbel-softmax in training); or "
            "identity: all weight on the pixel itself, which keeps the network local.",
        )
        embedding: int | None = Field(
            None, ge=1, le=1024, description="Channels of g. Default: those of the image, as in the paper."
        )

    options: Options

    def build(self, channels: int, classes: int) -> nn.Module:
        """Build the module; its eps starts from PyTorch's default initialisation."""
        options = self.options
        size = options.embedding or channels
        field = ResidualModule(channels, classes, options.channels, options.blocks, options.padding, size)
        return AttentionModule(field, FieldAttention(options.attention), None if size == channels else channels, size)

    def receptive_field(self) -> int | None:
        """That of the ResNet with attention `identity`; otherwise there is none."""
        return 2 * self.options.blocks + 5 if self.options.attention == "identity" else None


class AttentionModule(nn.Module):
    """A local field, attention over its positions, and a 1 x 1 convolution where the field has more channels."""

    def __init__(self, field: nn.Module, attention: FieldAttention, channels: int | None, size: int) -> None:
        super().__init__()
        self.field, self.attention = field, attention
        self.read = nn.Identity() if channels is None else nn.Conv2d(size, channels, 1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict eps (B, C, H, W) of x at the times t (B,)."""
        eps: Tensor = self.read(self.attention(self.field(x, t, labels)))
        return eps


class UNetModule(nn.Module):
    """Pairs of convolutions, down to the lowest resolution and back up, with skip connections."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...], padding: Padding, attention: bool) -> None:
        super().__init__()
        size = widths[-1]
        self.condition = Condition(size, classes)
        first = widths[0]
        self.enter = ConvPair(channels, first, size, padding)
        self.descend = nn.ModuleList(ConvPair(above, below, size, padding) for above, below in pairwise(widths))
        self.attention = SelfAttention(size) if attention else None
        upward = [(below, above) for above, below in pairwise(widths)][::-1]
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for below, above in upward)
        self.ascend = nn.ModuleList(ConvPair(2 * above, above, size, padding) for _, above in upward)
        self.leave = nn.Conv2d(first, channels, 1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict eps (B, C, H, W) of x at the times t (B,)."""
        condition = self.condition(t, labels)
        levels = [self.enter(x, condition)]
        for pair in self.descend:
            levels.append(pair(functional.max_pool2d(levels[-1], 2), condition))
        h = levels.pop()
        if self.attention is not None:
            h = self.attention(h)
        for enlarge, pair in zip(self.enlarge, self.ascend, strict=True):
            h = pair(torch.cat([enlarge(h), levels.pop()], dim=1), condition)
        eps: Tensor = self.leave(h)
        return eps


class UNetOptions(NetworkOptions):
    """Each resolution after the first halves the sides, so 2^(resolutions - 1) must divide them."""

    channels: Widths = Field((64, 128, 256), description="Channels at each resolution, the finest first.")


class UNet(mosaic.Network):
    """Pairs of 3 x 3 convolutions at full, half and quarter resolution, max-pooling, skip connections.

    The default is the paper's size. Purely convolutional: local, and equivariant under translations by multiples of
    the coarsest pixel. By default the embedding is added between the two convolutions of a pair, and the network ends
    with a 1 x 1 convolution, which is ours. With `variant=released` it is added to the input of a pair and before the
    last convolution, of 3 x 3, as in the authors' code.

    References: Kamb & Ganguli 2025, app. C.1; Ronneberger et al. 2015.
    """

    name = "unet"
    references = (KAMB, UNET)

    class Options(UNetOptions):
        """Channels, and whether what the paper's text leaves open is ours."""

        variant: Variant = Field("ours", description=VARIANT)

        @model_validator(mode="after")
        def _has_resolutions(self) -> Self:
            if self.variant == "released" and len(self.channels) < 2:
                raise ValueError("variant released needs at least two resolutions")
            return self

    options: Options

    def build(self, channels: int, classes: int) -> nn.Module:
        """Build the module; its eps starts from PyTorch's default initialisation."""
        options = self.options
        if options.variant == "released":
            return ReleasedUNet(channels, classes, options.channels, options.padding)
        return UNetModule(channels, classes, options.channels, options.padding, attention=False)

    @classmethod
    def recognise(cls, weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
        """Know the weights of the authors' released UNet."""
        return recognise_unet(weights)

    def receptive_field(self) -> int | None:
        """Give that of the pixel that reaches farthest: pixels differ by their position within a pooling cell."""
        levels, end = len(self.options.channels), 1 if self.options.variant == "released" else 0
        farthest = 0
        for pixel in range(2 ** (levels - 1)):
            low, high = _reach(pixel - end, pixel + end, levels)
            farthest = max(farthest, pixel - low, high - pixel)
        return 2 * farthest + 1

    def check(self, shape: tuple[int, int, int]) -> None:
        """Refuse sides that max-pooling does not divide evenly."""
        check_sides(self, "channels", shape)


def _reach(low: int, high: int, levels: int) -> tuple[int, int]:
    """Input pixels of a level that its output pixels low .. high depend on.

    Each level has a pair of 3 x 3 convolutions before and after the coarser level: 2 pixels to each side for each pair.
    """
    if levels == 1:
        return low - 2, high + 2
    low, high = low - 2, high + 2
    below = _reach(low // 2, high // 2, levels - 1)
    return min(low, 2 * below[0]) - 2, max(high, 2 * below[1] + 1) + 2


class UNetAttention(mosaic.Network):
    """The UNet with self-attention at its lowest resolution: no longer local.

    References: Kamb & Ganguli 2025, sec. 6 (theirs was pretrained and larger).
    """

    name = "unet-attention"
    references = (KAMB, UNET)
    Options = UNetOptions
    options: UNetOptions

    def build(self, channels: int, classes: int) -> nn.Module:
        """Build the module; its eps starts from PyTorch's default initialisation."""
        return UNetModule(channels, classes, self.options.channels, self.options.padding, attention=True)

    def check(self, shape: tuple[int, int, int]) -> None:
        """Refuse sides that max-pooling does not divide evenly."""
        check_sides(self, "channels", shape)


@mosaic.hookimpl
def register_networks(register: mosaic.Register) -> None:
    for network in (ResNet, ResNetAttention, UNet, UNetAttention, EDMUNet, DDPMUNet):
        register(network)
