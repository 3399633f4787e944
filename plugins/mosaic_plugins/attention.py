"""Attention on top of the equivariant local score: how ELS changes when distant pixels attend to each other.

Finn, Keller, Theodosis & Ba (2025, arXiv 2506.17324) extend the theory to a network with one attention layer. Of
their paper we know only a third party's notes (seed 004 of the project, "Part 4: Attention + My Workshop Paper";
lines are those of its file). What here follows them:

- line 181: g~(p) = g(window p) + sum_q alpha_pq g(window q), alpha_pq = softmax_q <g(window p), g(window q)>, with g
  the local score (`compose`, `value="score"`, `attention="softmax"`; `FieldAttention` in layers.py for networks);
- line 187: its winner-take-all limit, all weight on the q of the largest product (`attention="top1"`);
- line 189: the embedding centred ("over patches", an expectation there; over an image's positions here,
  `inner_products`); patches independent, on which line 191 rests;
- line 191: the optimum for both, g~[P] = grad log sum_p [pi(window p = P) + pi(window q*(p) = P)], stated without
  derivation (`mixture`, `attention="top1"`); where pi is the training set's, the sum is over its windows;
- line 202: whether consistency trades against locality (`mosaic reproduce attention-tradeoff`).

Ours is everything else. That the sum is halved (`compose`), so that identity attention gives back ELS. That the
products are those of the noise predictions, -s g. That q* belongs to the training image and the level, held fixed
under the gradient (`mixture`), which makes the optimum an ELS machine whose training windows count 1 + their
in-degree; were q* to depend on the noisy image, the weights would depend on P, and their gradient would add a term.
Softmax in-degrees, mixing of x0hat, temperature, and whole windows as embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

import mosaic
from mosaic_plugins.machines import ELS, EquivariantWindows
from mosaic_plugins.references import FINN, KAMB

__all__ = ["ELSAttention", "attention_weights", "inner_products"]

CHUNK = 32  # training images whose fields are computed together


def inner_products(field: Tensor) -> Tensor:
    """Inner products (B, P, P) of a field (B, D, H, W), centred over its P = H W positions, with itself."""
    positions = field.flatten(2).mT
    centred = positions - positions.mean(1, keepdim=True)
    return centred @ centred.mT


def attention_weights(
    embedding: Tensor, kind: str = "softmax", temperature: float = 1.0, exclude_self: bool = False
) -> Tensor:
    """Weights with which positions attend to each other.

    Parameters
    ----------
    embedding : Tensor (B, D, H, W)
        A field; a copy of it is centred over positions.
    kind : {"softmax", "top1", "identity"}
        Softmax over q of the inner products; all weight on the largest, the first of equal ones; or on p itself.
    temperature : float
        What inner products are divided by.
    exclude_self : bool
        Whether p may not attend to itself.

    Returns
    -------
    Tensor (B, P, P), P = H W
        alpha_pq; each row p sums to 1.
    """
    count = embedding.shape[2] * embedding.shape[3]
    if kind == "identity":
        return torch.eye(count, dtype=embedding.dtype, device=embedding.device).expand(len(embedding), -1, -1)
    logits = inner_products(embedding) / temperature
    if exclude_self:
        logits.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    if kind == "softmax":
        return logits.softmax(-1)
    return functional.one_hot(logits.argmax(-1), count).to(logits)


class ELSAttention(EquivariantWindows):
    """The equivariant local score with one layer of attention over positions.

    `compose` mixes, at each pixel, the ELS machine's x0hat (or score) with that of the pixels it attends to:
    (v(p) + sum_q alpha_pq v(q)) / 2. `mixture` is the ELS machine whose training windows count as often as they are
    attended to in the training images: once, and their in-degree.

    References: Finn, Keller, Theodosis & Ba 2025 (arXiv 2506.17324), known from a third party's notes only.

    The paper's, by these notes: scores mixed by softmax attention over their inner products (`value=score`); its limit
    `attention=top1`; the optimum that `form=mixture` computes, stated without derivation.
    The published code's: not compared.
    Ours: x0hat as what is mixed by default; half the sum; the reading of the optimum; softmax in-degrees;
    `temperature`, `embedding=window`, `exclude_self` and `draws`.
    """

    name = "els-attention"
    references = (FINN, KAMB)

    class Options(EquivariantWindows.Options):
        """Form of the attention, what attends to what, and how windows are weighted."""

        form: Literal["compose", "mixture"] = Field(
            "compose", description="compose: mix the field of ELS over positions; mixture: weigh training windows."
        )
        attention: Literal["softmax", "top1", "identity"] = Field(
            "softmax", description="Weights of positions; identity gives ELS."
        )
        value: Literal["denoised", "score"] = Field(
            "denoised",
            description="What compose mixes: x0hat, which stays in range (ours), or the score (the notes' formula).",
        )
        embedding: Literal["score", "window"] = Field(
            "score",
            description="What attends: the local noise prediction of a pixel, or the posterior mean of its whole "
            "window (ours; by the torch engine).",
        )
        temperature: float = Field(1.0, gt=0, description="What inner products are divided by.")
        exclude_self: bool = Field(False, description="Whether a pixel may not attend to itself.")
        draws: int = Field(1, ge=1, le=1000, description="Noisy copies of each training image (mixture).")
        seed: int = Field(0, ge=0, lt=2**32, description="Seed of their noise.")

        def unused(self) -> Mapping[str, str]:
            """What the form or the attention does not have."""
            form, attention = f"form={self.form}", f"attention={self.attention}"
            unused = dict.fromkeys(("value",) if self.form == "mixture" else ("draws", "seed"), form)
            if self.attention == "identity":
                names = ("value", "embedding", "temperature", "exclude_self", "draws", "seed")
                unused |= dict.fromkeys(names, attention)
            elif self.attention == "top1":
                unused["temperature"] = attention
            if self.embedding == "window" and self.form == "compose" and self.engine != "torch":
                unused["engine"] = "form=compose, embedding=window"
            return unused

    options: Options

    def evaluate(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> tuple[Tensor, mosaic.Posterior | None]:
        """Give x0hat of x (B, C, H, W) by candidates from images (N, C, H, W), and the posterior before attention."""
        options = self.options
        if options.form == "mixture" or options.attention == "identity":
            return super().evaluate(x, images, level, scale, compute)
        local, embedding, posterior = self.field(x, images, level, scale, compute)
        value = local if options.value == "denoised" else mosaic.score_from_denoised(x, local, level)
        attended = (self.weights_of(embedding) @ value.flatten(2).mT).mT.reshape(value.shape)
        mixed = (value + attended) / 2
        return mixed if options.value == "denoised" else (x + level.noise**2 * mixed) / level.signal, posterior

    def covariance(  # type: ignore[override]
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> Tensor | None:
        """Give d x0hat / d x where the machine is ELS."""
        return super().covariance(x, images, level, scale) if self.options.attention == "identity" else None

    @property
    def traits(self) -> mosaic.Traits:
        """With `compose`, a pixel depends on all of x; `mixture` only weighs windows, so it stays local."""
        plain = super().traits
        local = self.options.form == "mixture" or self.options.attention == "identity"
        return replace(
            plain,
            window=plain.window if local else lambda scale: None,
        )

    def engine_for(self, dtype: torch.dtype) -> str:
        """Name the engine of ELS; whole windows are averaged by torch."""
        return "torch" if self.options.embedding == "window" else super().engine_for(dtype)

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse to exclude the only pixel there is."""
        notes = super().check(levels, scales, labels)
        if self.options.exclude_self and math.prod(self.dataset.shape[1:]) == 1:
            raise mosaic.UsageError("Images of one pixel have no other to attend to; leave exclude_self out.")
        return notes

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count weights of all pairs of pixels, up to five times at once; all windows (float32), means and copies."""
        if self.options.attention == "identity":
            return 0
        channels, height, width = self.dataset.shape
        pixels = height * width
        is_mixture, count = self.options.form == "mixture", len(self.dataset)
        fields = min(CHUNK, count) if is_mixture else batch
        weights = count * pixels * (16 + 4 * channels) if is_mixture else 0  # of all windows, and noise like the images
        if self.options.embedding != "window":
            return 5 * dtype.itemsize * fields * pixels**2 + weights
        window = channels * self.extent(scale) ** 2 * pixels
        held = 2 * 4 * len(self.dataset) * window if isinstance(self.dataset.images, Tensor) else 0
        return dtype.itemsize * fields * (5 * pixels**2 + 4 * window) + held + weights

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior: that of ELS, or (mixture) with weighted windows."""
        options = self.options
        if options.form == "compose" or options.attention == "identity":
            return super().posterior(x, images, level, scale, compute)
        weights = self.window_weights(images, level, scale)
        return mosaic.equivariant_local_posterior(
            x, images, level, self.extent(scale), options.boundary, weights=weights, compute=compute
        )

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the best windows; windows with different weights are not ties."""
        if self.options.form == "compose" or self.options.attention == "identity":
            return super().sources(posterior, images, level, scale)
        return self.resolved(posterior, images, scale, self.window_weights(images, level, scale))

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Attribution:
        """Give what x0hat is made of before attention; at noise 0 the weights of windows have no effect."""
        if level.noise > 0:
            return super().attribute(x, level, labels, scale)
        plain = ELS(ELS.Options(boundary=self.options.boundary, engine=self.options.engine), self.dataset)
        return plain.attribute(x, level, labels, scale)

    def field(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute | None = None
    ) -> tuple[Tensor, Tensor, mosaic.Posterior]:
        """Give x0hat (B, C, H, W) of plain ELS, the embedding (B, D, H, W) that attends, and the posterior of both."""
        compute = compute or self.compute
        if self.options.embedding == "score":
            posterior = EquivariantWindows.posterior(self, x, images, level, scale, compute)
            local = posterior.mean().to(x.dtype)
            return local, mosaic.eps_from_denoised(x, local, level), posterior
        compute, boundary, k = replace(compute, engine="torch"), self.options.boundary, self.extent(scale)
        around = "zeros" if boundary == "zeros" else "circular"

        def windows_at(block: Tensor, rows: range, cols: range) -> Tensor:
            return windows_of(block, k, around)[:, :, rows.start : rows.stop, cols.start : cols.stop]

        windows: Any = windows_of(images, k, around) if isinstance(images, Tensor) else windows_at
        posterior = mosaic.equivariant_local_posterior(x, images, level, k, boundary, values=windows, compute=compute)
        means = posterior.mean().to(x.dtype)
        local = means.unflatten(1, (x.shape[1], -1))[:, :, k**2 // 2]
        return local, means, posterior

    def weights_of(self, embedding: Tensor) -> Tensor:
        """Attention weights (B, P, P) of an embedding (B, D, H, W), as the options say."""
        options = self.options
        return attention_weights(embedding, options.attention, options.temperature, options.exclude_self)

    def window_weights(self, images: mosaic.Images, level: mosaic.Level, scale: float) -> Tensor:
        """How often the window about each pixel of images (N, C, H, W) counts: 1 + its in-degree, (N, H, W), float32.

        The in-degree of q is the sum over p of alpha_pq, in the field of plain ELS at a x_i + s eps with one seeded eps
        for each image and draw; the mean over draws. Kept in the cache folder. These weights, and a draw of noise like
        the images, are held at once, also where images are read in pieces.
        """
        decisive = ("boundary", "attention", "embedding", "temperature", "exclude_self", "draws", "seed")
        key = {
            "what": "in-degrees 1",
            "images": mosaic.digest_of(images),
            "level": [level.signal, level.noise],
            "scale": self.extent(scale),
            "device": images.device.type,
            "engine": self.traits.engine(images.dtype),
            **{name: getattr(self.options, name) for name in decisive},
        }
        return mosaic.cached_tensor(key, lambda: self._window_weights(images, level, scale).cpu()).to(images.device)

    def _window_weights(self, images: mosaic.Images, level: mosaic.Level, scale: float) -> Tensor:
        count, _, height, width = images.shape
        degrees = torch.zeros(count, height * width, dtype=torch.float32, device="cpu")
        generator = torch.Generator().manual_seed(self.options.seed)
        for _ in range(self.options.draws):
            noise = torch.randn(images.shape, generator=generator, dtype=torch.float32, device="cpu")
            noise = noise.to(images.device, images.dtype)
            for first in range(0, count, CHUNK):
                chunk = slice(first, first + CHUNK)
                noisy = level.signal * images[chunk] + level.noise * noise[chunk]
                _, embedding, _ = self.field(noisy, images, level, scale)
                degrees[chunk] += self.weights_of(embedding).sum(1).cpu()
        return 1 + (degrees / self.options.draws).reshape(count, height, width)


def windows_of(images: Tensor, k: int, boundary: str) -> Tensor:
    """The k x k window about every pixel of images (N, C, H, W), as (N, C k^2, H, W); beyond are zeros, or it wraps."""
    r = k // 2
    if boundary == "zeros":
        padded = functional.pad(images, (r, r, r, r))
    else:
        height, width = images.shape[2:]
        rows, cols = (torch.arange(-r, size + r, dtype=torch.int64, device="cpu") % size for size in (height, width))
        padded = images[:, :, rows][:, :, :, cols]
    windows: Tensor = functional.unfold(padded, k).unflatten(2, images.shape[2:])
    return windows


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(ELSAttention)
