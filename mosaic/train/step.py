"""Training of a network: eps-prediction with mean squared error, Adam, decaying learning rate, averaged weights.

The average is ours; `TrainConfig` says how the authors' released code trains.

The state of a training is a function of its configuration and the number of steps done. The images, times and noise of
a step, and the random numbers of the network, come from the seed and the number of the step. So a resumed training
gives the same weights as one without an interruption.

References: Kamb & Ganguli 2025, app. C.1; Ho et al. 2020, eq. 14.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.function_model import Convention
from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.train.config import TrainConfig

__all__ = ["Training", "eps_loss"]

_ORDER, _NOISE, _MODULE = 1, 2, 3

GRID = 1000  # times of `times="grid"`

# The paper's decay of the learning rate per step, and its number of steps: 300 epochs of 60,000 images, batches of 128.
PAPER_DECAY, PAPER_STEPS = 0.999965, 300 * math.ceil(60_000 / 128)


def _seed(seed: int, purpose: int, number: int = 0) -> int:
    """Mix the training's seed with a purpose and the number of the step or epoch; non-negative int64."""
    return int(np.random.SeedSequence((seed, purpose, number)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def eps_loss(
    module: nn.Module,
    schedule: NoiseSchedule,
    convention: Convention,
    x0: Tensor,
    labels: Tensor | None,
    t: Tensor,
    eps: Tensor,
) -> Tensor:
    """Mean squared error of the noise that `module` predicts for x_t = a x_0 + s eps.

    Parameters
    ----------
    convention : Convention
        What the module is told of t, and the scale of x_t that it takes.
    x0, eps : Tensor (B, C, H, W), float32
        Clean images and standard normal noise.
    labels : Tensor (B,), int64, or None
        Classes, for a network that is given them.
    t : Tensor (B,), float64
        Times in [0, 1].
    """
    signal, noise = schedule.signal_noise(t)
    x = signal.to(x0)[:, None, None, None] * x0 + noise.to(x0)[:, None, None, None] * eps
    x, told = convention.training_input(x, signal, noise, t)
    predicted = module(x.contiguous(memory_format=torch.channels_last), told.to(x0), labels)
    loss: Tensor = (predicted.float() - eps).square().mean()
    return loss


class Training:
    """A training in progress.

    Parameters
    ----------
    config : TrainConfig
        Resolved: its device and precision are no longer `auto`.
    module : nn.Module
        Untrained network, on the device.
    schedule : NoiseSchedule
        Noise levels to train on, at the times that `config.times` says.
    dataset : DataSet
        Training images, on the device.
    conditional : bool
        Whether the network is given labels.
    convention : Convention
        What the network is told of the noise.

    Attributes
    ----------
    step : int
        Steps done.
    losses, rates : list of float
        Loss of each step done, as far as it has been fetched from the device (see `flush`), and its learning rate.
    average : AveragedModel
        The running average of the weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        module: nn.Module,
        schedule: NoiseSchedule,
        dataset: DataSet,
        conditional: bool,
        convention: Convention | None = None,
    ) -> None:
        self.config, self.schedule, self.dataset = config, schedule, dataset
        self.convention = convention or Convention()
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.labels = dataset.labels if conditional else None
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=config.learning_rate)
        self.average = AveragedModel(self.module, multi_avg_fn=self._average)
        self.step = 0
        self.losses: list[float] = []
        self.rates: list[float] = []
        self._pending: list[Tensor] = []
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.float32, device="cpu"))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the training set; the last one may take fewer images."""
        return math.ceil(len(self.dataset) / self.config.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps over all epochs, done or not: `step` when the training is finished."""
        return self.config.total_steps(len(self.dataset))

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step; by default it falls by as much as the paper's over any number of steps."""
        decay = self.config.lr_decay or PAPER_DECAY ** (PAPER_STEPS / self.total_steps)
        return float(self.config.learning_rate * decay**step)

    @torch.no_grad()
    def _average(self, averages: Any, weights: Any, count: Any) -> None:
        """Move the averages of `count` updates towards the new weights: fast at first, to forget the initial ones."""
        done = int(count)
        torch._foreach_lerp_(averages, weights, 1 - min(self.config.ema, (1 + done) / (10 + done)))

    def batch(self, step: int) -> Tensor:
        """Indices of the images that a step takes: each epoch takes every image once, in an order of its own."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(_seed(self.config.seed, _ORDER, epoch))
            order = torch.randperm(len(self.dataset), generator=generator, dtype=torch.int64, device="cpu")
            self._order = epoch, order.to(self.dataset.images.device)
        return self._order[1][place * self.config.batch_size : (place + 1) * self.config.batch_size]

    def _times(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the times (B,) of a step, float64."""
        device = generator.device
        if self.config.times == "grid":
            return torch.randint(GRID, (count,), generator=generator, device=device, dtype=torch.int64).double() / GRID
        return torch.rand(count, generator=generator, device=device, dtype=torch.float32).double()

    @torch.enable_grad()
    def run_step(self) -> None:
        """Do one step: one batch, one update of the weights and of their average."""
        indices, device = self.batch(self.step), self.dataset.images.device
        generator = torch.Generator(device).manual_seed(_seed(self.config.seed, _NOISE, self.step))
        x0 = self.dataset.images[indices].float()
        labels = None if self.labels is None else self.labels[indices]
        t = self._times(len(x0), generator)
        eps = torch.randn(x0.shape, generator=generator, device=device, dtype=torch.float32)
        self.rates.append(self.learning_rate(self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[-1]
        # Without a cache: inside a block of the caller's, torch would keep the cast weights of the first step for ever.
        is_half = self.config.precision == "bfloat16"
        bfloat16 = torch.autocast(device.type, torch.bfloat16, enabled=is_half, cache_enabled=False)
        with torch.random.fork_rng([device] if device.type == "cuda" else []), bfloat16:
            torch.manual_seed(_seed(self.config.seed, _MODULE, self.step))  # for what the module draws
            loss = eps_loss(self.module, self.schedule, self.convention, x0, labels, t, eps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.module)
        self._pending.append(loss.detach())
        self.step += 1

    def flush(self) -> None:
        """Fetch the losses of the latest steps from the device, into `losses`."""
        if self._pending:
            self.losses += torch.stack(self._pending).tolist()
            self._pending.clear()

    def state(self) -> dict[str, Tensor]:
        """Everything that the rest of the training depends on, and the losses, as tensors on the CPU."""
        self.flush()
        state = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        state |= {f"average.{name}": value for name, value in self.average.module.state_dict().items()}
        names = [name for name, _ in self.module.named_parameters()]
        for index, values in self.optimizer.state_dict()["state"].items():
            state |= {f"adam.{key}.{names[index]}": value for key, value in values.items()}
        state["step"] = torch.tensor(self.step, dtype=torch.int64, device="cpu")
        state["loss"] = torch.tensor(self.losses, dtype=torch.float32, device="cpu")
        state["learning_rate"] = torch.tensor(self.rates, dtype=torch.float64, device="cpu")
        return {
            name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, value in state.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` gave.

        Raises
        ------
        KeyError, RuntimeError
            If it is of another network.
        """
        self.module.load_state_dict(_below("module.", state))
        self.average.module.load_state_dict(_below("average.", state))
        self.step = int(state["step"])
        self.average.n_averaged.fill_(self.step)  # one update of the average per step; state() does not hold it
        self.losses, self.rates = state["loss"].tolist(), state["learning_rate"].tolist()
        if not len(self.losses) == len(self.rates) == self.step >= 0:
            raise ValueError(f"{self.step} steps with {len(self.losses)} losses")
        self._pending.clear()
        moments = {
            index: {
                "step": state[f"adam.step.{name}"],
                "exp_avg": torch.empty_like(parameter).copy_(state[f"adam.exp_avg.{name}"]),
                "exp_avg_sq": torch.empty_like(parameter).copy_(state[f"adam.exp_avg_sq.{name}"]),
            }
            for index, (name, parameter) in enumerate(self.module.named_parameters())
            if f"adam.step.{name}" in state
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
