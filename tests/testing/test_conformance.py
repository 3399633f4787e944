"""Every built-in plugin passes the suite that third parties run, and the suite catches plugins that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest

import mosaic
import mosaic.testing
from mosaic.testing.case import small_dataset

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "is": [{}],
    "es": [{}],
    "ls": [{"boundary": boundary} for boundary in ("zeros", "circular")],
    "els": [{"boundary": boundary} for boundary in ("zeros", "circular", "valid")],
    "soft-els": [{"boundary": "zeros"}, {"border": 0, "cutoff": 2}, {"boundary": "circular"}],
    "filtered": [
        {"window": "box", "mirrored": True},
        {"window": "soft", "source": "place"},
        {"window": "soft", "temperature": 2},
        {"window": "soft", "exponent": 4, "mixture": 1.5},
        {"window": "box", "mixture": 1.5},
        {"window": "soft", "aspect": 2},
    ],
    "els-attention": [
        {"form": form, "attention": attention, "boundary": boundary}
        for form in ("compose", "mixture")
        for attention, boundary in (("softmax", "zeros"), ("top1", "circular"), ("identity", "valid"))
    ],
    "gaussian": [{}],
    "gaussian-mixture": [{}, {"components": 2}],
    "pca-locality": [{}, {"threshold": 0.3}, {"average": "batches", "batch": 3}],
    "nearest": [{}],
    "nearest-patch": [{"boundary": boundary} for boundary in ("zeros", "circular")],
    "smoothed": [{"draws": 4}],
    "patch-posterior": [{"boundary": boundary} for boundary in ("zeros", "circular")] + [{"flips": True}],
    "golden-subset": [{"low": 0.4, "high": 0.6}, {"proxy": 3}],
    "switch": [{"above": "is", "below": "els", "at": 1}, {"below": "nearest", "at": 0.5}],
}
AT_INFINITY = "x0hat_at_infinite_noise_is_the_mean"
VALID = "candidates of boundary 'valid' lie wholly inside, so pixels near the border come up less often"
WEIGHED = "windows that are attended to more often count more"
CHOSEN = "it chooses a few candidates, whatever the noise"
MIXED = "pixels that are attended to more often count more, and those near the border have other means"


def expected_failures(name: str, options: dict[str, Any]) -> dict[str, str]:
    """What cannot hold of a machine, and why."""
    if name == "els-attention" and options["attention"] != "identity":
        if options["form"] == "mixture":
            return {AT_INFINITY: WEIGHED} if options["attention"] == "top1" else {}
        mixed = {"attribution_names_the_pixels_that_x0hat_shows": "x0hat is mixed with that of other pixels"}
        return {**mixed, AT_INFINITY: MIXED} if options["boundary"] == "zeros" else mixed
    if name in ("nearest", "nearest-patch", "golden-subset"):
        return {AT_INFINITY: CHOSEN}
    return {AT_INFINITY: VALID} if options.get("boundary") == "valid" else {}


def oracle_of(name: str, options: dict[str, Any]) -> Callable[..., np.ndarray] | None:
    if name not in ("is", "es", "ls", "els"):
        return None

    def exact(x: np.ndarray, images: np.ndarray, level: mosaic.Level, scale: float) -> np.ndarray:
        boundary = options.get("boundary")
        return np.stack([oracle.denoise(name, boundary, row, images, level.signal, level.noise, scale) for row in x])

    return exact


def score_checks() -> list[Any]:
    parameters = []
    for name, several in SETTINGS.items():
        for options in several:
            plugin = mosaic.registry().get("score", name)
            settings = {"options": options, "oracle": oracle_of(name, options)}
            expected = expected_failures(name, options)
            checks = mosaic.testing.checks_of("score", plugin, expected_failures=expected, **settings)
            tag = "-".join([name, *map(str, options.values())])
            parameters += [pytest.param(check, id=f"{tag}-{check.name}") for check in checks]
    return parameters


@pytest.mark.parametrize("check", score_checks())
def test_the_machines(check: mosaic.testing.Check) -> None:
    check()


SCHEDULES = ["cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm"]
DATA_SETS = ["digits", "black-white", "shapes", "pairs", "pairs-shape"]
METRICS = ["pearson_r", "r2", "R2", "R2_clamped", "cosine", "mse", "nearest_train", "memorized", "local_consistency"]
RESNET: dict[str, Any] = {"channels": 8, "blocks": 2}

NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("resnet", RESNET),
    ("resnet", {"channels": 16, "blocks": 2, "variant": "released"}),
    ("resnet-attention", RESNET),
    ("unet", {"channels": "8,16"}),
    ("unet", {"channels": "8,16", "variant": "released"}),
    ("unet-attention", {"channels": "8,16"}),
    ("edm-unet", {"channels": 8, "multipliers": "1,2", "blocks": 1}),
    ("ddpm-unet", {"channels": 32, "multipliers": "1,1", "blocks": 1, "attention": "0"}),
]

SAMPLERS: list[tuple[str, dict[str, Any]]] = [
    ("ddim", {}),
    ("ddim", {"eta": 0.5, "grid": "karras"}),
    ("ddim", {"grid": "leading", "clip": 5}),
    ("ddpm", {}),
    ("euler", {}),
    ("euler", {"s_churn": 1}),
    ("heun", {"grid": "karras", "rho": 3}),
    ("heun", {"s_churn": 9, "s_tmin": 0.1, "s_tmax": 100, "s_noise": 1.003}),
    ("dpmpp-2m", {}),
    ("euler-maruyama", {}),
]


def test_no_built_in_plugin_is_left_out() -> None:
    """Those that need files of others, and pipelines of diffusers, are checked where there are small ones of them."""
    plugins = mosaic.registry()
    assert {*SETTINGS, "network", "patch-posterior-flex", "diffusers"} == set(plugins.names("score"))
    assert set(SCHEDULES) == set(plugins.names("schedule"))
    assert {*METRICS, "consistency"} == set(plugins.names("metric"))
    assert {name for name, _ in NETWORKS} == set(plugins.names("network"))
    assert {name for name, _ in SAMPLERS} == set(plugins.names("sampler"))
    files = {"file", "folder", "mnist", "fashion_mnist", "cifar10", "celeba"}
    assert {*DATA_SETS, *files} == set(plugins.names("dataset"))


@pytest.mark.parametrize(("name", "options"), SAMPLERS)
def test_the_samplers(name: str, options: dict[str, Any]) -> None:
    outcomes = mosaic.testing.check_sampler(mosaic.registry().get("sampler", name), options=options)
    assert set(outcomes.values()) == {"passed"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedules(name: str) -> None:
    outcomes = mosaic.testing.check_schedule(mosaic.registry().get("schedule", name))
    assert set(outcomes.values()) == {"passed"}


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_data_sets(name: str) -> None:
    outcomes = mosaic.testing.check_dataset(mosaic.registry().get("dataset", name))
    assert outcomes["it_loads_the_same_twice"] == "passed"


def test_a_data_set_from_a_file(tiny_file: Path) -> None:
    mosaic.testing.check_dataset(mosaic.registry().get("dataset", "file"), options={"path": str(tiny_file)})


@pytest.mark.parametrize("name", METRICS)
def test_the_metrics(name: str) -> None:
    outcomes = mosaic.testing.check_metric(mosaic.registry().get("metric", name))
    assert outcomes["values_stay_in_its_range"] == "passed"


def test_the_metric_consistency() -> None:
    source = mosaic.registry().get("dataset", "pairs")
    dataset = source(source.Options(count=12)).load()
    mosaic.testing.check_metric(mosaic.registry().get("metric", "consistency"), dataset=dataset)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
@pytest.mark.parametrize("conditional", [False, True])
def test_the_networks(name: str, options: dict[str, Any], conditional: bool) -> None:
    network = mosaic.registry().get("network", name)
    if "class_conditional" in network.Options.model_fields:
        options = {**options, "class_conditional": conditional}
    outcomes = mosaic.testing.check_network(network, options=options)
    assert outcomes["every_weight_can_be_trained"] == "passed"


@pytest.mark.parametrize("conditional", [False, True])
def test_a_trained_network_as_a_score_model(tmp_path: Path, conditional: bool) -> None:
    dataset = small_dataset()
    assert dataset.labels is not None
    np.savez("small.npz", images=dataset.images[:, 0].numpy(), labels=dataset.labels.numpy())
    source = mosaic.registry().get("dataset", "file")
    read = source(source.Options(path="small.npz")).load()
    options = {"channels": 4, "blocks": 1, "class_conditional": conditional}
    mosaic.train("resnet", "file", out="net", epochs=1, dataset_options={"path": "small.npz"}, network_options=options)
    outcomes = mosaic.testing.check_score(
        mosaic.registry().get("score", "network"), options={"checkpoint": "net"}, dataset=read
    )
    assert outcomes["x0hat_stays_in_the_range_of_the_data"] == "does not apply"
    assert outcomes["a_run_is_stored_and_read_back"] == "passed"
    outcomes = mosaic.testing.check_score(
        mosaic.registry().get("score", "patch-posterior-flex"), options={"checkpoint": "net", "images": 4}, dataset=read
    )
    assert outcomes["labels_choose_the_training_images"] == "passed"
