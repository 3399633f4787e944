"""Layers of the networks by their definitions: conditions, convolutions, attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mosaic_plugins.layers import Condition, ConvPair, FieldAttention, SelfAttention, _StraightThrough, conv3x3


@pytest.mark.parametrize("kind", ["softmax", "top1", "identity"])
def test_field_attention_by_its_definition(kind: Any) -> None:
    g = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    actual = FieldAttention(kind).eval()(g)
    for b in range(2):
        places = [(i, j) for i in range(4) for j in range(5)]
        mean = sum(g[b, :, i, j] for i, j in places) / len(places)
        for i, j in places:
            products = torch.stack([(g[b, :, i, j] - mean) @ (g[b, :, *q] - mean) for q in places])
            if kind == "softmax":
                weights = (products.exp() / products.exp().sum()).tolist()
                attended = sum(w * g[b, :, *q] for w, q in zip(weights, places, strict=True))
            else:
                attended = g[b, :, *(places[int(products.argmax())] if kind == "top1" else (i, j))]
            assert torch.allclose(actual[b, :, i, j], g[b, :, i, j] + attended)


def test_top1_is_drawn_in_training_only_and_lets_gradients_through() -> None:
    attention, g = FieldAttention("top1"), torch.randn(1, 2, 4, 4, requires_grad=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [attention.weights(g) for _ in range(3)]
        for weights in drawn:
            assert torch.equal(weights.sum(-1), torch.ones(1, 16))
            assert torch.equal(weights.max(-1).values, torch.ones(1, 16))
        assert not torch.equal(drawn[0], drawn[1])
        (slope,) = torch.autograd.grad((drawn[0] * torch.randn(16, 16)).sum(), g)
        assert slope.abs().max() > 0
        attention.eval()
        state = torch.get_rng_state()
        assert torch.equal(attention.weights(g), attention.weights(g))
        assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_top1_is_drawn_from_the_softmax_also_at_low_precision(dtype: torch.dtype) -> None:
    logits = torch.zeros(2000, 4, 64, dtype=dtype)
    logits[:, 1, 40], logits[:, 2, 40] = 6, 9
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = _StraightThrough.apply(logits)
    shares, expected = drawn.double().mean(0), logits[0].double().softmax(-1)
    assert drawn.dtype == dtype
    for q in range(64):
        for row in range(4):
            spread = (expected[row, q] * (1 - expected[row, q]) / 2000).sqrt()
            assert abs(shares[row, q] - expected[row, q]) < 4.5 * spread + 1e-3


def test_top1_has_the_gradient_of_the_softmax_of_its_noisy_logits() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 5, 7, generator=generator, requires_grad=True)
    slope = torch.randn(3, 5, 7, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = _StraightThrough.apply(logits)
        torch.manual_seed(0)
        noisy = logits.double() - (-torch.rand(3, 5, 7).double().log()).log()
    assert torch.equal(drawn.argmax(-1), noisy.argmax(-1))
    (actual,) = torch.autograd.grad((drawn * slope).sum(), logits)
    (expected,) = torch.autograd.grad((noisy.softmax(-1) * slope).sum(), logits)
    assert torch.allclose(actual, expected, atol=1e-6)


def drawn_layer(kind: Any, *arguments: Any) -> Any:
    """A layer in float64 with seeded weights, in use."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*arguments).double().eval().requires_grad_(False)


def test_self_attention_does_not_know_where_positions_are() -> None:
    layer = drawn_layer(SelfAttention, 6)
    h = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    moved = layer(h.flatten(2)[:, :, order].view(2, 6, 3, 4))
    torch.testing.assert_close(moved.flatten(2), layer(h).flatten(2)[:, :, order], rtol=0, atol=1e-12)


def test_self_attention_by_its_definition() -> None:
    layer, h = drawn_layer(SelfAttention, 4), torch.randn(1, 4, 2, 3, dtype=torch.float64)
    places = h[0].flatten(1).T  # (positions, channels)
    normed = (places - places.mean(1, keepdim=True)) / (places.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    query, key, value = (normed @ layer.project.weight.T + layer.project.bias).split(4, dim=1)
    weights = torch.softmax(query @ key.T / 2, dim=1)
    expected = places + weights @ value @ layer.out.weight.T + layer.out.bias
    torch.testing.assert_close(layer(h)[0].flatten(1).T, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_a_pair_of_convolutions_by_loops(padding: Any) -> None:
    layer = drawn_layer(ConvPair, 2, 3, 5, padding)
    h, condition = torch.randn(1, 2, 4, 5, dtype=torch.float64), torch.randn(1, 5, dtype=torch.float64)

    def convolved(image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        _, height, width = image.shape
        actual = bias[:, None, None].repeat(1, height, width)
        for i in range(height):
            for j in range(width):
                for u in (-1, 0, 1):
                    for v in (-1, 0, 1):
                        inside = 0 <= i + u < height and 0 <= j + v < width
                        if inside or padding == "circular":
                            actual[:, i, j] += weight[:, :, u + 1, v + 1] @ image[:, (i + u) % height, (j + v) % width]
        return actual * torch.sigmoid(actual)

    between = convolved(h[0], layer.first.weight, layer.first.bias)
    between = between + (layer.condition.weight @ condition[0] + layer.condition.bias)[:, None, None]
    expected = convolved(between, layer.second.weight, layer.second.bias)
    torch.testing.assert_close(layer(h, condition)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 4)])
def test_convolutions_keep_the_size(size: tuple[int, int]) -> None:
    for padding in ("zeros", "circular"):
        assert conv3x3(2, 3, padding)(torch.zeros(1, 2, *size)).shape == (1, 3, *size)


def test_a_condition_distinguishes_times_a_thousandth_apart_and_adds_the_class() -> None:
    layer = drawn_layer(Condition, 8, 3)
    t = torch.tensor([0.5, 0.501, 0.5, 0.5], dtype=torch.float64)
    embedded = layer(t, torch.tensor([1, 1, 2, 1]))
    assert torch.equal(embedded[0], embedded[3])
    assert float((embedded[0] - embedded[1]).abs().max()) > 1e-3
    torch.testing.assert_close(embedded[2] - embedded[0], layer.classes.weight[2] - layer.classes.weight[1])
    plain = drawn_layer(Condition, 8, 0)
    torch.testing.assert_close(plain(t, None)[0], embedded[0] - layer.classes.weight[1])
