"""ELS with attention: each form against its definition, in float64 and loops."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import two_valued_images
from torch import Tensor

import mosaic
from mosaic_plugins.attention import ELSAttention, attention_weights, windows_of
from mosaic_plugins.machines import ELS

LEVEL = mosaic.Level(0.8, 0.6)
K = 3


@pytest.fixture
def data() -> mosaic.DataSet:
    images = torch.rand(4, 2, 5, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return mosaic.DataSet("four", images, torch.tensor([0, 1, 0, 1]))


def noisy(data: mosaic.DataSet, seed: int = 0) -> Tensor:
    noise = torch.randn(data.images[:2].shape, generator=torch.Generator().manual_seed(seed))
    return LEVEL.signal * data.images[:2] + LEVEL.noise * noise


def machine(data: mosaic.DataSet, **options: Any) -> ELSAttention:
    return ELSAttention(ELSAttention.Options(**options), data)


def els_of(x: Tensor, images: Tensor, boundary: str) -> Tensor:
    """The oracle's x0hat (B, C, H, W)."""
    arrays = [
        oracle.els(sample.double().numpy(), images.double().numpy(), LEVEL.signal, LEVEL.noise, K, boundary)
        for sample in x
    ]
    return torch.from_numpy(np.stack(arrays))


def window_means(x: Tensor, images: Tensor, boundary: str) -> Tensor:
    """Posterior means (C k^2, H, W) of the windows of one image x (C, H, W), by the oracle."""
    arguments = (x.double().numpy(), images.double().numpy(), LEVEL.signal, K)
    actual = torch.zeros(x.shape[0] * K**2, *x.shape[1:], dtype=torch.float64)
    for pixel in oracle.pixels("els", boundary, *arguments):
        actual[:, pixel.row, pixel.column] = torch.from_numpy(pixel.weights(LEVEL.noise) @ pixel.patches)
    return actual


def alpha_of(embedding: Tensor, kind: str, temperature: float, exclude_self: bool) -> Tensor:
    """Attention weights (P, P) of one embedding (D, H, W), from the definition, in loops."""
    vectors = embedding.flatten(1).T
    vectors = vectors - vectors.mean(0)
    count = len(vectors)
    alpha = torch.zeros(count, count, dtype=torch.float64)
    for p in range(count):
        allowed = [q for q in range(count) if q != p or not exclude_self]
        products = torch.stack([vectors[p] @ vectors[q] for q in allowed]) / temperature
        if kind == "softmax":
            alpha[p, allowed] = products.softmax(0)
        else:
            alpha[p, allowed[int(products.argmax())]] = 1
    return alpha


SETTINGS = [
    {"attention": kind, "temperature": temperature, "exclude_self": exclude, "embedding": embedding}
    for (kind, temperature, exclude), embedding in itertools.product(
        (("softmax", 1.0, False), ("softmax", 3.0, True), ("top1", 1.0, False), ("top1", 1.0, True)),
        ("score", "window"),
    )
]


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("value", ["denoised", "score"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_compose_mixes_the_field_of_els(
    data: mosaic.DataSet, boundary: str, value: str, settings: dict[str, Any]
) -> None:
    x = noisy(data)
    actual = machine(data, boundary=boundary, value=value, **settings).denoise(x, LEVEL, None, K)
    local = els_of(x, data.images, boundary)
    a, s = LEVEL.signal, LEVEL.noise
    for b in range(len(x)):
        sample = x[b].double()
        score = (a * local[b] - sample) / s**2
        embedding = -s * score if settings["embedding"] == "score" else window_means(x[b], data.images, boundary)
        alpha = alpha_of(embedding, settings["attention"], settings["temperature"], settings["exclude_self"])
        mixed = local[b] if value == "denoised" else score
        mixed = (mixed + (alpha @ mixed.flatten(1).T).T.reshape(mixed.shape)) / 2
        expected = mixed if value == "denoised" else (sample + s**2 * mixed) / a
        torch.testing.assert_close(actual[b].double(), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("form", ["compose", "mixture"])
def test_identity_attention_is_els(data: mosaic.DataSet, form: str) -> None:
    x = noisy(data)
    plain = ELS(None, data).denoise(x, LEVEL, None, K)
    actual = machine(data, form=form, attention="identity")
    assert torch.equal(actual.denoise(x, LEVEL, None, K), plain)


@pytest.mark.parametrize("embedding", ["score", "window"])
@pytest.mark.parametrize("value", ["denoised", "score"])
def test_the_mixing_itself_gives_back_els_where_pixels_attend_to_themselves(
    data: mosaic.DataSet, embedding: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the short cut of `identity`: the weights of softmax are put aside."""
    x = noisy(data)
    eye = attention_weights(torch.randn(1, 2, *x.shape[2:]), "identity")
    monkeypatch.setattr("mosaic_plugins.attention.attention_weights", lambda *_: eye)
    actual = machine(data, embedding=embedding, value=value).denoise(x, LEVEL, None, K)
    plain = ELS(ELS.Options(engine="torch" if embedding == "window" else "auto"), data).denoise(x, LEVEL, None, K)
    assert torch.allclose(actual, plain, atol=2e-6)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_mixture_is_the_gradient_of_the_log_mixture(
    data: mosaic.DataSet, boundary: str, settings: dict[str, Any]
) -> None:
    """By autograd in float64: grad log sum_ip [N(P; a window p of i, s^2) + sum_q alpha_pq N(P; a window q, s^2)]."""
    a, s, images = LEVEL.signal, LEVEL.noise, data.images
    eps = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    steps = a * images + s * eps
    local = els_of(steps, images, boundary)
    alphas = []
    for i in range(len(images)):
        field = (steps[i].double() - a * local[i]) / s
        embedding = field if settings["embedding"] == "score" else window_means(steps[i], images, boundary)
        alphas.append(alpha_of(embedding, settings["attention"], settings["temperature"], settings["exclude_self"]))
    x = noisy(data, seed=5)[:1]
    actual = machine(data, form="mixture", boundary=boundary, **settings).denoise(x, LEVEL, None, K)[0].double()
    arguments = (x[0].double().numpy(), images.double().numpy(), a, K)
    for pixel in oracle.pixels("els", boundary, *arguments):
        target = pixel.differences[0] + a * pixel.patches[0]  # the noisy window P itself
        window = torch.from_numpy(target).requires_grad_()
        distance = (window - a * torch.from_numpy(pixel.patches)).square().sum(1)
        terms = []
        for (i, row, column), squared in zip(pixel.places, distance, strict=True):
            q = row * images.shape[3] + column
            attended = alphas[i][:, q].sum()  # over all p, of whatever border class
            terms.append(-squared / (2 * s**2) + torch.log1p(attended))
        (slope,) = torch.autograd.grad(torch.stack(terms).logsumexp(0), window)
        centre = slope.reshape(images.shape[1], K, K)[:, K // 2, K // 2]
        noisy_pixel = x[0, :, pixel.row, pixel.column].double()
        expected = (noisy_pixel + s**2 * centre) / a
        torch.testing.assert_close(actual[:, pixel.row, pixel.column], expected, rtol=0, atol=2e-4)


def test_the_in_degree_of_several_draws_is_their_mean(data: mosaic.DataSet) -> None:
    noise = torch.randn(3, *data.images.shape, generator=torch.Generator().manual_seed(7))
    degrees = []
    for draw in noise:
        _, embedding, _ = machine(data).field(LEVEL.signal * data.images + LEVEL.noise * draw, data.images, LEVEL, K)
        degrees.append(attention_weights(embedding, "top1").sum(1).reshape(4, 5, 4))
    actual = machine(data, form="mixture", attention="top1", draws=3, seed=7).window_weights(data.images, LEVEL, K)
    torch.testing.assert_close(actual, 1 + sum(degrees) / 3)
    torch.testing.assert_close(actual.mean((1, 2)), torch.full((4,), 2.0))  # every pixel attends to one


@pytest.mark.parametrize(
    ("options", "unused"),
    [
        ({}, {"draws": 2, "seed": 1}),
        ({"form": "mixture"}, {"value": "score"}),
        ({"attention": "top1"}, {"temperature": 2.0}),
        ({"embedding": "window"}, {"engine": "reference"}),
        (
            {"attention": "identity"},
            {"value": "score", "embedding": "window", "temperature": 2.0, "exclude_self": True},
        ),
        ({"attention": "identity", "form": "mixture"}, {"draws": 2, "seed": 1}),
    ],
)
def test_options_that_would_not_be_used_are_refused(
    data: mosaic.DataSet, options: dict[str, Any], unused: dict[str, Any]
) -> None:
    x, plain = noisy(data), machine(data, **options).denoise(noisy(data), LEVEL, None, K)
    for name, value in unused.items():
        with pytest.raises(mosaic.UsageError, match=name):
            mosaic.score("els-attention", data, **options, **{name: value})
        kept = machine(data, **options, **{name: ELSAttention.Options.model_fields[name].default})
        assert torch.equal(kept.denoise(x, LEVEL, None, K), plain)


def test_in_degrees_are_computed_once(data: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"form": "mixture", "attention": "top1"}
    first = machine(data, **options).denoise(noisy(data), LEVEL, None, K)
    monkeypatch.setattr(ELSAttention, "_window_weights", lambda *_: pytest.fail("computed again"))
    assert torch.equal(machine(data, **options).denoise(noisy(data), LEVEL, None, K), first)
    others = [{"seed": 1}, {"boundary": "circular"}, {"draws": 2}, {"exclude_self": True}, {"embedding": "window"}]
    for changed in (*others, {"attention": "softmax"}, {"attention": "softmax", "temperature": 2.0}):
        with pytest.raises(pytest.fail.Exception):
            machine(data, **{**options, **changed}).denoise(noisy(data), LEVEL, None, K)
    for level, k in ((mosaic.Level(0.8, 0.61), K), (LEVEL, 5)):
        with pytest.raises(pytest.fail.Exception):
            machine(data, **options).denoise(noisy(data), level, None, k)
    with pytest.raises(pytest.fail.Exception):
        machine(data.select(torch.tensor([0, 2, 3])), **options).denoise(noisy(data), LEVEL, None, K)


@pytest.mark.parametrize("form", ["compose", "mixture"])
def test_a_sample_with_a_label_is_compared_with_its_class_only(data: mosaic.DataSet, form: str) -> None:
    x, labels = noisy(data), torch.tensor([1, 0])
    actual = machine(data, form=form).denoise(x, LEVEL, labels, K)
    for b in range(2):
        alone = data.select(torch.nonzero(data.labels == labels[b])[:, 0])
        expected = machine(alone, form=form).denoise(x[b : b + 1], LEVEL, None, K)
        torch.testing.assert_close(actual[b : b + 1], expected, rtol=0, atol=1e-6)


def test_x0hat_stays_in_the_range_of_the_data(data: mosaic.DataSet) -> None:
    x = noisy(data)
    for form in ("compose", "mixture"):
        actual = machine(data, form=form).denoise(x, LEVEL, None, K)
        assert data.images.min() - 1e-5 <= actual.min() <= actual.max() <= data.images.max() + 1e-5


@pytest.mark.parametrize(
    ("boundary", "k"), [("zeros", 1), ("zeros", 3), ("zeros", 7), ("circular", 3), ("circular", 7)]
)
def test_windows_are_cut_out_as_the_oracle_does(data: mosaic.DataSet, boundary: str, k: int) -> None:
    actual = windows_of(data.images, k, boundary)
    for n, i, j in np.ndindex(4, 5, 4):
        expected = oracle.window(data.images[n].double().numpy(), i, j, k, boundary == "circular")
        assert actual[n, :, i, j].tolist() == pytest.approx(expected.ravel().tolist())


def test_it_runs_by_name(tiny_file: Path) -> None:
    run = mosaic.run(
        "els-attention", "file", dataset_options={"path": str(tiny_file)}, samples=2, steps=3, scales="3",
        score_options={"form": "mixture", "attention": "top1"},
    )  # fmt: skip
    assert bool(np.isfinite(run["image"].values).all())


@pytest.mark.parametrize("form", ["compose", "mixture"])
@pytest.mark.parametrize("embedding", ["score", "window"])
def test_attention_names_the_windows_of_its_posterior(form: str, embedding: str) -> None:
    images = two_valued_images(4, 3)
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
