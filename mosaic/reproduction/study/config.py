"""The configuration of a reproduction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import Field

from mosaic.run.configuration import Configuration

if TYPE_CHECKING:
    import torch


__all__ = ["ReproduceConfig", "ReproduceSettings"]


class ReproduceConfig(Configuration):
    """What is reproduced, and at what size; settings not given are the preset's."""

    preset: Literal["cpu", "paper"] = Field(
        "cpu", description="cpu: a row in about 25 minutes on two cores; paper: the paper's sizes."
    )
    rows: str | None = Field(None, description="Rows of table 2, a list. Default: those of the table or figure.")
    network: str | None = Field(
        None, description="Folder of a trained network, in place of those that the rows train (fig4)."
    )
    dataset: str | None = Field(None, description="Training set in place of the row's own.")
    dataset_options: dict[str, Any] = Field({}, description="Options of the training set.")
    network_options: dict[str, Any] = Field({}, description="Options of the network.")
    epochs: int | None = Field(None, ge=1, description="Passes over the training set. Default: the preset's.")
    calibration_samples: int | None = Field(
        None, ge=1, description="Samples that scales are calibrated on. Default: the preset's."
    )
    samples: int | None = Field(None, ge=1, description="Samples compared. Default: the preset's.")
    trainings: int | None = Field(
        None, ge=1, le=100, description="Trainings of each network, each with the next seed (attention). Default: 3."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the networks, of the noise and of random labels.")
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision of the networks' products while they are trained; weights are float32."
    )


class ReproduceSettings(TypedDict, total=False):
    """What `mosaic.reproduce` takes beside its arguments, for type checkers and editors."""

    # `python tests/run/test_configuration.py` writes these from the fields above.
    preset: Literal["cpu", "paper"]
    dataset: str | None
    dataset_options: Mapping[str, Any]
    network_options: Mapping[str, Any]
    epochs: int | None
    calibration_samples: int | None
    samples: int | None
    trainings: int | None
    seed: int
    device: str | torch.device
    precision: Literal["auto", "float32", "bfloat16"]
