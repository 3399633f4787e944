"""Filters: which pixels a posterior over training images compares, and which pixels of x0hat it answers for.

A filter f has a precision pi_f(u) >= 0 for each pixel u, and a response r_f(p) for each pixel p of x0hat; u and p count
the pixels of all channels. `mosaic.filtered_posterior_mean` has the formula.

References: Niedoba, Zwartsenberg & Wood 2026 (arXiv 2605.24192), of which only the abstract was available.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic.engine.windows import Profile, check_boundary, check_window_size, profiles_of
from mosaic.errors import UsageError

__all__ = ["Filters"]


@dataclass(frozen=True, repr=False)
class Filters:
    """F filters over images of D = C H W pixels.

    Attributes
    ----------
    precisions : Tensor (F, D), floating
        pi_f(u), at least 0: how much the difference at each pixel counts.
    responses : Tensor (F, D), floating, or (D,), int64
        r_f(p), whose columns add up to 1: how much each filter has to say about each pixel of x0hat. Or, where only one
        filter has, the number of this filter; this takes far less work.

    Raises
    ------
    UsageError
        If shapes do not fit each other, a precision is negative, or the responses are not as above.
    """

    precisions: Tensor
    responses: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.precisions.shape)
        if self.precisions.ndim != 2 or 0 in shape or tuple(self.responses.shape) not in (shape, shape[1:]):
            raise UsageError(
                f"Filters have precisions (F, D) and responses (F, D) or (D,), not {shape} and "
                f"{tuple(self.responses.shape)}."
            )
        if not bool((torch.isfinite(self.precisions) & (self.precisions >= 0)).all()):
            raise UsageError("The precisions of filters must be finite and at least 0.")
        if self.responses.ndim == 1 and not bool(((self.responses >= 0) & (self.responses < shape[0])).all()):
            raise UsageError(f"Each pixel's filter must have a number from 0 to {shape[0] - 1}.")
        if self.responses.ndim == 2 and not float((self.responses.sum(0) - 1).abs().max()) <= 1e-6:
            raise UsageError("The responses of all filters must add up to 1 at each pixel.")

    def __repr__(self) -> str:
        count, pixels = self.precisions.shape
        return f"Filters({count} of {pixels} pixels)"

    @classmethod
    def whole(cls, shape: tuple[int, int, int], device: torch.device | str = "cpu") -> Filters:
        """One filter that compares whole images of shape (C, H, W), and answers for all their pixels."""
        channels, height, width = shape
        ones = torch.ones(1, channels * height * width, dtype=torch.float64, device=device)
        return cls(ones, torch.zeros(ones.shape[1], dtype=torch.int64, device=device))

    @classmethod
    def masks(cls, masks: Tensor) -> Filters:
        """One filter for each pixel of x0hat: its row of `masks` (D, D), 0 or 1, marks the pixels that it compares."""
        return cls(masks, torch.arange(len(masks), dtype=torch.int64, device=masks.device))

    @classmethod
    def windows(
        cls,
        shape: tuple[int, int, int],
        k: int,
        boundary: str = "zeros",
        *,
        profile: Profile | None = None,
        response: str = "centre",
        device: torch.device | str = "cpu",
    ) -> Filters:
        """Filters of k x k pixels that compare all channels.

        Parameters
        ----------
        shape : (int, int, int)
            (C, H, W) of the images.
        k : int
            Window size.
        boundary : {"zeros", "circular", "valid"}
            `zeros`: windows see nothing beyond the border; else they wrap.
        profile : sequence of k floats, or pair of sequences, optional
            Weights g of a soft window: the pixel at row i and column j of a window counts g_i g_j times; of a pair g, h
            it counts g_i h_j times. All count once by default.
        response : {"centre", "covered"}
            `centre`: one filter about each pixel, odd k, which answers for this pixel. `covered`: one filter for each
            window that lies wholly inside (with `circular`, for all), of any k; all that hold a pixel answer for it
            equally. Not for `valid`.
        device : torch.device or str
            Where the filters are.

        Raises
        ------
        UsageError
            If k, boundary, profile or response is none of these.
        """
        if response not in ("centre", "covered"):
            raise UsageError(f"There is no response '{response}'; there are: centre, covered.")
        covers = response == "covered"
        check_boundary(boundary, ("zeros", "circular") if covers else ("zeros", "circular", "valid"))
        if not covers:
            check_window_size(k)
        elif k < 1 or (boundary == "zeros" and k > min(shape[1:])):
            raise UsageError(f"No window of {k} pixels lies inside {shape[1]} x {shape[2]}; use Filters.whole.")
        for each in (profiles := profiles_of(profile)):
            if each is not None and len(each) != k:
                raise UsageError(f"The profile of a window of {k} pixels has {k} weights, not {len(each)}.")

        def of_profiles(profiles: Sequence[Sequence[float] | None]) -> Tensor:
            weights = ([1.0] * k if each is None else each for each in profiles)
            rows, cols = (
                _windows_of_axis(size, torch.tensor(each, dtype=torch.float64, device=device), boundary, covers)
                for size, each in zip(shape[1:], weights, strict=True)
            )
            windows = torch.einsum("ai,bj->abij", rows, cols).flatten(0, 1)
            return windows[:, None].expand(-1, shape[0], -1, -1).flatten(1)

        precisions = of_profiles(profiles)
        if covers:
            covered = of_profiles((None, None))
            return cls(precisions, covered / covered.sum(0))
        return cls(precisions, torch.arange(len(precisions), dtype=torch.int64, device=device).repeat(shape[0]))


def _windows_of_axis(size: int, profile: Tensor, boundary: str, inside_only: bool) -> Tensor:
    """Profiles of windows along an axis (windows, size); one that wraps more than once adds up."""
    k, device = len(profile), profile.device
    first, count = (0, size - k + 1) if inside_only and boundary == "zeros" else (-(k // 2), size)
    starts = torch.arange(first, first + count, dtype=torch.int64, device=device)
    places = starts[:, None] + torch.arange(k, dtype=torch.int64, device=device)
    values = profile.expand(count, -1)
    if boundary == "zeros":
        values = values * ((places >= 0) & (places < size))
    return profile.new_zeros(count, size).scatter_add_(1, places % size, values)
