"""The configuration of a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import Field

from mosaic.run.configuration import Configuration

if TYPE_CHECKING:
    import torch

    from mosaic.run.configuration import Values

__all__ = ["CalibrationConfig", "CalibrationSettings"]


class CalibrationConfig(Configuration):
    """Every setting that decides the numbers of a calibration."""

    checkpoint: str = Field(description="Folder of the trained network.")
    score: str = Field("els", description="Score model whose scales are chosen.")
    dataset: str | None = Field(None, description="Training set. Default: the network's.")
    score_options: dict[str, Any] = Field({}, description="Options of the score model.")
    dataset_options: dict[str, Any] = Field({}, description="Options of the training set.")
    sizes: str | None = Field(
        None,
        description="Scales to choose from: 3-17 (odd numbers from 3 to 17; of a score model whose scale is any "
        "number, such that each is a fifth above the one before), or a list 3,5,9. Default: from 3 (1 where the scale "
        "is any number) to the network's receptive field, or to the image's side where that is smaller.",
    )
    criterion: Literal["cosine", "l2"] = Field(
        "cosine", description="What agreement of eps is: cosine similarity, or Euclidean distance."
    )
    steps: int = Field(20, ge=1, le=100_000, description="Steps of the reverse flow.")
    samples: int = Field(16, ge=1, description="Trajectories of the network to compare along.")
    batch_size: int = Field(4, ge=1, description="Samples computed together, and stored as one part.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the noise (and of random labels).")
    labels: str | None = Field(
        None, description="Classes: none, random, or a list. Default: random for a network with classes, else none."
    )
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )


class CalibrationSettings(TypedDict, total=False):
    """What `mosaic.calibrate` takes beside its arguments, for type checkers and editors."""

    # `python tests/run/test_configuration.py` writes these from the fields above.
    score_options: Mapping[str, Any]
    dataset_options: Mapping[str, Any]
    sizes: str | Values | None
    criterion: Literal["cosine", "l2"]
    steps: int
    samples: int
    batch_size: int
    seed: int
    labels: str | Values | None
    device: str | torch.device
