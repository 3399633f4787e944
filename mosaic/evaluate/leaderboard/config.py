"""The configuration of a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

from pydantic import Field, field_validator, model_validator

from mosaic.evaluate.leaderboard.protocol import PROTOCOLS
from mosaic.run.configuration import OTHERS, Configuration

if TYPE_CHECKING:
    import torch

    from mosaic.run.configuration import Values

__all__ = ["LeaderboardConfig", "LeaderboardSettings"]


class LeaderboardConfig(Configuration):
    """Every setting that decides the numbers of a leaderboard."""

    checkpoint: tuple[str, ...] = Field(
        description="Folder of the trained network; several times for several trainings of it.",
        min_length=1,
    )
    dataset: str | None = Field(None, description="Training set. Default: the network's.")
    scores: str = Field("all", description="Score models, a list such as els,is; all that need no options; or none.")
    metrics: str | None = Field(
        None,
        description="Metrics that compare images, a list; the first decides the ranks, the last is printed beside it. "
        "Default: the default ones of a comparison.",
    )
    protocol: Literal["none", "lukoianov2025"] = Field(
        "none",
        description="Settings of published tables, where they are not given: lukoianov2025, also that of Shang et al. "
        "2026: 128 samples, 10 leading DDIM steps of theory and network, x0hat clipped to [-1, 1], R2_clamped.",
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
    given: str | None = Field(
        None,
        description="Theory beyond which the others are asked what they add, by partial correlation; or none. Default: "
        "els, if it takes part.",
    )
    tune: dict[str, dict[str, list[Any]]] = Field(
        {},
        description="Options of score models to choose by the networks on other noise, SCORE.OPTION=V1,V2,...; of "
        "several options of one score model all combinations are tried.",
    )
    tuning_samples: int = Field(8, ge=1, description="Samples that options are chosen on.")
    tuning_seed: int | None = Field(
        None, ge=0, lt=2**63, description="Seed of the noise that they are chosen on. Default: the one after `seed`."
    )
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )
    dataset_options: dict[str, Any] = Field({}, description="Options of the network's data set, such as a path.")
    sampler_options: dict[str, Any] = Field({}, description="Options of DDIM, which all run with, such as its grid.")
    score_options: dict[str, dict[str, Any]] = Field({}, description="Options of score models, by their names.")

    @model_validator(mode="before")
    @classmethod
    def _of_protocol(cls, values: Any) -> Any:
        """Add what the protocol sets."""
        protocol = PROTOCOLS.get(str(values.get("protocol"))) if isinstance(values, Mapping) else None
        return values if protocol is None else protocol.completed(values)

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _paths(cls, checkpoint: Any) -> Any:
        several = checkpoint if isinstance(checkpoint, (list, tuple)) else [checkpoint]
        return [fspath(each) if isinstance(each, PathLike) else each for each in several]

    @field_validator("tune", mode="before")
    @classmethod
    def _values(cls, tune: Any) -> Any:
        """Read texts SCORE.OPTION=V1,V2 as the command line has them, of which the environment has several in one."""
        if isinstance(tune, str):
            tune = tune.split()
        if not isinstance(tune, (list, tuple)):
            return tune
        read: dict[str, dict[str, list[str]]] = {}
        for text in tune:
            key, equals, values = str(text).partition("=")
            score, dot, option = key.strip().rpartition(".")
            if not (equals and dot and score and option):
                raise ValueError(f"'{text}' must read SCORE.OPTION=V1,V2, such as pca-locality.threshold=.01,.02")
            if option in read.setdefault(score, {}):
                raise ValueError(f"'{key}' is given twice; list all values at once")
            read[score][option] = [value.strip() for value in values.split(",")]
        return read

    @model_validator(mode="after")
    def _on_other_noise(self) -> Self:
        for name in ("tuning_samples", "tuning_seed"):
            if name in self.model_fields_set and not self.tune:
                raise ValueError(f"`{name}` would not be used without `tune`; leave it out")
        if self.tune and self.seed_of_tuning == self.seed:
            raise ValueError(f"`tuning_seed` is {self.seed}, that of the board; options are chosen on other noise")
        return self

    @property
    def seed_of_tuning(self) -> int:
        """Seed of the noise that options are chosen on."""
        return self.seed + 1 if self.tuning_seed is None else self.tuning_seed

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
    protocol: Literal["none", "lukoianov2025"]
    samples: int
    steps: int
    network_steps: int
    seed: int
    scales: str | Values | Mapping[str, str | Values] | None
    labels: str | Values | None
    given: str | Values | None
    tune: Mapping[str, Mapping[str, list[Any]]]
    tuning_samples: int
    tuning_seed: int | None
    device: str | torch.device
    dataset_options: Mapping[str, Any]
    sampler_options: Mapping[str, Any]
    score_options: Mapping[str, Mapping[str, Any]]
