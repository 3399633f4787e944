"""Every theory gives of images that are read in pieces what it gives of the same images in memory, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from built_kernel import MISSING
from small_training import train

import mosaic
import mosaic.testing
from mosaic.device import limited_threads
from mosaic.engine import compute, ideal, jacobian, nearest, ties

COUNT = 150
THEORIES: list[tuple[str, dict[str, Any]]] = [
    ("is", {}),
    ("es", {}),
    *[("ls", {"engine": engine}) for engine in ("compiled", "torch", "reference")],
    *[
        ("els", {"engine": engine, "boundary": boundary})
        for engine in ("compiled", "torch")
        for boundary in ("zeros", "circular", "valid")
    ],
    ("els", {"engine": "reference"}),
    ("soft-els", {}),
    ("els-attention", {"embedding": "window"}),
    ("els-attention", {"form": "mixture"}),
    ("filtered", {"window": "box", "mirrored": True}),
    ("filtered", {"window": "soft", "mixture": 2}),
    ("filtered", {"window": "whole", "source": "place", "mirrored": True}),
    ("gaussian", {}),
    ("gaussian-mixture", {}),
    ("gaussian-mixture", {"components": 3}),
    ("pca-locality", {}),
    ("pca-locality", {"average": "batches", "batch": 40}),
    ("golden-subset", {}),
    ("smoothed", {"draws": 2}),
    ("smoothed", {"draws": 2, "neighbours": 20}),
    ("patch-posterior", {}),
    ("patch-posterior", {"flips": True, "boundary": "circular"}),
    ("nearest", {}),
    ("nearest-patch", {}),
    ("switch", {"above": "gaussian", "below": "els"}),
]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[mosaic.DataSet, mosaic.DataSet]:
    """The same images read in pieces and in memory, of which two are equal; cut into many blocks."""
    for module, name, value in [
        (compute, "CPU_BLOCK", 2**13),
        (jacobian, "BLOCK", 2**11),
        (nearest, "CHUNK", 2**11),
        (ties, "CHUNK", 2**10),
        (ties, "SEARCHED", 2**11),
    ]:
        monkeypatch.setattr(module, name, value)
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 5, 5), dtype=np.uint8)
    pixels[50] = pixels[3]
    np.save(tmp_path / "x.npy", pixels)
    labels = torch.arange(COUNT) % 3
    streamed = mosaic.DataSet("x", np.load(tmp_path / "x.npy", mmap_mode="r"), labels)
    held = mosaic.DataSet("x", torch.from_numpy(pixels).float() / 127.5 - 1, labels)
    assert streamed.fingerprint() == held.fingerprint()
    return streamed, held


def parts(attribution: mosaic.Attribution) -> list[torch.Tensor]:
    source = attribution.source
    mean = [attribution.denoised, attribution.weight, attribution.entropy]
    return [*mean, source.image, source.row, source.column, source.multiplicity]


@pytest.mark.parametrize(("name", "options"), THEORIES, ids=str)
def test_every_theory_gives_the_same_bits(
    name: str, options: dict[str, Any], sets: tuple[mosaic.DataSet, mosaic.DataSet]
) -> None:
    if options.get("engine") == "compiled" and MISSING:
        pytest.skip(MISSING)
    kind = mosaic.registry().get("score", name)
    streamed, held = (kind(kind.Options(**options), dataset) for dataset in sets)
    labels, noises = torch.tensor([-1, 2]), torch.randn(2, 3, 5, 5, generator=torch.manual_seed(1))
    for noise in (0.8, 0.1):
        level = mosaic.Level((1 - noise**2) ** 0.5, noise)
        x = level.signal * sets[1].images[[50, 7]] + noise * noises
        assert torch.equal(streamed.denoise(x, level, None, 3), held.denoise(x, level, None, 3))
    with limited_threads(1):
        assert torch.equal(streamed.denoise(x, level, labels, 3), held.denoise(x, level, labels, 3))
    if held.traits.has_attribution:
        for at in (level, mosaic.Level(1.0, 0.0)):
            pairs = zip(*(parts(model.attribute(x, at, labels, 3)) for model in (streamed, held)), strict=True)
            assert all(torch.equal(first, second) for first, second in pairs)
    slopes = [model.jacobian(x[:1], level, None, 3) for model in (streamed, held)]
    assert slopes[0] is slopes[1] or torch.equal(*slopes)


@pytest.mark.parametrize("name", ["is", "ls", "els", "gaussian", "golden-subset"])
def test_what_a_theory_says_of_its_memory_does_not_grow_with_a_set_in_pieces(name: str) -> None:
    kind = mosaic.registry().get("score", name)
    pixels = np.lib.format.open_memmap("zeros.npy", "w+", np.uint8, (20_000, 1, 4, 4))
    sizes = [kind(kind.Options(), mosaic.DataSet("x", pixels[:count])) for count in (10_000, 20_000)]
    first, second = (model.traits.memory(1, 3, torch.float32, (-1,)) for model in sizes)
    assert second.block == first.block
    assert second.held - first.held <= 100 * 10_000
    assert second.read <= 2**24


def test_runs_metrics_and_views_are_the_same(sets: tuple[mosaic.DataSet, mosaic.DataSet]) -> None:
    runs = [
        mosaic.run("els", dataset=each, steps=2, samples=2, scales=3, save="provenance,entropy", save_steps="all")
        for each in sets
    ]
    xr.testing.assert_identical(*(run.drop_attrs() for run in runs))
    assert runs[0].attrs["dataset_fingerprint"] == runs[1].attrs["dataset_fingerprint"]
    run = runs[0]
    for look in (
        lambda each: run.mosaic.nearest_train(each, progress=False),
        lambda each: run.mosaic.measure("memorized", each),
        lambda each: run.mosaic.measure("local_consistency", each),
        lambda each: run.mosaic.mosaic_map(0, each),
    ):
        xr.testing.assert_identical(*(look(each) for each in sets))


def test_a_network_trained_in_pieces_is_that_trained_in_memory(
    sets: tuple[mosaic.DataSet, mosaic.DataSet], tmp_path: Path
) -> None:
    weights = [
        train(each, str(tmp_path / str(place)), batch_size=50, epochs=2).load().state_dict()
        for place, each in enumerate(sets)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


@pytest.mark.parametrize("name", ["is", "ls", "els", "gaussian", "pca-locality", "patch-posterior"])
def test_theories_pass_the_conformance_suite_on_images_in_pieces(name: str) -> None:
    held = mosaic.testing.case.small_dataset()
    np.save("small.npy", held.images.numpy())
    dataset = mosaic.DataSet("small", np.load("small.npy", mmap_mode="r"), held.labels, held.classes)
    for check in mosaic.testing.checks_of("score", mosaic.registry().get("score", name), dataset=dataset):
        assert check() in ("passed", "does not apply")


def test_blocks_of_whole_images_are_cut_by_shapes(sets: tuple[mosaic.DataSet, mosaic.DataSet]) -> None:
    """The blocks of these tests are several, or nothing would be tested."""
    assert ideal.workspace_bytes(1) > 0
    assert min(compute.CPU_BLOCK // 128, 4 * compute.CPU_BLOCK // 75) < COUNT / 2
