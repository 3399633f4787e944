"""The configuration of a run: one validated model, layered from defaults, environment, file and flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import Field

from mosaic.run.configuration import Configuration

if TYPE_CHECKING:
    import torch

    from mosaic.run.configuration import Values

__all__ = ["RunConfig", "RunSettings"]


class RunConfig(Configuration):
    """What is run: every setting that decides the numbers of a run."""

    score: str = Field("els", description="Score model.")
    dataset: str = Field("digits", description="Training set.")
    schedule: str = Field("cosine", description="Noise schedule.")
    score_options: dict[str, Any] = Field({}, description="Options of the score model.")
    dataset_options: dict[str, Any] = Field({}, description="Options of the training set.")
    schedule_options: dict[str, Any] = Field({}, description="Options of the noise schedule.")
    sampler_options: dict[str, Any] = Field({}, description="Options of the sampler.")
    scales: str | None = Field(
        None,
        description="Locality scales: a preset such as paper/mnist-resnet-zeros, a list 3,3,5,... of one entry a step "
        "(lowest noise first), one number, or a file (.json, .nc, .zarr). Default: the data set's own preset, else "
        "from about half the image at t = 1 to 3 at t = 0.",
    )
    sampler: str = Field("ddim", description="Sampler: what goes from noise to images, step by step.")
    steps: int = Field(20, ge=1, le=100_000, description="Steps of the reverse flow.")
    samples: int | None = Field(
        None, ge=1, le=1_000_000, description="Samples to make. Default: 4, or all that `init` holds."
    )
    batch_size: int = Field(8, ge=1, description="Samples computed together, and stored as one part.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the noise (and of random labels).")
    labels: str | None = Field(
        None,
        description="Classes: none, random, or a list 0,3,7,... of one label a sample (or one for all). A sample with "
        "a label is compared with the training images of that class only. Default: none, or those of `init`.",
    )
    init: str | None = Field(
        None,
        description="Start from the noise and labels of another run (.nc, .zarr), or from an array of standard normal "
        "noise (.npy, shape samples, channels, height, width).",
    )
    save: str | None = Field(
        None,
        description="What to keep beside states and means: none, or a list of provenance (which training pixel each "
        "final pixel is, and the best candidate at `save_steps`), entropy, n_eff, score. Default: provenance, where "
        "the score model has a posterior to take it from.",
    )
    save_steps: str = Field(
        "last", description="Steps to keep it at: last, all, or a list such as 0,10,19 (0 at noise)."
    )
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="Precision of the computation.")


class RunSettings(TypedDict, total=False):
    """What `mosaic.run` takes beside its arguments, for type checkers and editors."""

    # `python tests/run/test_configuration.py` writes these from the fields above.
    schedule: str
    score_options: Mapping[str, Any]
    dataset_options: Mapping[str, Any]
    schedule_options: Mapping[str, Any]
    sampler_options: Mapping[str, Any]
    scales: str | Values | None
    sampler: str
    steps: int
    samples: int | None
    batch_size: int
    seed: int
    labels: str | Values | None
    save: str | Values | None
    save_steps: str | Values
    device: str | torch.device
    dtype: Literal["float32", "float64"] | torch.dtype
