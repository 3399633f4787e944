"""Real MNIST, where MOSAIC_DATA has it: its facts, and the main job on it, exact against brute force, and a mosaic."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.lib.stride_tricks import sliding_window_view

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic_data.idx import IdxFile
from mosaic_data.torchvision_sets import Mnist

DATA = os.environ.get("MOSAIC_DATA", "")
pytestmark = pytest.mark.skipif(
    not (Path(DATA) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file(), reason="MOSAIC_DATA has no MNIST"
)
LIMIT = 100


def load(**options: int) -> mosaic.DataSet:
    return Mnist(Mnist.Options(**options), DataAccess(Path(DATA))).load()


@pytest.fixture
def images() -> np.ndarray:
    return np.asarray(load(limit=LIMIT).images[:, 0].double())


def brute_force(x: np.ndarray, images: np.ndarray, a: float, s: float, k: int, i: int, j: int) -> float:
    """ELS (zeros) at one pixel, in float64: all windows of all images that hang over as the pixel's does."""
    size, r = len(x), k // 2
    rows, cols = slice(max(0, i - r), i + r + 1), slice(max(0, j - r), j + r + 1)
    window = x[rows, cols]
    inner = [r <= p < size - r for p in (i, j)]
    band = images if inner[0] else images[:, rows]
    band = band if inner[1] else band[:, :, cols]
    candidates = sliding_window_view(band, window.shape, axis=(1, 2))
    distances = ((window - a * candidates) ** 2).sum((-1, -2)).ravel() / (2 * s**2)
    centres = candidates[..., i - max(0, i - r), j - max(0, j - r)].ravel()
    weights = np.exp(distances.min() - distances)
    return float((weights * centres).sum() / weights.sum())


@pytest.mark.system
def test_els_on_mnist_is_exact_at_every_step_and_is_not_a_copy_while_is_is(
    invoke: Callable[..., Result], images: np.ndarray
) -> None:
    arguments = ["--dataset", "mnist", "-o", f"dataset.limit={LIMIT}", "--samples", 2]
    for score, more in (("els", []), ("is", ["--init", "els.nc"])):
        result = invoke("run", "--score", score, *arguments, *more, "--out", f"{score}.nc")
        assert result.exit_code == 0, result.output
    with mosaic.open("els.nc") as els, mosaic.open("is.nc") as ideal:
        assert els["scale"].values[[0, 10, 19]].tolist() == [15, 9, 3]  # paper/mnist-resnet-zeros, the default
        generator = np.random.default_rng(0)
        for step in range(els.sizes["step"]):
            moment = els.isel(step=step, sample=step % 2, channel=0)
            state = moment["state"].values.astype(np.float64)
            a, s, k = float(moment["signal"]), float(moment["noise"]), int(moment["scale"])
            # A corner, an edge and two more pixels of each step.
            for i, j in [(0, 31), (1, 16), *generator.integers(0, 32, (2, 2))]:
                expected = brute_force(state, images, a, s, k, int(i), int(j))
                assert float(moment["denoised"][i, j]) == pytest.approx(expected, abs=2e-4)

        def nearest(run: object) -> np.ndarray:
            finals = run["image"].values[:, 0].astype(np.float64)  # type: ignore[index]
            return np.sqrt(((finals[:, None] - images) ** 2).sum((2, 3)).min(1))

        assert nearest(ideal).max() < 1e-3
        assert nearest(els).min() > 3


def test_real_mnist_has_the_published_facts() -> None:
    dataset = load(size=28)
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    unit = (dataset.images + 1) / 2
    assert unit.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert unit.std().item() == pytest.approx(0.3081, abs=5e-5)


def test_real_mnist_resized_keeps_its_corners_black_and_its_classes_even() -> None:
    first, second = (load(limit=100) for _ in range(2))
    assert first.shape == (1, 32, 32)
    assert (first.images[:, :, 0, 0] == -1).all()
    assert first.labels is not None
    assert first.labels.bincount().tolist() == [10] * 10
    assert first.fingerprint() == second.fingerprint()


def test_real_mnist_reads_as_torchvision_reads_it() -> None:
    root = Path(DATA)
    reference = mosaic.import_torchvision().datasets.MNIST(root, train=True)
    assert torch.equal(IdxFile(root / Mnist.folder / Mnist.files[0], 3).read(), reference.data)
    assert torch.equal(IdxFile(root / Mnist.folder / Mnist.files[1], 1).read().long(), reference.targets)
