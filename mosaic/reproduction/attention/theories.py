"""The networks and theories of the attention experiment, and the runs of the theories."""

from __future__ import annotations

from typing import Any

import torch
import xarray as xr

from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import Row
from mosaic.run.config import RunConfig

__all__ = [
    "ATTENTIVE",
    "CONTRASTS",
    "NETWORKS",
    "THEORIES",
    "TRAININGS",
    "notes_on",
    "run_theory",
    "scale_of",
    "stem_of",
    "theory_step",
]

NONE = (float("nan"),) * 3


def _network(name: str, network: str, **options: Any) -> Row:
    row = f"pairs-{name}"
    return Row(row, name, "pairs", network, "zeros", False, NONE, "pairs-resnet", options)


NETWORKS = {
    "resnet": _network("resnet", "resnet"),
    "resnet-attention softmax": _network("resnet-softmax", "resnet-attention", attention="softmax", embedding=16),
    "resnet-attention top1": _network("resnet-top1", "resnet-attention", attention="top1", embedding=16),
    # The same parameters as with the other two, but local.
    "resnet-attention identity": _network("resnet-identity", "resnet-attention", attention="identity", embedding=16),
}
# With attention against without it, and the claim of the third party's summary: identity above top-1.
CONTRASTS = (
    *((f"resnet-attention {kind}", "resnet") for kind in ("softmax", "top1", "identity")),
    ("resnet-attention softmax", "resnet-attention identity"),
    ("resnet-attention identity", "resnet-attention top1"),
)
TRAININGS = 3  # of each network
FORMS: dict[str, dict[str, Any]] = {
    "compose": {"form": "compose"},
    "compose-score": {"form": "compose", "value": "score"},
    # Without `exclude_self`, each pixel attends almost only to itself, which is ELS.
    "compose-window": {"form": "compose", "embedding": "window", "exclude_self": True},
    "mixture": {"form": "mixture"},
}
ATTENTIVE = {
    f"{form} {kind}": {**options, "attention": kind}
    for form, options in FORMS.items()
    for kind in ("softmax", "top1", "identity")
    if kind != "identity" or form in ("compose", "mixture")
}
# Mixed scores at the first step only (t = 1, noise 80 times the signal), or at later steps only (11 times or less):
# this shows which of them makes parts agree.
MIXED = ATTENTIVE["compose-score softmax"]
THEORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "els": ("els", {}),
    **{name: ("els-attention", options) for name, options in ATTENTIVE.items()},
    "compose-score softmax first": (
        "switch",
        {"at": 20.0, "above": "els-attention", "above_options": MIXED, "below": "els"},
    ),
    "compose-score softmax later": (
        "switch",
        {"at": 20.0, "above": "els", "below": "els-attention", "below_options": MIXED},
    ),
    "is": ("is", {}),
}


def stem_of(name: str) -> str:
    """Name of the file of a theory's run."""
    return name.replace(" ", "-")


def scale_of(base: Experiment) -> int:
    """Give the window of the theories at every step: all that the network without attention can see about a pixel.

    The optimum of such a network is the ELS machine with this window. Scales calibrated on the trained network are
    smaller; with these the machine cannot see where in the image it is, and makes hardly any whole square.
    """
    side = base.load_plan().network.receptive_field()
    assert side is not None  # it is convolutions only
    return side


def notes_on(base: Experiment) -> list[str]:
    """Say if a window sees two parts at once, of images whose parts have columns of pixels between them that are alike.

    The experiment rests on windows that do not.
    """
    images, k = base.load_dataset().images[:], scale_of(base)
    varying = torch.nonzero((images.amax(0) != images.amin(0)).any(0).any(0))[:, 0]
    between = int(varying.diff().amax()) - 1 if len(varying) > 1 else 0
    if between == 0 or k <= between + 1:
        return []
    return [
        f"Windows of {k} pixels see both sides of the {between} columns that are alike in all images, so that a local "
        f"network, too, can make them agree. Use fewer `network.blocks`, or images that are wider."
    ]


def theory_config(base: Experiment, name: str, scales: str) -> RunConfig:
    """Configure a theory's run from the noise that the networks start from."""
    score, options = THEORIES[name]
    config = base.run_config("is" if score == "is" else "els", scales)
    return config.model_copy(update={"score": score, "score_options": {**config.score_options, **options}})


def run_theory(base: Experiment, name: str, k: int | None = None, stem: str | None = None) -> xr.Dataset:
    """Run a theory with the window of `scale_of`, or another; kept under its own name, or `stem`."""
    return base.execute(stem or stem_of(name), theory_config(base, name, str(k or scale_of(base))))


def theory_step(base: Experiment, step: str, name: str, stem: str, k: int | None = None) -> Step:
    """Step that runs a theory as `run_theory` does."""

    def config() -> RunConfig:
        return theory_config(base, name, str(k or scale_of(base)))

    return Step(step, lambda: base.run_job(stem, config()), seconds=lambda: base.run_seconds(config()))
