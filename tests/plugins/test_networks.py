"""The built-in networks: receptive fields, symmetries, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mosaic
from mosaic_plugins.networks import ResNet, ResNetAttention, UNet, UNetAttention

SMALL: list[tuple[type[mosaic.Network], dict[str, Any]]] = [
    (ResNet, {"channels": 4, "blocks": 0}),
    (ResNet, {"channels": 6, "blocks": 3}),
    (UNet, {"channels": (3,)}),
    (UNet, {"channels": (3, 4)}),
    (UNet, {"channels": (3, 4, 5)}),
    (ResNet, {"channels": 16, "blocks": 1, "variant": "released"}),
    (UNet, {"channels": (6, 8), "variant": "released"}),
    (ResNetAttention, {"channels": 6, "blocks": 2, "embedding": 3, "attention": "identity"}),
]


def network(kind: type[mosaic.Network], **options: Any) -> mosaic.Network:
    return kind(kind.Options(**options))


def built(of: mosaic.Network, channels: int = 1, classes: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return of.build(channels, classes).double().requires_grad_(False)


def support(module: nn.Module, size: int, pixel: int, draws: int = 12) -> Tensor:
    """Pixels that eps at (pixel, pixel) depends on, by autograd; which ones max-pooling passes depends on the input."""
    seen = torch.zeros(size, size, dtype=torch.bool)
    generator = torch.Generator().manual_seed(1)
    for _ in range(draws):
        x = torch.randn(1, 1, size, size, generator=generator, dtype=torch.float64).requires_grad_(True)
        eps = module(x, torch.tensor([0.3], dtype=torch.float64), None)
        (gradient,) = torch.autograd.grad(eps[0, 0, pixel, pixel], x)
        seen |= gradient[0, 0] != 0
    return seen


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_the_receptive_field_is_what_autograd_finds(kind: type[mosaic.Network], options: dict[str, Any]) -> None:
    made = network(kind, **options)
    field = made.receptive_field()
    assert field is not None
    module, farthest = built(made), 0
    for offset in range(4):
        pixel = 32 + offset
        rows, cols = support(module, 64, pixel).nonzero(as_tuple=True)
        reach = max(pixel - int(rows.min()), int(rows.max()) - pixel, pixel - int(cols.min()), int(cols.max()) - pixel)
        assert 2 * reach + 1 <= field
        farthest = max(farthest, reach)
    assert 2 * farthest + 1 == field


def test_the_paper_resnet_sees_seventeen_pixels() -> None:
    assert network(ResNet).receptive_field() == 17


def test_attention_sees_the_whole_image() -> None:
    made = network(UNetAttention, channels=(3, 4))
    assert made.receptive_field() is None
    assert support(built(made), 32, 3, draws=20)[-8:, -8:].any()


@pytest.mark.parametrize("attention", ["softmax", "top1"])
@pytest.mark.parametrize("embedding", [None, 6])
def test_the_resnet_with_attention_sees_everything_and_keeps_its_symmetry(
    attention: str, embedding: int | None
) -> None:
    options = {"channels": 5, "blocks": 1, "padding": "circular", "attention": attention, "embedding": embedding}
    made = network(ResNetAttention, **options)
    assert made.receptive_field() is None
    module = built(made, 3).eval()
    x, t = torch.randn(2, 3, 12, 10, dtype=torch.float64), torch.tensor([0.2, 0.7], dtype=torch.float64)
    assert module(x, t, None).shape == x.shape
    moved = module(x.roll((2, 3), (2, 3)), t, None)
    assert torch.allclose(moved, module(x, t, None).roll((2, 3), (2, 3)), atol=1e-12)
    if attention == "softmax":
        changed = x.clone()
        changed[:, :, 9, 9] += 1
        assert (module(changed, t, None)[:, :, 0, 0] != module(x, t, None)[:, :, 0, 0]).all()


def test_the_resnet_has_the_same_parameters_whatever_it_attends_to() -> None:
    shapes = [
        {
            name: weights.shape
            for name, weights in built(network(ResNetAttention, channels=5, attention=kind)).named_parameters()
        }
        for kind in ("identity", "softmax", "top1")
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_training_that_draws_in_the_network_is_resumed_to_the_same_weights(tiny: mosaic.DataSet) -> None:
    settings = {"network_options": {"channels": 4, "blocks": 0, "attention": "top1"}, "batch_size": 4}
    whole = mosaic.train("resnet-attention", tiny, out="whole", epochs=4, lr_decay=1, **settings)
    mosaic.train("resnet-attention", tiny, out="parts", epochs=2, lr_decay=1, **settings)
    torch.rand(7)  # what else is drawn between two sessions does not matter
    parts = mosaic.train("resnet-attention", tiny, out="parts", epochs=4, lr_decay=1, resume=True, **settings)
    assert whole.fingerprint() == parts.fingerprint()


@pytest.mark.parametrize(
    ("kind", "options", "shift"),
    [
        (ResNet, {"channels": 5, "blocks": 2}, 1),
        (ResNet, {"channels": 16, "blocks": 2, "variant": "released"}, 1),
        (UNet, {"channels": (3, 4, 5)}, 4),
        (UNet, {"channels": (3, 4, 5), "variant": "released"}, 4),
    ],
)
def test_circular_padding_commutes_with_shifts(kind: type[mosaic.Network], options: dict[str, Any], shift: int) -> None:
    """The ResNet with every shift, the UNet with multiples of its coarsest pixel."""
    module = built(network(kind, padding="circular", **options))
    x, t = torch.randn(2, 1, 16, 16, dtype=torch.float64), torch.tensor([0.2, 0.7], dtype=torch.float64)
    moved = module(x.roll((shift, 3 * shift), (2, 3)), t, None)
    assert torch.allclose(moved, module(x, t, None).roll((shift, 3 * shift), (2, 3)), atol=1e-12)


def test_zero_padding_does_not_commute_with_shifts() -> None:
    module = built(network(ResNet, channels=5, blocks=2))
    x, t = torch.randn(1, 1, 16, 16, dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64)
    assert not torch.allclose(module(x.roll(1, 2), t, None), module(x, t, None).roll(1, 2), atol=1e-6)


@pytest.mark.parametrize("kind", [ResNet, UNet, UNetAttention])
def test_eps_depends_on_time_and_class_and_not_on_the_rest_of_the_batch(kind: type[mosaic.Network]) -> None:
    size: Any = {"channels": 6} if kind is ResNet else {"channels": (4, 6)}
    module = built(network(kind, class_conditional=True, **size), channels=3, classes=4)
    x = torch.randn(1, 3, 8, 12, dtype=torch.float64).expand(4, -1, -1, -1)
    t = torch.tensor([0.1, 0.1, 0.9, 0.1], dtype=torch.float64)
    labels = torch.tensor([0, 3, 0, 0])
    eps = module(x, t, labels)
    assert eps.shape == x.shape
    assert torch.allclose(eps[0], eps[3], atol=1e-12)
    assert (eps[0] - eps[1]).abs().max() > 1e-3
    assert (eps[0] - eps[2]).abs().max() > 1e-3
    assert torch.allclose(module(x[:1], t[:1], labels[:1])[0], eps[0], atol=1e-12)


def test_sides_that_pooling_does_not_divide_are_refused() -> None:
    with pytest.raises(mosaic.UsageError, match=r"\b4\b.*6 x 8"):
        network(UNet).check((1, 6, 8))
    network(UNet, channels=(8, 8)).check((1, 6, 8))


@pytest.mark.parametrize("channels", [(), (0, 4), (5000,)])
def test_channels_out_of_bounds_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(mosaic.UsageError, match="channels"):
        UNet.Options.parse({"channels": channels}, "network.unet")


def test_attention_has_no_released_variant() -> None:
    for kind in (ResNetAttention, UNetAttention):
        assert "variant" not in kind.Options.model_fields


def test_sizes_are_those_of_the_paper() -> None:
    """Weights of the 3 x 3 convolutions: 256 channels and 6 blocks; 64, 128 and 256 channels, two a level."""
    resnet = sum(p.numel() for name, p in built(network(ResNet), 3).named_parameters() if p.ndim == 4)
    assert resnet == 9 * (2 * 3 * 256 + 6 * 256**2)
    unet = [tuple(p.shape) for p in built(network(UNet), 3).parameters() if p.ndim == 4 and p.shape[-1] == 3]
    assert [shape[0] for shape in unet] == [64, 64, 128, 128, 256, 256, 128, 128, 64, 64]
