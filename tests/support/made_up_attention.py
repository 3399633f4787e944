"""What the attention experiment might measure, made up."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

import mosaic

SAMPLES, STEPS = 10, 5


def made_up_attention(makers: tuple[str, ...], theories: tuple[str, ...], networks: tuple[str, ...]) -> xr.Dataset:
    """Make ten samples of 4 x 4 pixels of each maker, with verdicts, likeness and maps at random."""
    rng, count = np.random.default_rng(0), len(makers)
    verdicts, copies = rng.integers(0, 4, (count, SAMPLES)), rng.random((count, SAMPLES)) < 0.5
    alpha = rng.random((2, STEPS, 2, 4, 4))
    shares = {
        f"{name}_{end}": ("maker", rng.random(count))
        for name in ("new", "agreement", "beyond_chance")
        for end in ("share", "low", "high")
    }
    consistency = (verdicts == 0).mean(1)
    return xr.Dataset(
        {
            "image": (("maker", "sample", "channel", "height", "width"), rng.uniform(-1, 1, (count, SAMPLES, 3, 4, 4))),
            "verdict": (("maker", "sample"), verdicts, {"verdicts": json.dumps(mosaic.VERDICTS)}),
            "copy": (("maker", "sample"), copies),
            **shares,
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
            "attends": ["compose softmax", "resnet-attention softmax"],
            "pixel": ["row 0, column 1", "row 0, column 2"],
        },
        {"dataset_range": "[-1.0, 1.0]"},
    )
