"""The networks and theories of the attention experiment, and the runs of the theories."""

from __future__ import annotations

from typing import Any

import xarray as xr

from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import Row
from mosaic.run.config import RunConfig

__all__ = [
    "ATTENTIVE",
    "NETWORKS",
    "THEORIES",
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
}
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
