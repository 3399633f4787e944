"""Layers that the built-in networks share: all pointwise or convolutional, none normalises over space."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

import mosaic
from mosaic_plugins.attention import attention_weights, inner_products

__all__ = [
    "Attention",
    "Condition",
    "ConvPair",
    "FieldAttention",
    "Multipliers",
    "Padding",
    "Resolutions",
    "SelfAttention",
    "Widths",
    "check_attention",
    "check_sides",
    "conv3x3",
    "sinusoids",
]

FREQUENCIES = 64

Padding = Literal["zeros", "circular"]
Attention = Literal["softmax", "top1", "identity"]

Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)]
"""Channels at each resolution."""

Multipliers = Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(min_length=1, max_length=8)]
"""The same, as multiples of a number of channels."""

Resolutions = Annotated[tuple[Annotated[int, Field(ge=0, le=7)], ...], Field(max_length=8)]
"""Numbers of some resolutions, 0 for the finest."""


def check_sides(network: mosaic.Network, option: str, shape: tuple[int, int, int]) -> None:
    """Refuse images (C, H, W) whose sides cannot be halved between all resolutions, one for each entry of an option.

    Raises
    ------
    UsageError
        With the sides, and fewer resolutions as the way out.
    """
    entries = getattr(network.options, option)
    factor = 2 ** (len(entries) - 1)
    if shape[1] % factor or shape[2] % factor:
        raise mosaic.UsageError(
            f"Network '{network.name}' with {len(entries)} resolutions needs sides that are multiples of {factor}, not "
            f"{shape[1]} x {shape[2]}; use fewer: -o network.{option}={','.join(map(str, entries[:-1]))}, for example."
        )


def check_attention(attention: tuple[int, ...], resolutions: int) -> None:
    """Refuse numbers of resolutions that a network does not have, as a validator of its options."""
    missing = [str(number) for number in attention if number >= resolutions]
    if missing:
        raise ValueError(
            f"attention at resolution {', '.join(missing)}, but there are {resolutions}: 0 to {resolutions - 1}"
        )


def conv3x3(channels_in: int, channels_out: int, padding: Padding) -> nn.Conv2d:
    """Convolution that keeps the size; `padding` is `zeros` or `circular`."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode=padding)


def sinusoids(time: Tensor, width: int, last: bool) -> tuple[Tensor, Tensor]:
    """Sines and cosines, each (B, width / 2), of times (B,) at frequencies that fall from 1 to 1 / 10000.

    Parameters
    ----------
    last : bool
        Whether 1 / 10000 is the last frequency itself, or would be the next one after it.

    References: Vaswani et al. 2017, sec. 3.5.
    """
    half = width // 2
    order = torch.arange(half, dtype=time.dtype, device=time.device) / max(1, half - last)
    angles = time[:, None] / 10000**order
    return angles.sin(), angles.cos()


class Condition(nn.Module):
    """Embedding (B, width) of time and, where there are classes, of the label: the same at every pixel. Ours.

    References: Ho et al. 2020, app. B (sinusoidal features of the time, from once to a thousand times its range).
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        frequencies = torch.logspace(0, 3, FREQUENCIES, dtype=torch.float32, device="cpu")
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mix = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.classes = nn.Embedding(classes, width) if classes else None

    def forward(self, t: Tensor, labels: Tensor | None) -> Tensor:
        """Embed times t (B,) in [0, 1] and labels (B,)."""
        angles = t[:, None] * self.frequencies * (math.pi / 2)
        embedding: Tensor = self.mix(torch.cat([angles.sin(), angles.cos()], dim=1))
        return embedding if self.classes is None else embedding + self.classes(labels)


class ConvPair(nn.Module):
    """Two 3 x 3 convolutions, with the condition added between them."""

    def __init__(self, channels_in: int, channels_out: int, width: int, padding: Padding) -> None:
        super().__init__()
        self.first = conv3x3(channels_in, channels_out, padding)
        self.second = conv3x3(channels_out, channels_out, padding)
        self.condition = nn.Linear(width, channels_out)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H, W)."""
        h = functional.silu(self.first(h)) + self.condition(condition)[:, :, None, None]
        return functional.silu(self.second(h))


class SelfAttention(nn.Module):
    """Residual self-attention over all positions, one head; the norm is over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        positions = h.flatten(2).mT
        query, key, value = self.project(self.norm(positions)).chunk(3, dim=-1)
        mixed = self.out(functional.scaled_dot_product_attention(query, key, value))
        result: Tensor = h + mixed.mT.reshape(h.shape)
        return result


class FieldAttention(nn.Module):
    """A local field g and what it attends to: g(p) + sum_q alpha_pq g(q), alpha_pq = softmax_q <g(p), g(q)>.

    The inner products are of the field centred over positions; what is mixed is not. `top1` puts all weight on the q of
    the largest product: of itself while the network is used, by straight-through Gumbel-softmax while it is trained.
    `identity` attends to p itself: 2 g(p), with the same parameters, but local.

    References: Finn, Keller, Theodosis & Ba 2025 (arXiv 2506.17324), the model with one attention layer (line 181 of
    the notes that attention.py names, 187 for `top1`); Jang et al. 2017 (Gumbel-softmax).
    """

    def __init__(self, kind: Attention) -> None:
        super().__init__()
        self.kind = kind

    def weights(self, g: Tensor) -> Tensor:
        """Weights alpha (B, P, P) of a field (B, D, H, W) at P = H W positions; each row sums to 1."""
        if self.kind == "top1" and self.training:
            drawn: Tensor = _StraightThrough.apply(inner_products(g))  # type: ignore[no-untyped-call]
            return drawn
        return attention_weights(g, self.kind)

    def forward(self, g: Tensor) -> Tensor:
        """Map (B, D, H, W) to the same shape."""
        if self.kind == "identity":  # without weights of P x P positions
            return 2 * g
        attended = self.weights(g) @ g.flatten(2).mT
        result: Tensor = g + attended.mT.reshape(g.shape)
        return result


class _StraightThrough(torch.autograd.Function):
    """All weight on one q a row, drawn from the softmax, with the gradient of the softmax of the noisy logits.

    The same as `torch.nn.functional.gumbel_softmax(hard=True)`, but many times faster: it starts from uniform numbers,
    not exponential ones, and works in place. The noise is float32 for logits of any dtype: bfloat16 is too coarse for
    the tail of the distribution, and ties would always go to the first q.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        """Draw (..., P) of logits (..., P)."""
        # For uniform u, -log(-log u) is Gumbel noise; log(-log u) is subtracted below.
        noise = torch.rand(logits.shape, dtype=torch.float32, device=logits.device).log_().neg_().log_()
        soft = torch.softmax(torch.sub(logits, noise, out=noise), -1, out=noise)
        ctx.save_for_backward(soft)
        return torch.zeros_like(logits).scatter_(-1, soft.argmax(-1, keepdim=True), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Give the gradient that the softmax has."""
        (soft,), (gradient,) = ctx.saved_tensors, gradients
        weighted = soft * gradient
        result: Tensor = weighted.sub_(soft * weighted.sum(-1, keepdim=True)).to(gradient.dtype)
        return result
