"""The configuration of a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import Field, field_validator

from mosaic.run.configuration import OTHERS, Configuration

if TYPE_CHECKING:
    import torch

    from mosaic.run.configuration import Values

__all__ = ["LeaderboardConfig", "LeaderboardSettings"]


class LeaderboardConfig(Configuration):
    """Every setting that decides the numbers of a leaderboard."""

    checkpoint: str = Field(description="Folder of the trained network.")
    dataset: str | None = Field(None, description="Training set. Default: the network's.")
    scores: str = Field("all", description="Score models, a list such as els,is; all that need no options; or none.")
    metrics: str | None = Field(
        None,
        description="Metrics that compare images, a list; the first decides the ranks, the last is printed beside it. "
        "Default: the default ones of a comparison.",
    )
    samples: int = Field(16, ge=1, description="Samples that all make from the same noise.")
    steps: int = Field(20, ge=1, le=100_000, description="Steps of the theories' reverse flows.")
    network_steps: int = Field(150, ge=1, le=100_000, description="Steps of the network's.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the noise (and of random labels).")
    scales: str | dict[str, str] | None = Field(
        None,
        description="Locality scales, as for a run: best a file that a calibration wrote; or those of each score model "
        "by its name, with '*' for all others. Default: the data set's own preset, else from about half the image at "
        "t = 1 to 3 at t = 0.",
    )
    labels: str | None = Field(
        None, description="Classes: none, random, or a list. Default: random for a network with classes, else none."
    )
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )
    dataset_options: dict[str, Any] = Field({}, description="Options of the network's data set, such as a path.")
    sampler_options: dict[str, Any] = Field({}, description="Options of DDIM, which all run with, such as its grid.")
    score_options: dict[str, dict[str, Any]] = Field({}, description="Options of score models, by their names.")

    @field_validator("scales", mode="before")
    @classmethod
    def _texts(cls, scales: Any) -> Any:
        named = list(scales.values()) if isinstance(scales, dict) else [scales or ""]
        if not named or not all(isinstance(text, str) for text in named):
            raise ValueError("it must be scales as for a run, or a mapping from names of score models to such")
        return scales

    def scales_of(self, name: str) -> str | None:
        """Give the scales of a theory."""
        return self.scales.get(name, self.scales.get(OTHERS)) if isinstance(self.scales, dict) else self.scales


class LeaderboardSettings(TypedDict, total=False):
    """What `mosaic.leaderboard` takes beside its arguments, for type checkers and editors."""

    # `python tests/run/test_configuration.py` writes these from the fields above.
    dataset: str | None
    scores: str | Values
    metrics: str | Values | None
    samples: int
    steps: int
    network_steps: int
    seed: int
    scales: str | Values | Mapping[str, str | Values] | None
    labels: str | Values | None
    device: str | torch.device
    dataset_options: Mapping[str, Any]
    sampler_options: Mapping[str, Any]
    score_options: Mapping[str, Mapping[str, Any]]
