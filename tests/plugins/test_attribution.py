"""What the machines say x0hat is made of, against brute force: best candidates, ties, weights, entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
import torch

import mosaic

K, LEVEL = 3, mosaic.Level(0.8, 0.6)
CASES = [
    (machine, boundary, engine)
    for machine, boundary in oracle.CASES
    for engine in (("torch", "compiled", "reference") if machine in ("ls", "els") else ("torch",))
]
named = pytest.mark.parametrize(
    ("machine", "boundary", "engine"), CASES, ids=["-".join(filter(None, c)) for c in CASES]
)


def plain_images(seed: int, channels: int = 1) -> torch.Tensor:
    """Images (6, C, 6, 5) of two values, with an image twice, and mostly blank: many windows have equals."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(6, channels, 6, 5, generator=generator) > 0.8).double() * 2 - 1
    images[4] = images[1]
    images[5] = images[2].roll((1, 2), (1, 2))
    return images


def build(machine: str, boundary: str | None, engine: str, images: torch.Tensor, **more: Any) -> mosaic.ScoreModel:
    kind = mosaic.registry().get("score", machine)
    options = {} if boundary is None else {"boundary": boundary, "engine": engine}
    return kind(kind.Options(**options), mosaic.DataSet("plain", images, **more))


def check(actual: mosaic.Attribution, machine: str, boundary: str | None, x: Any, images: Any, exact: float) -> None:
    """Hold one sample's diagnosis equal to brute force wherever `exact` does not leave the best candidate open."""
    compared = 0
    for pixel in oracle.pixels(machine, boundary, x, images, LEVEL.signal, K):
        place = (0, pixel.row, pixel.column)
        weights, logits = pixel.weights(LEVEL.noise), pixel.logits(LEVEL.noise)
        entropy = -(weights[weights > 0] * np.log(weights[weights > 0])).sum()
        assert float(actual.entropy[place]) == pytest.approx(entropy, abs=max(exact, 1e-9))
        assert float(actual.weight[place]) == pytest.approx(weights.max(), rel=10 * max(exact, 1e-9))
        best = int(logits.argmax())
        equal = (pixel.patches == pixel.patches[best]).all(1)
        if (logits[best] - logits[~equal] <= exact).any():
            continue
        compared += 1
        source = tuple(int(value[place]) for value in (actual.source.image, actual.source.row, actual.source.column))
        assert int(actual.source.multiplicity[place]) == equal.sum()
        assert source in [pixel.places[n] for n in np.flatnonzero(equal)]
        if machine != "es":  # whose order is that of the first pixel's sources
            assert source == pixel.places[int(np.flatnonzero(equal)[0])]
    assert compared >= 20


@named
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_sources_ties_weights_and_entropy_by_brute_force(
    machine: str, boundary: str | None, engine: str, channels: int, seed: int
) -> None:
    images = plain_images(seed, channels)
    x = LEVEL.signal * images[3:4] + LEVEL.noise * torch.randn(1, channels, 6, 5, dtype=torch.float64)
    dtype = torch.float32 if engine == "compiled" else torch.float64
    model = build(machine, boundary, engine, images.to(dtype))
    actual = model.attribute(x.to(dtype), LEVEL, None, K)
    assert actual is not None
    check(
        actual,
        machine,
        boundary,
        x[0].to(dtype).double().numpy(),
        images.numpy(),
        2e-4 if engine == "compiled" else 1e-9,
    )
    denoised = model.denoise(x.to(dtype), LEVEL, None, K)
    torch.testing.assert_close(actual.denoised, denoised, rtol=0, atol=1e-6 if engine == "compiled" else 1e-12)


@named
def test_a_sample_with_a_label_names_images_of_the_whole_set(machine: str, boundary: str | None, engine: str) -> None:
    images = plain_images(2).float()
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    x = LEVEL.signal * images[[3, 0]] + LEVEL.noise * torch.randn(2, 1, 6, 5)
    model = build(machine, boundary, engine, images, labels=labels, classes=("a", "b"))
    actual = model.attribute(x, LEVEL, torch.tensor([1, -1]), K)
    assert actual is not None
    places = torch.tensor([1, 3, 4])
    alone = build(machine, boundary, engine, images[places]).attribute(x[:1], LEVEL, None, K)
    whole = build(machine, boundary, engine, images).attribute(x[1:], LEVEL, None, K)
    assert alone is not None
    assert whole is not None
    assert torch.equal(actual.source.image[0], places[alone.source.image[0]])
    assert torch.equal(actual.source.image[1], whole.source.image[0])
    assert torch.equal(actual.source.multiplicity, torch.cat([alone.source.multiplicity, whole.source.multiplicity]))
    torch.testing.assert_close(actual.entropy, torch.cat([alone.entropy, whole.entropy]))


def test_without_noise_the_source_holds_the_final_pixel() -> None:
    """Theorem 4.1 in small: the posterior's best candidate is x0hat."""
    images = plain_images(3)
    for machine, boundary in oracle.CASES:
        model = build(machine, boundary, "torch", images)
        x = images[:2] + 0.01 * torch.randn(2, 1, 6, 5, dtype=torch.float64)
        actual = model.attribute(x, mosaic.Level(1.0, 0.001), None, K)
        assert actual is not None
        source = actual.source
        rebuilt = images[source.image, :, source.row, source.column].movedim(-1, 1)
        torch.testing.assert_close(rebuilt, actual.denoised, rtol=0, atol=1e-6)
        assert (actual.source.multiplicity >= 1).all()
        assert (actual.weight * actual.source.multiplicity <= 1 + 1e-9).all()


@pytest.mark.parametrize("form", ["compose", "mixture"])
@pytest.mark.parametrize("embedding", ["score", "window"])
def test_attention_names_the_windows_of_its_posterior(form: str, embedding: str) -> None:
    images = plain_images(4, 3)
    kind, els = (mosaic.registry().get("score", name) for name in ("els-attention", "els"))
    dataset = mosaic.DataSet("plain", images)
    model = kind(kind.Options(form=form, embedding=embedding, attention="top1"), dataset)
    x = LEVEL.signal * images[:2] + LEVEL.noise * torch.randn(2, 3, 6, 5, dtype=torch.float64)
    actual = model.attribute(x, LEVEL, None, K)
    plain = els(els.Options(), dataset).attribute(x, LEVEL, None, K)
    torch.testing.assert_close(actual.denoised, model.denoise(x, LEVEL, None, K), rtol=0, atol=1e-12)
    if form == "compose":
        assert torch.equal(actual.source.image, plain.source.image)
        assert torch.equal(actual.source.multiplicity, plain.source.multiplicity)
        return
    counts = model.window_weights(images, LEVEL, K)
    source = actual.source
    windows = mosaic.window_keys(images, K, wraps=False)
    chosen = (source.image, source.row, source.column)
    for place in np.ndindex(*source.image.shape):
        own = tuple(int(value[place]) for value in chosen)
        equal = (windows == windows[own]) & (counts == counts[own])
        assert int(source.multiplicity[place]) == int(equal.sum())
        assert own == tuple(torch.nonzero(equal)[0].tolist())


@named
@pytest.mark.parametrize("labels", [None, [0, 1]])
def test_final_images_are_traced_to_the_nearest_candidates(
    machine: str, boundary: str | None, engine: str, labels: list[int] | None
) -> None:
    """Theorem 4.1: what a pixel is at the end of the flow; by brute force, among images of the sample's class."""
    images = plain_images(5)
    classes = torch.tensor([0, 1, 0, 1, 1, 0])
    dtype = torch.float32 if engine == "compiled" else torch.float64
    model = build(machine, boundary, engine, images.to(dtype), labels=classes, classes=("a", "b"))
    finals = images[[3, 0]] + 0.3 * torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0)).double()
    given = None if labels is None else torch.tensor(labels)
    actual = model.attribute(finals.to(dtype), mosaic.Level(1.0, 0.0), given, K).source
    assert actual is not None
    for sample, final in enumerate(finals):
        allowed = torch.arange(6) if labels is None else torch.nonzero(classes == labels[sample])[:, 0]
        for pixel in oracle.pixels(machine, boundary, final.numpy(), images[allowed].numpy(), 1.0, K):
            squares = (pixel.differences**2).sum(1)
            best = int(squares.argmin())
            equal = (pixel.patches == pixel.patches[best]).all(1)
            if (squares[~equal] - squares[best] < 1e-4).any():
                continue
            place = (sample, pixel.row, pixel.column)
            image, *rest = (int(value[place]) for value in (actual.image, actual.row, actual.column))
            sources = [(int(allowed[n]), i, j) for n, i, j in (pixel.places[m] for m in np.flatnonzero(equal))]
            assert (image, *rest) == sources[0] if machine != "es" else (image, *rest) in sources
            assert int(actual.multiplicity[place]) == len(sources)
