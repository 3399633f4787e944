"""What the attention experiment might measure, made up."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

import mosaic

SAMPLES, STEPS, TRAININGS = 10, 5, 3


def made_up_attention(makers: tuple[str, ...], theories: tuple[str, ...], networks: tuple[str, ...]) -> xr.Dataset:
    """Make ten samples of 4 x 4 pixels of each maker, with verdicts, likeness and maps at random.

    Networks have three trainings, others have one.
    """
    rng, count = np.random.default_rng(0), len(makers)
    made = (count, TRAININGS, SAMPLES)
    trainings = np.array([TRAININGS if maker in networks else 1 for maker in makers])
    is_there = (np.arange(TRAININGS) < trainings[:, None])[..., None]
    verdicts = np.where(is_there, rng.integers(0, 4, made), -1)
    copies = is_there & (rng.random(made) < 0.5)
    alpha = rng.random((2, STEPS, 2, 4, 4))
    shares = {
        f"{name}_{end}": ("maker", rng.random(count))
        for name in ("new", "whole", "agreement", "beyond_chance")
        for end in ("share", "low", "high")
    }
    consistency = (verdicts == 0).sum((1, 2)) / is_there.sum(1)[:, 0] / SAMPLES
    contrasts = [f"{name} minus {networks[0]}" for name in networks[1:]]
    differences = {
        f"{name}_difference{end}": ("contrast", rng.uniform(-1, 1, len(contrasts)))
        for name in ("consistency", "new", "whole", "beyond_chance")
        for end in ("", "_low", "_high")
    }
    return xr.Dataset(
        {
            "image": (
                ("maker", "training", "sample", "channel", "height", "width"),
                np.where(is_there[..., None, None, None], rng.uniform(-1, 1, (*made, 3, 4, 4)), np.nan),
            ),
            "verdict": (("maker", "training", "sample"), verdicts, {"verdicts": json.dumps(mosaic.VERDICTS)}),
            "copy": (("maker", "training", "sample"), copies),
            "trainings": ("maker", trainings),
            **shares,
            **differences,
            "consistency_share": ("maker", consistency),
            "consistency_low": ("maker", np.maximum(0, consistency - 0.1)),
            "consistency_high": ("maker", np.minimum(1, consistency + 0.2)),
            "chance": ("maker", rng.random(count)),
            "beyond_chance": ("maker", rng.random(count)),
            **{
                f"pearson_r_{end}": (("theory", "network"), rng.random((len(theories), len(networks))))
                for end in ("median", "low", "high")
            },
            "state_std": (("theory", "step"), rng.random((len(theories), STEPS))),
            "forward_std": ("step", rng.random(STEPS)),
            "alpha": (
                ("attends", "moment", "pixel", "height", "width"),
                alpha / alpha.sum((-1, -2), keepdims=True),
            ),
            "moment_time": ("moment", np.linspace(1, 0.2, STEPS)),
        },
        {
            "maker": list(makers),
            "theory": list(theories),
            "network": list(networks),
            "contrast": contrasts,
            "attends": ["compose softmax", "resnet-attention softmax"],
            "pixel": ["row 0, column 1", "row 0, column 2"],
        },
        {"dataset_range": "[-1.0, 1.0]"},
    )
