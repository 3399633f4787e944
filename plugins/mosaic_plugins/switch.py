"""Two score models in one: a simple one at high noise, another at low."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

import mosaic
from mosaic_plugins.references import WANG
from mosaic_plugins.trained import TrainedNetwork

__all__ = ["Switch"]


class Switch(mosaic.ScoreModel):
    """One score model from a noise-to-signal ratio upwards, another below: what a shortcut for the first steps costs.

    References: Wang & Vastola 2024 (arXiv 2412.09726).

    The paper's: the Gaussian for the first 15 to 30 % of the 18 steps of Karras et al. 2022, which end at sigma 28 to
    13, and then the network. They go through the Gaussian's part in one jump, by the closed form of its flow:
    `mosaic_plugins.gaussian.Gaussian.flow`, after which `mosaic.flow(network, x=..., t=...)` goes on.
    The published code's: not compared.
    Ours: a run of `switch` takes a sampler's steps with the Gaussian's x0hat in place of the jump; `at` is 20, above
    which the first 4 of the 18 levels lie; other models than the Gaussian and a network.
    """

    name = "switch"
    references = (WANG,)
    path_options = ("checkpoint",)

    class Options(mosaic.Options):
        """The two models, their options, and the ratio at which they switch."""

        above: str = Field("gaussian", description="Score model at high noise.")
        below: str = Field(TrainedNetwork.name, description="Score model at low noise.")
        at: float = Field(20.0, gt=0, description="Noise-to-signal ratio s / a from which on `above` serves.")
        boundary: str | None = Field(
            None, description="Boundary of those of the two that have the option, such as circular. Default: their own."
        )
        above_options: dict[str, Any] = Field(
            {}, description='Options of the first, as JSON: {"boundary": "circular"}.'
        )
        below_options: dict[str, Any] = Field({}, description="Options of the second, likewise.")
        checkpoint: Path | None = Field(
            None,
            validate_default=True,
            description="Folder that `mosaic train` or `mosaic convert` wrote, if one of the two is `network`.",
        )

        @field_validator("above_options", "below_options", mode="before")
        @classmethod
        def _decoded(cls, value: Any) -> Any:
            return json.loads(value) if isinstance(value, str) else value

        @field_validator("checkpoint")
        @classmethod
        def _needed_by_a_network(cls, value: Path | None, info: ValidationInfo) -> Path | None:
            for which in ("above", "below"):
                own = info.data.get(f"{which}_options", {})
                if value is None and info.data.get(which) == TrainedNetwork.name and "checkpoint" not in own:
                    raise ValueError(f"{which}={TrainedNetwork.name} needs the folder of a network")
            return value

    options: Options

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self.above = self._model("above")
        self.below = self._model("below")
        models = (self.above, self.below)
        takes_checkpoint = any("checkpoint" in type(model.options).model_fields for model in models)
        if self.options.checkpoint is not None and not takes_checkpoint:
            raise mosaic.UsageError(
                f"`checkpoint` is not used: neither '{self.options.above}' nor '{self.options.below}' has this option; "
                f"leave it out, or name `below` {TrainedNetwork.name}."
            )

    def _model(self, which: str) -> mosaic.ScoreModel:
        name = getattr(self.options, which)
        kind = mosaic.registry().get("score", name)
        if issubclass(kind, Switch):
            raise mosaic.UsageError("Score model 'switch' cannot switch to itself; name two others.")
        shared = {"boundary": self.options.boundary, "checkpoint": self.options.checkpoint}
        known = kind.Options.model_fields
        own = {key: value for key, value in shared.items() if value is not None and key in known}
        options = kind.Options.parse({**own, **getattr(self.options, f"{which}_options")}, f"score.{which}_options")
        model: mosaic.ScoreModel = kind(options, self.dataset)
        return model

    def model_at(self, level: mosaic.Level) -> mosaic.ScoreModel:
        """Give the model that is used at a level."""
        return self.above if level.ratio >= self.options.at else self.below

    @property
    def traits(self) -> mosaic.Traits:
        """What both can do; the wider of their windows, the more comparisons, and either's schedule and scale."""
        above, below = self.above.traits, self.below.traits
        with_scale = [traits for traits in (above, below) if traits.has_scale]
        return mosaic.Traits(
            has_scale=bool(with_scale),
            has_continuous_scale=bool(with_scale) and all(traits.has_continuous_scale for traits in with_scale),
            has_attribution=above.has_attribution and below.has_attribution,
            is_conditional=above.is_conditional and below.is_conditional,
            is_exact=above.is_exact and below.is_exact,
            is_equivariant=above.is_equivariant and below.is_equivariant,
            schedule=lambda: below.schedule() or above.schedule(),
            window=lambda scale: _wider(above.window(scale), below.window(scale)),
            comparisons=lambda scale: max(above.comparisons(scale), below.comparisons(scale)),
            engine=lambda dtype: " and ".join(dict.fromkeys((above.engine(dtype), below.engine(dtype)))),
            fingerprint=lambda: _joint_digest(above.fingerprint(), below.fingerprint()),
            plugins=self._plugins,
            memory=self._memory,
        )

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse what the model used at each level refuses."""
        scales = scales or (0,) * len(levels)
        notes: list[str] = []
        for model in (self.above, self.below):
            served = [n for n, level in enumerate(levels) if self.model_at(level) is model]
            if served:
                notes += model.check(tuple(levels[n] for n in served), tuple(scales[n] for n in served), labels)
        return notes

    def _plugins(self) -> list[tuple[str, str]]:
        """The two score models, and what they use."""
        used = [("score", self.options.above), ("score", self.options.below)]
        return [*used, *self.above.traits.plugins(), *self.below.traits.plugins()]

    def _memory(self, batch: int, scale: float, dtype: torch.dtype, labels: tuple[int, ...]) -> mosaic.Memory | None:
        """What both hold, and a block of the one that needs more; None if one does not say."""
        above, below = (model.traits.memory(batch, scale, dtype, labels) for model in (self.above, self.below))
        if above is None or below is None:
            return None
        return mosaic.Memory(above.held + below.held, max(above.block, below.block), max(above.read, below.read))

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat of the model used at the level."""
        return self.model_at(level).denoise(x, level, labels, scale)

    def estimate(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Estimate:
        """Give x0hat of the model used at the level, and how good it is."""
        return self.model_at(level).estimate(x, level, labels, scale)

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Attribution:
        """Give the attribution of the model used at the level; noise 0 is low noise."""
        return self.model_at(level).attribute(x, level, labels, scale)


def _wider(window: int | None, other: int | None) -> int | None:
    """The larger of two windows; None, all of x, is the largest."""
    return None if window is None or other is None else max(window, other)


def _joint_digest(*digests: str | None) -> str | None:
    return None if not any(digests) else sha256(repr(digests).encode()).hexdigest()


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Switch)
