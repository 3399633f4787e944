"""Two score models in one: a simple one at high noise, another at low."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

import mosaic

__all__ = ["Switch"]


class Switch(mosaic.ScoreModel):
    """One score model from a noise-to-signal ratio upwards, another below: what a shortcut for the first steps costs.

    References: Wang & Vastola 2024 (arXiv 2412.09726), who skip the first 15 to 30 % of the steps by the Gaussian.
    """

    name = "switch"
    has_scale = True  # if either has one

    class Options(mosaic.Options):
        """Options of the model."""

        above: str = Field("gaussian", description="Score model at high noise.")
        below: str = Field("els", description="Score model at low noise.")
        at: float = Field(1.0, gt=0, description="Noise-to-signal ratio s / a from which on `above` serves.")
        boundary: str | None = Field(
            None, description="Boundary of those of the two that have the option, such as circular. Default: their own."
        )
        above_options: dict[str, Any] = Field(
            {}, description='Options of the first, as JSON: {"boundary": "circular"}.'
        )
        below_options: dict[str, Any] = Field({}, description="Options of the second, likewise.")

        @field_validator("above_options", "below_options", mode="before")
        @classmethod
        def _decoded(cls, value: Any) -> Any:
            return json.loads(value) if isinstance(value, str) else value

    options: Options

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self.above = self._model("above")
        self.below = self._model("below")
        self.has_scale = self.above.has_scale or self.below.has_scale
        self.tells = self.above.tells and self.below.tells

    def _model(self, which: str) -> mosaic.ScoreModel:
        name = getattr(self.options, which)
        kind = mosaic.registry().get("score", name)
        if issubclass(kind, Switch):
            raise mosaic.UsageError("Score model 'switch' cannot switch to itself; name two others.")
        boundary = self.options.boundary
        own = {"boundary": boundary} if boundary is not None and "boundary" in kind.Options.model_fields else {}
        options = kind.Options.parse({**own, **getattr(self.options, f"{which}_options")}, f"score.{which}_options")
        found: mosaic.ScoreModel = kind(options, self.dataset)
        return found

    def model_at(self, level: mosaic.Level) -> mosaic.ScoreModel:
        """Give the model that serves at a level."""
        return self.above if level.ratio >= self.options.at else self.below

    @property
    def conditional(self) -> bool:
        """If both are."""
        return self.above.conditional and self.below.conditional

    @property
    def equivariant(self) -> bool:
        """If both are."""
        return self.above.equivariant and self.below.equivariant

    def local(self, scale: int) -> int | None:
        """The wider of the two windows, if both are local."""
        sides = [model.local(scale) for model in (self.above, self.below)]
        return None if None in sides else max(side for side in sides if side is not None)

    @property
    def schedule(self) -> mosaic.NoiseSchedule | None:
        """That of the one that has one; where both do, that of the second."""
        return self.below.schedule or self.above.schedule

    def check(self, levels: tuple[mosaic.Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Refuse what the model that serves at a level refuses."""
        scales = scales or (0,) * len(levels)
        for model in (self.above, self.below):
            served = [n for n, level in enumerate(levels) if self.model_at(level) is model]
            if served:
                model.check(tuple(levels[n] for n in served), tuple(scales[n] for n in served), labels)

    def notes(self) -> list[str]:
        """What both say."""
        return [*self.above.notes(), *self.below.notes()]

    def fingerprint(self) -> str | None:
        """Of both, where they have one."""
        both = (self.above.fingerprint(), self.below.fingerprint())
        return None if both == (None, None) else sha256(repr(both).encode()).hexdigest()

    def engine(self, dtype: torch.dtype) -> str:
        """Those of both."""
        return " and ".join(dict.fromkeys((self.above.engine(dtype), self.below.engine(dtype))))

    def comparisons(self, scale: int) -> int:
        """Those of the more expensive one."""
        return max(self.above.comparisons(scale), self.below.comparisons(scale))

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        """Give x0hat of the model that serves at the level."""
        return self.model_at(level).denoise(x, level, labels, scale)

    def diagnose(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: int = 0
    ) -> mosaic.Diagnosis | None:
        """Give the diagnosis of the model that serves at the level."""
        return self.model_at(level).diagnose(x, level, labels, scale)

    def trace(self, images: Tensor, labels: Tensor | None = None, scale: int = 0) -> mosaic.Source | None:
        """Give the sources that the model of low noise tells."""
        return self.below.trace(images, labels, scale)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    """Register the model."""
    register(Switch)
