"""The posterior over candidates: partial softmax-weighted means that merge exactly.

Every analytic machine is one computation (Kamb & Ganguli 2025, eqs. 3-10): for each output pixel p a
softmax-weighted mean over candidate windows,

    logit(c) = -|| x[window(p)] - a c[window] ||^2 / (2 s^2),    x0hat(p) = sum_c softmax(logit)_c centre(c).

A `Posterior` holds this sum over part of the candidates, with a maximum of its own for each sample and
pixel, so that blocks and shards of a training set merge into the softmax over all of it without underflow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import e, log2

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype
from mosaic.errors import UsageError
from mosaic.interfaces.images import Images

__all__ = ["BITS", "Posterior", "after_ones", "attend", "energy_of", "squares_of", "weights_of"]

BITS = log2(e)  # logits are kept in bits, see Posterior


@dataclass(repr=False)
class Posterior:
    """Softmax over part of the candidates, for every sample and pixel.

    Attributes
    ----------
    maximum : Tensor (B, h, w)
        Largest logit, in bits; from the compiled engine without diagnostics, a logit near the largest. (h, w) is
        (H, W), or (1, 1) where all pixels share one posterior.
    total : Tensor (B, h, w)
        Sum of 2^(logit - maximum).
    weighted : Tensor (B, C, H, W)
        Sum of 2^(logit - maximum) times the candidate's centre pixel.
    energy : Tensor (B, h, w), optional
        Diagnostics: sum of 2^(logit - maximum) times (logit - maximum).
    source : Tensor (B, h, w), int64, optional
        Diagnostics: the candidate with the largest logit, as (image H + row) W + column of its centre, or of its
        translation for whole images; on ties the first in that order. (IS, ES and the torch engine of ELS may round
        equal candidates differently and then name another one; `mosaic.engine.ties` corrects this.)
    squares : Tensor (B, 1 + 2 C, H, W), optional
        Moments: with W a training image's own share of `total`, and V its share of `weighted`, the sums over images of
        W^2, of W V and of V^2. They say how much the mean would differ with other images (`mosaic.engine.adaptive`).

    Logits are in bits, that is, times log2(e): powers of two are computed several times faster than powers
    of e. They are known up to a constant of each sample and pixel, the same for all candidates.
    """

    maximum: Tensor
    total: Tensor
    weighted: Tensor
    energy: Tensor | None = None
    source: Tensor | None = None
    squares: Tensor | None = None

    def __repr__(self) -> str:
        more = ", with diagnostics" if self.energy is not None else ""
        return f"Posterior(B, C, H, W = {tuple(self.weighted.shape)}{more})"

    def _repr_html_(self) -> str:
        cells = [(name, " x ".join(map(str, tensor.shape)), f"{tensor.dtype}") for name, tensor in self.parts().items()]
        rows = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in cells)
        return f"<table><tr><th>Posterior</th><th>shape</th><th>type</th></tr>{rows}</table>"

    def merge(self, other: Posterior) -> Posterior:
        """Join two disjoint parts of the candidates; associative and commutative up to rounding."""
        # Sums relative to m, restated relative to m' = max(m, other m): weights are multiplied by 2^(m - m'), and each
        # (logit - m) in the energy becomes (logit - m) + (m - m'). No factor exceeds 1, so nothing overflows.
        maximum = torch.maximum(self.maximum, other.maximum)
        mine, theirs = torch.exp2(self.maximum - maximum), torch.exp2(other.maximum - maximum)
        merged = Posterior(
            maximum,
            self.total * mine + other.total * theirs,
            self.weighted * mine[:, None] + other.weighted * theirs[:, None],
        )
        if self.energy is not None and other.energy is not None:
            merged.energy = (self.energy + (self.maximum - maximum) * self.total) * mine + (
                other.energy + (other.maximum - maximum) * other.total
            ) * theirs
        if self.source is not None and other.source is not None:
            nearer = torch.where(self.maximum > other.maximum, self.source, other.source)
            first = torch.minimum(self.source, other.source)
            # On equal maxima the smaller number is the first candidate: ties do not depend on the order of merging.
            merged.source = torch.where(self.maximum == other.maximum, first, nearer)
        if self.squares is not None and other.squares is not None:
            merged.squares = self.squares * mine[:, None] ** 2 + other.squares * theirs[:, None] ** 2
        return merged

    def mean(self) -> Tensor:
        """Posterior mean x0hat (B, C, H, W) over the candidates seen."""
        return self.weighted / self.total[:, None]

    def certain(self, values: Images) -> Posterior:
        """Put all weight on the most probable candidate, as at vanishing noise.

        Parameters
        ----------
        values : Tensor or ImageSource (N, C, H, W)
            What the candidates' centres hold.

        Raises
        ------
        UsageError
            If the posterior was computed without diagnostics.
        """
        image, row, column = self.candidate()
        if image.shape[1:] == values.shape[2:]:
            pixels = values[image, :, row, column].movedim(-1, 1)
        else:  # whole images: the candidate is a translation
            places = zip(*(part[:, 0, 0].tolist() for part in (image, row, column)), strict=True)
            pixels = torch.stack([values[n].roll((-i, -j), (1, 2)) for n, i, j in places])
        zero = torch.zeros_like(self.total)
        return Posterior(zero, torch.ones_like(self.total), pixels.to(self.total.dtype), zero, self.source)

    def entropy(self) -> Tensor:
        """Entropy (B, h, w) of the posterior over the candidates seen, in nats; exp of it is their effective number.

        Raises
        ------
        UsageError
            If the posterior was computed without diagnostics.
        """
        if self.energy is None:
            raise UsageError("This posterior has no entropy; compute it with mosaic.Compute(diagnostics=True).")
        # With p = 2^(logit - maximum) / total:  -sum p log2 p = log2(total) - energy / total, then bits to nats.
        return (torch.log2(self.total) - self.energy / self.total).clamp_min(0) / BITS

    def candidate(self) -> tuple[Tensor, Tensor, Tensor]:
        """Image, row and column, each (B, h, w), int64, of the most probable candidate.

        Raises
        ------
        UsageError
            If the posterior was computed without diagnostics.
        """
        if self.source is None:
            raise UsageError("This posterior names no candidates; compute it with mosaic.Compute(diagnostics=True).")
        height, width = self.weighted.shape[-2:]
        place = self.source % (height * width)
        return self.source // (height * width), place // width, place % width

    def parts(self) -> dict[str, Tensor]:
        """The tensors that are not None, by the names of the fields."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def only_at(self, pixels: Tensor) -> Posterior:
        """Leave out all candidates of the other pixels than these (B, H, W), bool: nothing changes what it merges with.

        Their sums are 0, relative to a maximum below that of any candidate. There must not be diagnostics.
        """
        least = torch.finfo(self.maximum.dtype).min / 2  # finite, so that two of them merge, too
        sums = [self.total, self.weighted, self.squares]
        places = [pixels, pixels[:, None], pixels[:, None]]
        kept = [None if t is None else torch.where(at, t, 0) for t, at in zip(sums, places, strict=True)]
        total, weighted, squares = kept
        assert total is not None
        assert weighted is not None
        return Posterior(torch.where(pixels, self.maximum, least), total, weighted, squares=squares)


def attend(logits: Tensor, values: Tensor, diagnostics: bool = False, images: int | None = None) -> tuple[Tensor, ...]:
    """Reduce logits (Q, M) in bits and the candidates' values (M, 1 + V), the first column ones.

    The total is the weighted sum of the ones, computed in the same product as the other sums. It is rounded like them,
    so that a mean never leaves the range of its values. Weights are computed in the precision of `values`; `logits` is
    overwritten. With moments, `images` says how many training images the candidates are of, as many of each, one image
    after the other.

    Returns
    -------
    maximum (Q,), total (Q,), weighted (Q, V); for diagnostics also energy (Q,) and the best candidate's index (Q,);
    for moments also squares (Q, 1 + 2 V)
        As in `Posterior`, in the accumulator's precision: sums of many blocks must not lose digits.
    """
    wide = accumulator_dtype(logits.device)
    maximum = logits.amax(dim=1)
    best = logits.argmax(dim=1) if diagnostics else maximum  # the first of equal ones
    weights = weights_of(logits, maximum[:, None], values.dtype)
    if images is None:
        sums = (weights @ values).to(wide)
    else:
        of_image = (weights.unflatten(1, (images, -1)).transpose(0, 1) @ values.unflatten(0, (images, -1))).to(wide)
        sums = of_image.sum(0)
    result = maximum.to(wide), sums[:, 0], sums[:, 1:]
    more = (energy_of(weights, 1), best) if diagnostics else ()
    return (*result, *more) if images is None else (*result, *more, squares_of(of_image).sum(0))


def squares_of(sums: Tensor) -> Tensor:
    """Products (..., 1 + 2 V) of sums (..., 1 + V) of an image's weights, and of its weighted values: `squares`."""
    total, weighted = sums[..., :1], sums[..., 1:]
    return torch.cat([total.square(), total * weighted, weighted.square()], -1)


def energy_of(weights: Tensor, *dims: int) -> Tensor:
    """Sum of weights times their logarithms in bits over `dims`, in the accumulator's precision."""
    # As w = 2^(logit - maximum), this is the sum of w (logit - maximum); xlogy is 0 where w has underflowed to 0.
    return torch.xlogy(weights, weights).sum(dims, dtype=accumulator_dtype(weights.device)) * BITS


def after_ones(values: Tensor) -> Tensor:
    """Put a column of ones before values (M, V), for `attend`; stored by columns, which makes products faster."""
    return torch.cat([values.new_ones(1, len(values)), values.T]).T


def weights_of(logits: Tensor, maximum: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights 2^(logits - maximum), in `dtype`; `logits` is overwritten."""
    return logits.sub_(maximum).to(dtype).exp2_()
