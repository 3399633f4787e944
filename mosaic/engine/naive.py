"""The equivariant local score (ELS) on one page, to be read beside the paper.

For each pixel p, with its window x_p of k x k pixels, and every training window c that may be compared with it
(Kamb & Ganguli 2025, eqs. 9-10; boundary `zeros`: sec. 3.4 and app. B.2),

    x0hat(p) = sum_c softmax_c( -|x_p - a c|^2 / (2 s^2) ) centre(c).

All windows are held at once, so it serves small training sets only; the engines compute the same without holding them.
The doctor and the quick tests compare the engines with this page, and the benchmarks time it beside them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from mosaic.interfaces.schedule import Level

__all__ = ["naive_els"]


def naive_els(
    x: Tensor,
    images: Tensor,
    level: Level,
    k: int,
    boundary: str = "zeros",
    *,
    profile: Tensor | None = None,
    product: bool = False,
) -> Tensor:
    """Posterior mean x0hat (B, C, H, W) of noisy images x (B, C, H, W) over the windows of images (N, C, H, W).

    `level` has the signal a and the noise s > 0 of x; k is odd, and at most H and W where windows wrap.
    Boundary `zeros` compares a pixel's window with the training windows that hang over the border as it does;
    `circular` with all, and windows wrap; `valid` a wrapping window with those that lie inside their image.
    With `profile` (k,) windows are soft: the squared difference at row u and column v of a window counts g_u g_v times;
    one of (2, k), rows first, has a profile for each axis.
    `product` evaluates |x_p - a c|^2 by a matrix product, which is fast but loses digits by cancellation at small s.
    """
    a, s = level.signal, level.noise
    queries, keys = _windows(x, k, boundary != "zeros"), _windows(images, k, boundary == "circular")
    if profile is not None:
        root = torch.outer(*profile.expand(2, k)).sqrt().flatten().repeat(x.shape[1])
        queries, keys = queries * root, keys * root
    centres, x0hat = images.flatten(2).mT, torch.empty_like(x).flatten(2).mT  # (n, H W, C)
    mode = "use_mm_for_euclid_dist" if product else "donot_use_mm_for_euclid_dist"
    for pixels, candidates in _compared(x, k, boundary):
        x_p, a_c = queries[:, pixels].flatten(0, 1), a * keys[:, candidates].flatten(0, 1)
        weights = (torch.cdist(x_p, a_c, compute_mode=mode).square() / (-2 * s**2)).softmax(1)
        x0hat[:, pixels] = (weights @ centres[:, candidates].flatten(0, 1)).unflatten(0, (len(x), -1))  # eqs. 9-10
    return x0hat.mT.reshape(x.shape)


def _windows(images: Tensor, k: int, wraps: bool) -> Tensor:
    """Cut out the k x k window about every pixel of images (n, C, H, W): (n, H W, C k^2), zeros beyond the border."""
    return unfold(pad(images, (k // 2,) * 4, "circular" if wraps else "constant"), k).mT


def _compared(x: Tensor, k: int, boundary: str) -> list[tuple[Tensor, Tensor]]:
    """Masks (H W) of pixels, each with the mask of those whose training windows they are compared with."""
    inside = _windows(torch.ones_like(x[:1, :1]), k, wraps=False)[0] > 0  # (H W, k^2): not beyond the border
    if boundary == "zeros":  # app. B.2
        _, kinds = inside.unique(dim=0, return_inverse=True)
        return [(kinds == kind, kinds == kind) for kind in kinds.unique()]
    everywhere = torch.ones_like(inside[:, 0])
    return [(everywhere, {"circular": everywhere, "valid": inside.all(1)}[boundary])]
