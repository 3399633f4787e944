"""The checks that every network must pass."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mosaic.interfaces.network import Network
from mosaic.interfaces.schedule import Level
from mosaic.testing.case import Failed, NotApplicable, PluginCase, require

__all__ = ["CHECKS"]

SHAPE = (1, 16, 16)


class NetworkCase:
    """A network under test, with a batch of inputs by its convention; every module it builds has the same seed."""

    def __init__(self, case: PluginCase) -> None:
        self.network: Network = case.plugin(case.parsed())
        self.network.check(SHAPE)
        self.classes = 3 if getattr(self.network.options, "class_conditional", False) else 0
        x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float32, device="cpu")
        rows = [self.given_at(row[None], t) for row, t in zip(x, (0.1, 0.5, 1.0), strict=True)]
        self.x, self.told = (torch.cat(column) for column in zip(*rows, strict=True))
        self.labels = torch.arange(3, dtype=torch.int64, device="cpu") if self.classes else None

    def build(self) -> nn.Module:
        """Build a module; torch's generator is seeded."""
        torch.manual_seed(0)
        return self.network.build(SHAPE[0], self.classes)

    def given_at(self, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """Give what the network takes of x (B, C, H, W) at a time of the cosine schedule, and is told (B,) there."""
        angle = math.pi / 2 * t / 1.008
        given, told = self.network.convention.inputs(x, Level(math.cos(angle), math.sin(angle)), lambda level: t)
        if not isinstance(told, float):
            raise Failed("its convention tells it a level; networks are told numbers")
        return given, torch.full((len(x),), told, dtype=torch.float32, device="cpu")

    def __call__(self, module: nn.Module, x: Tensor | None = None) -> Tensor:
        """Predict (3, C, H, W) of x, by default the case's own, at the times 0.1, 0.5 and 1."""
        predicted: Tensor = module(self.x if x is None else x, self.told, self.labels)
        return predicted


def prediction_is_like_x(case: PluginCase) -> None:
    """What it predicts (B, C, H, W) has x's shape and is finite, for one channel and three."""
    inputs = NetworkCase(case)
    predicted = inputs(inputs.build().eval())
    require(predicted.shape == inputs.x.shape, f"x of shape {tuple(inputs.x.shape)} gave {tuple(predicted.shape)}")
    require(bool(torch.isfinite(predicted).all()), "an untrained network predicts NaN or infinity")
    coloured = inputs.network.build(3, inputs.classes).eval()
    predicted = inputs(coloured, inputs.x.expand(-1, 3, -1, -1))
    require(predicted.shape == (3, 3, 16, 16), f"three channels gave {tuple(predicted.shape)}")


def torch_seed_decides_its_weights(case: PluginCase) -> None:
    """Modules built from the same seed have the same weights; a module can load its own state."""
    inputs = NetworkCase(case)
    first, second = inputs.build().state_dict(), inputs.build().state_dict()
    same = all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
    require(same, "two modules built after the same seed differ")
    inputs.build().load_state_dict({name: value + 1 for name, value in first.items()})


def evaluation_is_deterministic(case: PluginCase) -> None:
    """After eval() the same input gives the same numbers, for any state of torch's generator, alone or in a batch."""
    inputs = NetworkCase(case)
    module = inputs.build().eval()
    with torch.no_grad():
        first = inputs(module)
        torch.randn(5, dtype=torch.float32, device="cpu")
        require(torch.equal(first, inputs(module)), "the second evaluation differs")
        rows = [
            module(
                inputs.x[n : n + 1], inputs.told[n : n + 1], None if inputs.labels is None else inputs.labels[n : n + 1]
            )
            for n in range(3)
        ]
    apart = float((torch.cat(rows) - first).abs().max())
    require(
        apart <= 1e-4 * max(1.0, float(first.abs().max())),
        f"a batch differs from its samples one by one (by {apart:.2g})",
    )


def every_weight_can_be_trained(case: PluginCase) -> None:
    """A step of gradient descent lowers the loss, and no parameter is without a gradient."""
    inputs = NetworkCase(case)
    module = inputs.build().train()
    target = torch.randn(inputs.x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float32, device="cpu")
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(5)
        loss = (inputs(module) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    idle = [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]
    require(not idle, f"parameters without a gradient: {', '.join(idle)}")
    require(losses[-1] < losses[0], f"the loss goes from {losses[0]:.4g} to {losses[-1]:.4g} in eight steps")


def time_matters(case: PluginCase) -> None:
    """What a network that was trained a little predicts depends on the time it is told."""
    inputs = NetworkCase(case)
    module = inputs.build().eval()
    with torch.no_grad():
        for value in module.parameters():
            generator = torch.Generator().manual_seed(value.numel())
            value.add_(0.05 * torch.randn(value.shape, generator=generator, dtype=torch.float32, device="cpu"))
        early, late = (module(inputs.x, inputs.given_at(inputs.x, t)[1], inputs.labels) for t in (0.05, 0.95))
    require(not torch.allclose(early, late), "it predicts the same at t = 0.05 and t = 0.95")


def its_receptive_field_is_what_it_says(case: PluginCase) -> None:
    """No pixel of what it predicts depends on x beyond the receptive field, if the network names one."""
    inputs = NetworkCase(case)
    side = inputs.network.receptive_field()
    if side is None:
        raise NotApplicable
    size = -(-(side + 8) // 16) * 16  # a multiple of 16, like the images that `check` accepted
    module = inputs.build().eval()
    x = torch.randn(
        1, SHAPE[0], size, size, generator=torch.Generator().manual_seed(4), dtype=torch.float32, device="cpu"
    ).requires_grad_()
    predicted = module(*inputs.given_at(x, 0.1), None if inputs.labels is None else inputs.labels[:1])
    (slope,) = torch.autograd.grad(predicted[..., size // 2, size // 2].sum(), x)
    reach = torch.nonzero(slope.abs().sum((0, 1))) - size // 2
    window = 2 * int(reach.abs().max()) + 1
    require(window <= side, f"a pixel depends on a window of {window} pixels; receptive_field says {side}")


def options_survive_json(case: PluginCase) -> None:
    """Options are the same after a round trip through JSON; each has a description."""
    case.check_options()


CHECKS: dict[str, Callable[[PluginCase], None]] = {
    check.__name__: check
    for check in (
        prediction_is_like_x,
        torch_seed_decides_its_weights,
        evaluation_is_deterministic,
        every_weight_can_be_trained,
        time_matters,
        its_receptive_field_is_what_it_says,
        options_survive_json,
    )
}
