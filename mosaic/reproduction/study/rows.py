"""The rows of the paper's table 2, and what each preset makes of them.

References: Kamb & Ganguli 2025, table 2 and app. C.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mosaic.errors import UsageError, did_you_mean

__all__ = [
    "NETWORK_STEPS",
    "PAPER_THEORIES",
    "ROWS",
    "THEORIES",
    "THEORY_STEPS",
    "Row",
    "Sizes",
    "row_named",
    "sizes_of",
]

# Theories of table 2, as they are called in print; soft ELS is not the paper's.
THEORIES = {"els": "ELS", "soft-els": "soft ELS", "ls": "LS", "is": "IS"}
PAPER_THEORIES = ("els", "ls", "is")

# Steps of the reverse flow: the paper gives the network more than the theories (sec. 5).
THEORY_STEPS, NETWORK_STEPS = 20, 150


@dataclass(frozen=True)
class Row:
    """A row of table 2.

    Attributes
    ----------
    name, title : str
        As it is asked for, and in print.
    dataset, network, padding, conditional
        What is trained on what.
    paper : tuple of float
        The paper's medians for `PAPER_THEORIES`.
    scales_of : str
        Name of the row whose calibrated scales are used: its own, where a network is local.
    options : mapping
        More options of the network.
    """

    name: str
    title: str
    dataset: str
    network: str
    padding: str
    conditional: bool
    paper: tuple[float, float, float]
    scales_of: str
    options: Mapping[str, Any] = field(default_factory=dict)


def _row(kind: str, network: str, padding: str, *paper: float, scales_of: str = "") -> Row:
    dataset = {"mnist": "mnist", "cifar10": "cifar10", "fashion": "fashion_mnist", "celeba": "celeba"}[kind]
    short = network if network == "unet-attention" else f"{network}-{padding}"
    architecture = {"resnet": f"ResNet {padding}", "unet": f"UNet {padding}", "unet-attention": "UNet+SA"}[network]
    images = {"mnist": "MNIST", "cifar10": "CIFAR10", "fashion": "Fashion", "celeba": "CelebA"}[kind]
    name = f"{kind}-{short}"
    els, ls, ideal = paper
    conditional = kind in ("cifar10", "fashion")
    title, scales_of = f"{images} {architecture}", scales_of or name
    return Row(name, title, dataset, network, padding, conditional, (els, ls, ideal), scales_of)


# In the paper's order. CIFAR10 and FashionMNIST are class-conditional.
ROWS = {
    row.name: row
    for row in (
        _row("mnist", "unet", "zeros", 0.89, 0.88, 0.70),
        _row("cifar10", "unet", "zeros", 0.90, 0.87, 0.41),
        _row("fashion", "unet", "zeros", 0.93, 0.93, 0.80),
        _row("celeba", "unet", "zeros", 0.85, 0.90, 0.55),
        _row("mnist", "resnet", "zeros", 0.94, 0.82, 0.61),
        _row("mnist", "resnet", "circular", 0.77, 0.36, 0.15),
        _row("cifar10", "resnet", "zeros", 0.95, 0.90, 0.42),
        _row("cifar10", "resnet", "circular", 0.94, 0.83, 0.35),
        _row("fashion", "resnet", "zeros", 0.94, 0.88, 0.68),
        _row("celeba", "resnet", "zeros", 0.96, 0.90, 0.47),
        _row("cifar10", "unet-attention", "zeros", 0.77, 0.77, 0.48, scales_of="cifar10-resnet-zeros"),
    )
}


def row_named(name: str) -> Row:
    """Find a row.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    if name not in ROWS:
        raise UsageError(f"There is no row '{name}'.{did_you_mean(name, ROWS)} Rows: {', '.join(ROWS)}.")
    return ROWS[name]


@dataclass(frozen=True)
class Sizes:
    """What a preset makes of a row.

    Attributes
    ----------
    dataset_options, network_options, training : dict
        Settings of a training.
    calibration_samples, samples : int
        Samples of the calibration and of the comparison.
    network_steps : int
        Steps of the network's reverse flow.
    """

    dataset_options: dict[str, Any]
    network_options: dict[str, Any]
    training: dict[str, Any]
    calibration_samples: int
    samples: int
    network_steps: int


def sizes_of(row: Row, preset: str) -> Sizes:
    """Sizes of a row: the paper's (app. C.1; 100 seeds), or sizes for two cores."""
    own = {"padding": row.padding, "class_conditional": row.conditional, **row.options}
    if row.dataset == "pairs":  # not the paper's: both presets alike
        # Half of the 108 possible images of two squares of one of three colours: the other half can come up as new.
        # They are low, so that every window sees a border; and wide, so that none of 13 pixels sees both squares.
        training = {"epochs": 9000, "batch_size": 32, "learning_rate": 2e-3}
        own |= {"channels": 64, "blocks": 4}
        return Sizes({"count": 54, "size": 20, "height": 5}, own, training, 8, 400, NETWORK_STEPS)
    if preset == "paper":
        return Sizes({}, own, {"epochs": 300, "batch_size": 128, "learning_rate": 1e-4}, 32, 100, NETWORK_STEPS)
    # Circular windows need several times as many comparisons; CIFAR10 has more pixels and images.
    circular = row.padding == "circular"
    images = {"cifar10": 15_000}.get(row.dataset, 1000 if circular else 2000)
    channels, passes = {
        "resnet": (64, 130_000 if circular else 220_000),
        "unet": ((32, 64, 128), 400_000),
        "unet-attention": ((32, 64, 128), 400_000),
    }[row.network]
    training = {"epochs": passes // images, "batch_size": 32, "learning_rate": 1e-3}
    calibration_samples = 4 if circular or row.dataset == "cifar10" else 8
    return Sizes({"limit": images}, {**own, "channels": channels}, training, calibration_samples, 64, NETWORK_STEPS)
