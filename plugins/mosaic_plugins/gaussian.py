"""Gaussian theories: the data as one Gaussian, or as several.

References: Wang & Vastola 2024 (The unreasonable effectiveness of Gaussian score approximation, arXiv 2412.09726).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from math import log, prod

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.by_class import ByClass
from mosaic_plugins.references import WANG

__all__ = ["Gaussian", "GaussianMixture", "Moments"]


CHUNK = 4096  # images whose products are summed at a time


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of images, the latter by its eigenvectors with eigenvalues above 0.

    Attributes
    ----------
    mean : Tensor (D,), float64
        Mean image, flat.
    vectors : Tensor (D, R), float64
        Orthonormal eigenvectors of the covariance; R < the number of images.
    values : Tensor (R,), float64
        Their eigenvalues.
    """

    mean: Tensor
    vectors: Tensor
    values: Tensor

    @classmethod
    def of(cls, images: mosaic.Images, ddof: int = 0) -> Moments:
        """Compute the moments of images (N, C, H, W), from the smaller Gram matrix: of images or of pixels.

        The covariance is divided by N - `ddof`: with 0 it is that of the images themselves, with 1 unbiased. Images are
        read twice, in pieces, if there are at least as many as pixels; fewer are all held.
        """

        count, pixels = max(1, len(images) - ddof), prod(images.shape[1:])
        room = torch.empty(min(CHUNK, len(images)), pixels, dtype=torch.float64, device=images.device)

        def chunks() -> Iterator[Tensor]:
            """Give the images by chunks, each in the place of the one before."""
            for first in range(0, len(images), CHUNK):
                yield room[: len(images) - first].copy_(images[first : first + CHUNK].flatten(1))

        sums = [(chunk.sum(0), chunk.square_().sum()) for chunk in chunks()]
        mean = torch.stack([total for total, _ in sums]).sum(0) / len(images)
        rounding = 1e-28 * torch.stack([square for _, square in sums]).sum() / len(images)

        # Eigenvalues up to this are rounding errors: of the largest one, or of the pixels if all images are alike.
        def lowest(values: Tensor) -> Tensor:
            return torch.maximum(1e-12 * values.amax(), rounding)

        if len(images) < pixels:
            centred = images[:].flatten(1).double() - mean
            values, left = torch.linalg.eigh(centred @ centred.T / count)
            kept = values > lowest(values)
            vectors = centred.T @ left[:, kept] / (count * values[kept]).sqrt()
        else:
            covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
            for chunk in chunks():
                chunk -= mean
                covariance += chunk.T @ chunk / count
            values, vectors = torch.linalg.eigh(covariance)
            kept = values > lowest(values)
            vectors = vectors[:, kept]
        return cls(mean, vectors, values[kept])

    @staticmethod
    def kept_bytes(count: int, pixels: int) -> int:
        """Bytes at most of the moments of `count` images."""
        return 8 * pixels * (min(count, pixels) + 2)

    @staticmethod
    def peak_bytes(count: int, pixels: int) -> int:
        """Bytes at most that `of` takes: chunks of the images, the smaller Gram matrix, and what LAPACK needs."""
        chunk = 3 * pixels * min(count, CHUNK)
        if count >= pixels:
            return 8 * max(chunk + 3 * pixels**2, 7 * pixels**2)
        return 8 * (2 * pixels * count + chunk + 6 * count**2 + 3 * pixels * count)

    def denoise(self, x: Tensor, level: mosaic.Level) -> Tensor:
        """x0hat of flat x (B, D): mu + U diag(l / (l + s^2 / a^2)) U^T (x / a - mu)."""
        along = (x / level.signal - self.mean) @ self.vectors
        return self.mean + (along * (self.values / (self.values + level.ratio**2))) @ self.vectors.T

    def wiener(self, level: mosaic.Level) -> Tensor:
        """The Wiener filter (D, D): U diag(a^2 l / (s^2 + a^2 l)) U^T."""
        return (self.vectors * (self.values / (self.values + level.ratio**2))) @ self.vectors.T

    def jacobian(self, level: mosaic.Level) -> Tensor:
        """Derivative (D, D) of `denoise`, the same at all x: the Wiener filter over the signal."""
        return self.wiener(level) / level.signal

    def log_density(self, x: Tensor, level: mosaic.Level) -> Tensor:
        """Log density (B,) of flat x (B, D) under N(a mu, a^2 C + s^2), up to (D / 2) log 2 pi."""
        apart = x - level.signal * self.mean
        along = apart @ self.vectors
        spread, noise = level.signal**2 * self.values + level.noise**2, level.noise**2
        rest = apart.square().sum(1) - along.square().sum(1)  # outside the span of the images
        missing = len(self.mean) - len(self.values)
        return -0.5 * ((along.square() / spread).sum(1) + rest / noise + spread.log().sum() + missing * log(noise))

    def flow(self, x: Tensor, level: mosaic.Level, following: mosaic.Level) -> Tensor:
        """Where the probability flow takes flat x (B, D) from one level to another: exact, of any length.

        Along each eigenvector, x - a mu grows as its standard deviation sqrt(a^2 l + s^2); across all of them, as s.
        """
        apart = x - level.signal * self.mean
        along = apart @ self.vectors
        spreads = [each.signal**2 * self.values + each.noise**2 for each in (following, level)]
        across = following.noise / level.noise
        stretched = along * ((spreads[0] / spreads[1]).sqrt() - across)
        return following.signal * self.mean + across * apart + stretched @ self.vectors.T


class Gaussian(ByClass):
    """The data as one Gaussian with their mean and covariance (the Wiener filter): exact in any dimension.

    x0hat = mu + U diag(l / (l + s^2 / a^2)) U^T (x / a - mu). A sample with a label has the Gaussian of its class.

    References: Wang & Vastola 2024 (arXiv 2412.09726), sec. 3.

    The paper's: the formula, with mean and covariance of the data.
    The published code's: the Wiener filter of Lukoianov et al. 2025 divides the covariance by N - 1: `ddof=1`, which
    agrees to 3e-5 with its numbers (tests/plugins/test_gaussian.py).
    Ours: the divisor N as the default, since the moments of the images themselves have it; one Gaussian for a class.
    """

    name = "gaussian"
    references = (WANG,)

    class Options(mosaic.Options):
        """What the covariance is divided by."""

        ddof: int = Field(0, ge=0, le=1, description="The covariance of N images is divided by N - ddof.")

    options: Options

    def fit(self, images: mosaic.Images, labels: Tensor | None) -> Moments:
        """Moments of images (N, C, H, W), in float64; labels are ignored."""
        return Moments.of(images, self.options.ddof)

    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        """Count the moments of each class, and what computing the largest one's takes."""
        pixels, counts = prod(self.dataset.shape), self.group_sizes(labels)
        kept = sum(Moments.kept_bytes(count, pixels) for count in counts)
        return kept + Moments.peak_bytes(max(counts), pixels) + 8 * 8 * batch * pixels

    def apply(self, fitted: Moments, x: Tensor, level: mosaic.Level) -> Tensor:
        """Give x0hat (B, D) of flat x (B, D), by the Wiener filter of the moments."""
        return fitted.denoise(x, level)

    @mosaic.standard_torch()
    @torch.no_grad()
    def flow(self, x: Tensor, level: mosaic.Level, following: mosaic.Level, labels: Tensor | None = None) -> Tensor:
        """Follow the probability flow of the Gaussian from one level to another, in closed form.

        Where the Gaussian is a good theory, at high noise, one jump replaces the first steps of a sampler.

        Parameters
        ----------
        x : Tensor (B, C, H, W), float32 or float64
            States at `level`.
        level, following : Level
            From where to where; noise of `level` is positive.
        labels : Tensor (B,), int64, optional
            Class of each sample, -1 for none.

        Returns
        -------
        Tensor (B, C, H, W)
            States at `following`, of x's dtype.

        Raises
        ------
        UsageError
            If x does not fit the data set, or the level is without noise.

        References
        ----------
        Wang & Vastola 2024 (arXiv 2412.09726), the solution of the probability flow ODE of a Gaussian.

        Examples
        --------
        >>> import mosaic, torch
        >>> gaussian, els = (mosaic.score(name, "digits", schedule="edm") for name in ("gaussian", "els"))
        >>> t = els.schedule.time_of_ratio(20)
        >>> start = 80 * torch.randn(4, 1, 8, 8, dtype=torch.float32, device="cpu")
        >>> jumped = gaussian.model.flow(start, els.schedule.level(1), els.schedule.level(t))
        >>> for step in mosaic.flow(els, x=jumped, t=t, steps=18):
        ...     image = step.following
        """
        self.dataset.check_batch(x, labels)
        if level.noise == 0:
            raise mosaic.UsageError(f"{level} is not a level that a flow starts from; its noise must be positive.")
        result = torch.empty_like(x)
        for members, places in self.dataset.class_groups(labels):
            moved = self.fitted(places).flow(x[members].flatten(1).double(), level, following)
            result[members] = moved.to(x.dtype).reshape(-1, *x.shape[1:])
        return result

    def jacobian(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give d x0hat / d x: the Wiener filter itself, of all images or of a sample's class."""
        result = x.new_empty(len(x), x[0].numel(), x[0].numel(), dtype=torch.float64)
        for members, places in self.dataset.class_groups(labels):
            result[members] = self.fitted(places).jacobian(level)
        return result.view(len(x), *x.shape[1:], *x.shape[1:])


def clusters_of(images: mosaic.Images, count: int, seed: int) -> Tensor:
    """Divide images (N, C, H, W) into up to `count` clusters by k-means: their numbers (N,), int64.

    scipy's k-means holds all images, in float64, also those that are else read in pieces.
    """
    from scipy.cluster.vq import kmeans2

    flat = images[:].flatten(1).double().cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about empty clusters, which are left out
        _, members = kmeans2(flat, count, iter=50, minit="++", seed=seed)
    return torch.from_numpy(members).to(images.device, torch.int64)


class GaussianMixture(ByClass):
    """The data as a mixture of Gaussians: one for each class, or for each cluster of k-means.

    Each component has its members' mean and covariance, and their number as its weight; x0hat is the mean of the
    components' x0hat by their posterior probability. A sample with a label is compared with its class only.

    References: Wang & Vastola 2024 (arXiv 2412.09726), sec. 4.

    The paper's: the mixture of Gaussians.
    The published code's: not compared.
    Ours: which components there are by default, and how clusters are found.
    """

    name = "gaussian-mixture"
    references = (WANG,)

    class Options(mosaic.Options):
        """Where the components come from: k-means, or the labels; without either there is one component."""

        components: int | None = Field(
            None, ge=1, le=10_000, description="Clusters of k-means. Default: one component for each class."
        )
        seed: int = Field(0, ge=0, lt=2**32, description="Seed of k-means.")

        def unused(self) -> Mapping[str, str]:
            """The seed, without k-means."""
            return {"seed": "components that are the classes"} if self.components is None else {}

    options: Options

    @property
    def traits(self) -> mosaic.Traits:
        """With clusters, the fingerprint holds the version of scipy, whose k-means makes them."""
        return replace(super().traits, fingerprint=self._fingerprint)

    def _fingerprint(self) -> str | None:
        return None if self.options.components is None else sha256(f"scipy {version('scipy')}".encode()).hexdigest()

    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        """Count the moments of each component, what computing one takes, and k-means's copies of the images."""
        pixels, counts = prod(self.dataset.shape), self.group_sizes(labels)
        components = self.options.components or max(1, len(self.dataset.classes))
        kept = sum(8 * pixels * (min(count, components * pixels) + 2 * components) for count in counts)
        clustering = 3 * 8 * max(counts) * pixels if self.options.components else 0
        is_held = isinstance(self.dataset.images, Tensor)  # and copied component by component
        fitting = 4 * max(counts) * pixels * is_held + Moments.peak_bytes(max(counts), pixels)
        return kept + max(clustering, fitting) + 8 * (8 + 3 * components) * batch * pixels

    def fit(self, images: mosaic.Images, labels: Tensor | None) -> list[tuple[float, Moments]]:
        """Weight (the weights add up to 1) and moments of each component, in float64."""
        if self.options.components is not None:
            members = clusters_of(images, min(self.options.components, len(images)), self.options.seed)
        else:
            members = torch.zeros(len(images), dtype=torch.int64, device=images.device) if labels is None else labels
        numbers, sizes = members.unique(return_counts=True)
        return [
            (
                float(size) / len(images),
                Moments.of(mosaic.select_images(images, torch.nonzero(members == number)[:, 0])),
            )
            for number, size in zip(numbers.tolist(), sizes.tolist(), strict=True)
        ]

    def apply(self, fitted: list[tuple[float, Moments]], x: Tensor, level: mosaic.Level) -> Tensor:
        """Give x0hat (B, D) of flat x (B, D): the components' Wiener filters, weighted by their posteriors."""
        logits = torch.stack([log(weight) + moments.log_density(x, level) for weight, moments in fitted])
        denoised = torch.stack([moments.denoise(x, level) for _, moments in fitted])
        return torch.einsum("jb,jbd->bd", logits.softmax(0), denoised)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Gaussian)
    register(GaussianMixture)
