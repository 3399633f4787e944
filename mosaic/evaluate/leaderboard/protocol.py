"""Protocols: the settings that published tables were made with, so that a leaderboard can be compared with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig

__all__ = ["PROTOCOLS", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """How published tables compare theories with networks.

    Attributes
    ----------
    settings : mapping
        Those of a leaderboard.
    schedule, schedule_options
        The noise schedule that the networks are trained with.
    """

    settings: Mapping[str, Any]
    schedule: str
    schedule_options: Mapping[str, Any]

    def completed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Add the protocol's settings to those given, which go before them."""
        kept = {name: value for name, value in given.items() if value is not None}
        options = {**self.settings["sampler_options"], **kept.get("sampler_options", {})}
        return {**self.settings, **kept, "sampler_options": options}

    def remarks(self, name: str, run: RunConfig) -> list[str]:
        """Say where a network's run has another schedule than those of the tables; `name` is the protocol's."""
        own = {"schedule": run.schedule, **_options(run.schedule, run.schedule_options)}
        theirs = {"schedule": self.schedule, **_options(self.schedule, self.schedule_options)}
        if own == theirs:
            return []
        flags = " ".join(f"-o schedule.{option}={value}" for option, value in self.schedule_options.items())
        return [
            f"Networks of protocol {name} are trained with `--schedule {self.schedule} {flags.lower()}`; this one has "
            f"{', '.join(f'{key} {value}' for key, value in own.items())}."
        ]


def _options(schedule: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a schedule with their defaults."""
    values: dict[str, Any] = registry().parse("schedule", schedule, options).model_dump(mode="json")
    return values


PROTOCOLS = {
    # Lukoianov et al. 2025 and Shang et al. 2026, by the released code of the first.
    "lukoianov2025": Protocol(
        settings={
            "steps": 10,
            "network_steps": 10,
            "samples": 128,
            "metrics": "R2_clamped,mse",
            "sampler_options": {"grid": "leading", "clip": 1.0},
        },
        schedule="ddpm-linear",
        schedule_options={"discrete": True},
    )
}
