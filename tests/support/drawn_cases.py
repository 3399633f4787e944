"""Training sets, noisy samples, levels and scales for the analytic machines, drawn by hypothesis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

__all__ = ["STYLES", "Case", "cases", "modest"]

STYLES = ["uniform", "near", "near constant", "duplicates", "constant", "quantised"]
modest = settings(deadline=None, derandomize=True, max_examples=40, database=None)


@dataclass
class Case:
    """A training set with labels, noisy samples with wanted labels, a level and a scale."""

    images: np.ndarray
    labels: np.ndarray
    x: np.ndarray
    wanted: np.ndarray | None
    level: tuple[float, float]
    k: int
    on_data: bool

    def images_for(self, sample: int) -> np.ndarray:
        wanted = -1 if self.wanted is None else self.wanted[sample]
        return self.images if wanted == -1 else self.images[self.labels == wanted]


@st.composite
def cases(
    draw: st.DrawFn,
    machine: str,
    boundary: str | None,
    log10_noise: tuple[float, float] = (-3.0, 0.0),
    on_data: bool | None = None,
    styles: list[str] = STYLES,
) -> Case:
    count = draw(st.integers(1, 5), label="N")
    channels = draw(st.sampled_from([1, 3]), label="C")
    height = draw(st.integers(2, 7), label="H")
    width = draw(st.integers(2, 7).filter(lambda width: width != height), label="W")
    largest = min(height, width) if boundary == "valid" else 2 * max(height, width) - 1
    k = 2 * draw(st.integers(0, (largest - 1) // 2), label="k // 2") + 1
    noise = 10 ** draw(st.floats(*log10_noise), label="log10 s")
    signal = draw(st.one_of(st.none(), st.floats(0.05, 2.0)), label="a (None: variance preserving)")
    if signal is None:
        signal = math.sqrt(max(1 - noise**2, 1e-6))
    style = draw(st.sampled_from(styles), label="images")
    on = draw(st.booleans(), label="x on the data") if on_data is None else on_data
    batch = draw(st.integers(1, 3), label="B")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))

    shape = (count, channels, height, width)
    images = rng.uniform(-1, 1, shape)
    if style.startswith("near"):  # images, or all their windows, less than one noise apart: every weight counts
        centre = images[:1] if style == "near" else images[:1, :1, :1, :1]
        spread = 2 / math.sqrt(channels * min(k * k, height * width))
        images = np.clip(centre + spread * noise / signal * rng.standard_normal(shape), -1, 1)
    elif style == "duplicates":
        images = images[rng.integers(0, 2, count) % count]
    elif style == "constant":
        images = np.broadcast_to(rng.integers(-1, 2, (count, 1, 1, 1)) * 1.0, shape).copy()
    elif style == "quantised":
        images = rng.integers(-2, 3, shape) / 2
    labels = rng.integers(0, 3, count)
    wanted = rng.choice([-1, *labels], batch) if draw(st.booleans(), label="labels") else None
    if on:
        x = signal * images[rng.integers(0, count, batch)] + noise * rng.standard_normal((batch, *shape[1:]))
    else:
        x = rng.uniform(-3, 3, (batch, *shape[1:])) * rng.choice([0.1, 1.0, 10.0], (batch, 1, 1, 1))
    return Case(images, labels, x, wanted, (signal, noise), k, on)
