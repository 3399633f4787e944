"""The training loop against independent formulas: batches, loss, learning rate, Adam, the running average, states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mosaic
from mosaic.train.config import TrainConfig
from mosaic.train.step import Training, eps_loss


class Affine(nn.Module):
    """eps = w x + b t + c[label]: small enough to differentiate by hand."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(-0.25))
        self.c = nn.Parameter(torch.linspace(0, 1, classes)) if classes else None

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        eps = self.w * x + self.b * t[:, None, None, None]
        return eps if self.c is None else eps + self.c[labels][:, None, None, None]


def schedule() -> mosaic.NoiseSchedule:
    kind: type[mosaic.NoiseSchedule] = mosaic.registry().get("schedule", "cosine")
    return kind()


def training(tiny: mosaic.DataSet, conditional: bool = False, **settings: object) -> Training:
    config = TrainConfig.model_validate({"batch_size": 5, "precision": "float32", "device": "cpu", **settings})
    return Training(config, Affine(3 if conditional else 0), schedule(), tiny, conditional)


def test_the_loss_is_the_mean_squared_error_of_eps(tiny: mosaic.DataSet) -> None:
    x0, labels = tiny.images[:4], torch.tensor([2, 0, 1, 1])
    t = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    eps = torch.randn(x0.shape)
    angles = np.pi / 2 / 1.008 * t.numpy()
    total = 0.0
    for i in range(4):
        x = np.cos(angles[i]) * x0[i].double().numpy() + np.sin(angles[i]) * eps[i].double().numpy()
        predicted = 0.5 * x - 0.25 * float(t[i]) + [0.0, 0.5, 1.0][int(labels[i])]
        total += ((predicted - eps[i].double().numpy()) ** 2).mean() / 4
    actual = eps_loss(Affine(3), schedule(), mosaic.Convention(), x0, labels, t, eps)
    assert math.isclose(float(actual.detach()), total, rel_tol=1e-6)


def test_a_network_of_timesteps_is_told_them_and_takes_x_that_preserves_variance(tiny: mosaic.DataSet) -> None:
    flow: mosaic.NoiseSchedule = mosaic.registry().make("schedule", "flow", {})
    x0, eps = tiny.images[:4].double(), torch.randn(tiny.images[:4].shape, dtype=torch.float64)
    t = torch.tensor([0.01, 0.3, 0.7, 0.9], dtype=torch.float64)
    total = 0.0
    for i in range(4):
        level = flow.level(float(t[i]))
        x = (level.signal * x0[i] + level.noise * eps[i]) / math.hypot(level.signal, level.noise)
        predicted = 0.5 * x - 0.25 * max(0.0, 50 * float(t[i]) - 1)
        total += float(((predicted - eps[i]) ** 2).mean()) / 4
    convention = mosaic.Convention(time="timestep", timesteps=50)
    actual = eps_loss(Affine(0).double(), flow, convention, x0, None, t, eps)
    assert math.isclose(float(actual.detach()), total, rel_tol=1e-6)


def test_each_epoch_takes_every_image_once_in_an_order_of_its_own(tiny: mosaic.DataSet) -> None:
    session = training(tiny)
    assert session.steps_per_epoch == 3
    epochs = [torch.cat([session.batch(3 * epoch + place) for place in range(3)]) for epoch in range(2)]
    for order in epochs:
        assert order.sort().values.tolist() == list(range(12))
    assert not torch.equal(*epochs)
    assert torch.equal(session.batch(4), epochs[1][5:10])  # whatever was asked for before


def test_images_times_and_noise_depend_on_seed_and_step_only(tiny: mosaic.DataSet) -> None:
    first, again, other = training(tiny), training(tiny), training(tiny, seed=1)
    torch.manual_seed(9)
    for session in (first, again, other):
        for _ in range(4):
            session.run_step()
        session.flush()
    assert first.losses == again.losses
    assert first.losses != other.losses


def test_the_learning_rate_decays_by_a_factor_a_step_and_adam_moves_by_it_at_first(tiny: mosaic.DataSet) -> None:
    session = training(tiny, learning_rate=0.01, lr_decay=0.5)
    before = [float(p.detach()) for p in session.module.parameters()]
    session.run_step()
    assert session.learning_rate(3) == 0.01 * 0.5**3
    for old, p in zip(before, session.module.parameters(), strict=True):
        assert math.isclose(abs(float(p.detach()) - old), 0.01, rel_tol=1e-4)  # Adam's first step is lr times the sign
    (group,) = session.optimizer.param_groups
    session.run_step()
    assert math.isclose(group["lr"], 0.005)


def test_the_average_is_the_exponential_one_of_the_weights(tiny: mosaic.DataSet) -> None:
    session = training(tiny, learning_rate=0.05, ema=0.8)
    expected = None
    for count in range(60):
        session.run_step()
        decay = min(0.8, (1 + count) / (10 + count))
        w = float(session.module.w.detach())
        expected = w if expected is None else decay * expected + (1 - decay) * w
    assert expected is not None
    assert math.isclose(float(session.average.module.w.detach()), expected, rel_tol=1e-5)
    assert abs(expected - w) > 1e-3


@pytest.mark.parametrize("times", ["uniform", "grid"])
def test_times_are_drawn_from_all_of_them(tiny: mosaic.DataSet, times: str) -> None:
    drawn: list[Tensor] = []

    class Watched(Affine):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            drawn.append(t.double())
            return super().forward(x, t, labels)

    session = training(tiny, times=times, learning_rate=1e-6)
    session.module = Watched(0)
    for _ in range(300):
        session.run_step()
    t = torch.cat(drawn)
    assert 0 <= t.min() < 0.02
    assert 0.98 < t.max() < 1
    assert bool(((1000 * t - (1000 * t).round()).abs() < 1e-3).all()) == (times == "grid")
    assert abs(float(t.mean()) - 0.5) < 4 / math.sqrt(12 * len(t))


def test_no_average_is_the_last_weights(tiny: mosaic.DataSet) -> None:
    session = training(tiny, ema=0, learning_rate=0.05)
    for _ in range(3):
        session.run_step()
        average = session.average.module.state_dict()
        assert all(torch.equal(average[name], value) for name, value in session.module.state_dict().items())


def test_its_optimizer_is_adamw_without_decay(tiny: mosaic.DataSet) -> None:
    """What the authors' released code trains with."""
    ours, theirs = (training(tiny, learning_rate=0.05) for _ in range(2))
    theirs.optimizer = torch.optim.AdamW(theirs.module.parameters(), lr=0.05, weight_decay=0)
    for _ in range(4):
        ours.run_step()
        theirs.run_step()
    for name, value in ours.module.state_dict().items():
        assert torch.equal(value, theirs.module.state_dict()[name])


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_a_restored_training_continues_as_if_nothing_had_happened(tiny: mosaic.DataSet, stop: int) -> None:
    whole = training(tiny, conditional=True, learning_rate=0.05)
    for _ in range(9):
        whole.run_step()
    first, second = (training(tiny, conditional=True, learning_rate=0.05) for _ in range(2))
    for _ in range(stop):
        first.run_step()
    state = first.state()
    first.run_step()  # further steps do not change what was kept
    second.restore(state)
    assert second.step == stop
    for _ in range(9 - stop):
        second.run_step()
    final, resumed = whole.state(), second.state()
    assert final.keys() == resumed.keys()
    for name, value in final.items():
        assert torch.equal(value, resumed[name]), name


def test_a_network_of_one_linear_map_learns_the_best_one() -> None:
    """On one level of noise the best linear eps of a x0 + s eps is s / (a^2 v + s^2) of it, v the mean square of x0."""

    class Fixed(mosaic.NoiseSchedule):
        def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
            return torch.full_like(t, 0.8), torch.full_like(t, 0.6)

    images = torch.randn(256, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.5
    data = mosaic.DataSet("normal", images, range=(-9.0, 9.0))
    config = TrainConfig.model_validate(
        {"batch_size": 64, "learning_rate": 0.05, "lr_decay": 0.99, "ema": 0.9, "precision": "float32", "device": "cpu"}
    )
    session = Training(config, Affine(0), Fixed(), data, False)
    for _ in range(600):
        session.run_step()
    best = 0.6 / (0.64 * float(images.square().mean()) + 0.36)
    assert math.isclose(float(session.average.module.w.detach()), best, rel_tol=0.02)
