"""Images of 64 pixels and more, of any shape and number of channels: every engine against loops in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import oracle
import pytest
import torch
from built_kernel import ENGINES, needs_kernel
from candidate_posteriors import posterior
from torch import Tensor

import mosaic


@dataclass
class Case:
    machine: str
    boundary: str
    shape: tuple[int, int, int]
    k: int
    count: int = 3
    noise: float = 0.8


def problem(case: Case) -> tuple[Tensor, Tensor, mosaic.Level]:
    """One noisy image, smooth training images of which the last two are alike, and their level."""
    generator = torch.Generator().manual_seed(case.k)
    channels, height, width = case.shape
    noise = torch.randn(case.count, channels, height + 6, width + 6, generator=generator)
    images = torch.nn.functional.avg_pool2d(noise, 7, 1).mul_(5).clamp_(-1, 1)
    images[-1] = images[-min(2, case.count)]
    level = mosaic.Level(math.sqrt(1 - case.noise**2), case.noise)
    x = level.signal * images[:1] + case.noise * torch.randn(1, *case.shape, generator=generator)
    return x, images, level


def expected_at(
    case: Case, x: np.ndarray, images: np.ndarray, level: mosaic.Level, pixel: tuple[int, int]
) -> tuple[np.ndarray, float, np.ndarray]:
    """Mean (C,), entropy and logits (N, H, W) at a pixel; the logits are -inf where a window is not a candidate."""
    k, radius, shape = case.k, case.k // 2, x.shape[1:]

    def cut(image: np.ndarray, row: int, col: int, wraps: bool) -> np.ndarray:
        rows, cols = (np.arange(centre - radius, centre + radius + 1) for centre in (row, col))
        seen = image[..., rows[:, None] % shape[0], cols % shape[1]]
        outside = (rows < 0) | (rows >= shape[0]), (cols < 0) | (cols >= shape[1])
        return seen if wraps else np.where(outside[0][:, None] | outside[1], 0, seen)

    def overhangs(place: tuple[int, int]) -> list[tuple[int, int]]:
        return [oracle.overhang(at, size, radius) for at, size in zip(place, shape, strict=True)]

    query, own = cut(x, *pixel, wraps=case.boundary != "zeros"), overhangs(pixel)
    logits = np.full((len(images), *shape), -np.inf)
    for i, j in np.ndindex(*shape):
        other = overhangs((i, j))
        is_candidate = {
            "ls": (i, j) == pixel,
            "els": {"zeros": own == other, "circular": True, "valid": other == [(0, 0), (0, 0)]}[case.boundary],
        }[case.machine]
        if is_candidate:
            differences = query - level.signal * cut(images, i, j, wraps=case.boundary == "circular")
            logits[:, i, j] = -(differences**2).sum((1, 2, 3)) / (2 * level.noise**2)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    assert k == query.shape[1]
    return np.einsum("nhw,nchw->c", shares, images), entropy, logits


CASES = [
    Case("els", "zeros", (3, 64, 64), 3),
    Case("els", "zeros", (3, 64, 64), 33),
    Case("els", "zeros", (3, 64, 64), 63),
    Case("els", "zeros", (3, 64, 64), 101),
    Case("els", "circular", (3, 64, 64), 17, 1),
    Case("els", "valid", (3, 64, 64), 33),
    Case("els", "valid", (4, 64, 48), 47),
    Case("ls", "zeros", (3, 64, 64), 127),
    Case("ls", "circular", (3, 64, 64), 65, 19),
    Case("els", "zeros", (4, 32, 96), 9),
    Case("els", "zeros", (1, 128, 40), 25),
    Case("els", "zeros", (2, 65, 67), 9, 2, 0.05),
    Case("els", "zeros", (16, 64, 64), 9, 2),
    Case("els", "circular", (8, 16, 16), 31, 5),
]

TRIED = {  # the other engines take longer
    "compiled": CASES,
    "torch": [Case("els", "zeros", (3, 64, 64), 33, 1), Case("els", "valid", (4, 64, 48), 47), CASES[7]],
    "reference": [replace(CASES[-1], count=2)],
}


def name_of(case: Case) -> str:
    return f"{case.machine}-{case.boundary}-{'x'.join(map(str, case.shape))}-{case.k}"


@pytest.mark.parametrize(
    ("case", "engine"),
    [(case, engine) for engine in ENGINES for case in TRIED[engine]],
    ids=lambda value: name_of(value) if isinstance(value, Case) else value,
)
def test_large_images_agree_with_loops_in_float64(case: Case, engine: str) -> None:
    """At a corner, at an edge and in the middle; mean, entropy and best candidate."""
    x, images, level = problem(case)
    actual = posterior(case.machine, case.boundary, x, images, level, case.k, engine, diagnostics=True)
    mean, entropy, place = actual.mean()[0].double().numpy(), actual.entropy()[0], torch.stack(actual.candidate())[:, 0]
    height, width = case.shape[1:]
    for pixel in ((0, width - 1), (height // 2, 1), (height // 2, width // 2)):
        expected = expected_at(case, x[0].double().numpy(), images.double().numpy(), level, pixel)
        row, col = pixel
        np.testing.assert_allclose(mean[:, row, col], expected[0], rtol=0, atol=2e-4)
        assert float(entropy[pixel]) == pytest.approx(expected[1], abs=1e-3)
        n, i, j = place[:, row, col].tolist()
        logits = expected[2]
        assert logits[n, i, j] > logits.max() - 4e-4  # float32 does not distinguish closer ones
        assert case.count == 1 or engine != "compiled" or n != len(images) - 1  # of equal images the first


@needs_kernel
@pytest.mark.parametrize("shape", [(3, 64, 64), (4, 64, 40)])
def test_engines_agree_at_every_pixel_of_large_images(shape: tuple[int, int, int]) -> None:
    case = Case("els", "zeros", shape, 9, 17)
    x, images, level = problem(case)
    compiled, convolved = (posterior("els", "zeros", x, images, level, 9, engine).mean() for engine in ENGINES[:2])
    torch.testing.assert_close(compiled, convolved, rtol=0, atol=4e-4)
