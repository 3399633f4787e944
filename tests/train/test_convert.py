"""Networks from elsewhere as checkpoints: what is recorded, assumed and refused."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import foreign_networks as oracle
import numpy as np
import pytest
import torch
from foreign_files import case, converted, images_like
from small_training import train
from torch import Tensor, nn

import mosaic

quiet = pytest.mark.filterwarnings("ignore::mosaic.MosaicWarning")


def resnet(channels: int = 1, classes: int = 0) -> dict[str, Tensor]:
    return oracle.weights_of(oracle.resnet_shapes(channels, 16, 1, classes))


def test_it_says_where_it_comes_from_and_what_is_assumed() -> None:
    weights, _, data = case("resnet")
    with pytest.warns(mosaic.MosaicWarning) as warned:
        checkpoint = converted(weights, data)
    texts = " ".join(str(each.message) for each in warned)
    assert "released ResNet" in texts
    assert "`network.padding=zeros`" in texts
    assert "`schedule` cosine" in texts
    assert checkpoint.converted == {
        "family": "the released ResNet of Kamb & Ganguli 2025",
        "file": "weights.pt",
        "sha256": hashlib.sha256(Path("weights.pt").read_bytes()).hexdigest(),
        "entry": "",
        "assumed": {"network.padding": "zeros", "schedule": "cosine"},
        "training": "unknown",
    }
    assert not isinstance(checkpoint.config, mosaic.TrainConfig)
    assert set(checkpoint.description["configuration"]) == set(mosaic.NetworkConfig.model_fields)
    assert checkpoint.progress() == {}
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == ["checkpoint.json", "weights.safetensors"]


def test_the_entry_that_was_read_is_named() -> None:
    weights, _, data = case("ddpm")
    other = {name: torch.zeros_like(value) for name, value in weights.items()}
    with pytest.warns(mosaic.MosaicWarning) as warned:
        checkpoint = converted({"net_model": other, "ema_model": weights, "step": 500_000}, data)
    assert any("'ema_model'" in str(each.message) for each in warned)
    assert checkpoint.converted is not None
    assert checkpoint.converted["entry"] == "ema_model"
    assert all(value.any() for name, value in checkpoint.load().state_dict().items() if "weight" in name)


@quiet
def test_what_is_given_is_not_assumed_and_makes_another_network() -> None:
    weights, _, data = case("resnet")
    first = converted(weights, data)
    given = {"network_options": {"padding": "circular"}, "schedule": "linear"}
    second = converted(weights, data, out="second", **given)
    assert second.converted is not None
    assert second.converted["assumed"] == {}
    assert (second.make_schedule().name, second.config.network_options["padding"]) == ("linear", "circular")
    assert first.fingerprint() != second.fingerprint()
    assert first.fingerprint() == converted(weights, data, out="third").fingerprint()


@quiet
def test_the_fingerprint_does_not_depend_on_where_the_data_are() -> None:
    weights, _, data = case("resnet")
    torch.save(weights, "weights.pt")
    found = set()
    for name in ("a.npz", "b.npz"):
        np.savez(name, images=data.images.numpy())
        checkpoint = mosaic.convert(
            "weights.pt", "file", out=name[0], dataset_options={"path": str(Path(name).absolute())}
        )
        found.add(checkpoint.fingerprint())
    assert len(found) == 1


@quiet
def test_every_function_takes_it() -> None:
    data = images_like((1, 8, 8), 3)
    checkpoint = converted(oracle.weights_of(oracle.unet_shapes(1, (8, 16), 3)), data)
    with pytest.warns(mosaic.MosaicWarning, match=r"weights\.pt"):  # of its training nothing is known
        run = mosaic.run(mosaic.score(checkpoint, data), samples=2, steps=2, labels="random")
    assert run["image"].notnull().all()
    scales = mosaic.calibrate(checkpoint, "els", data, samples=1, steps=2, sizes="3,5", out="scales.nc")
    assert set(scales["scale"].values) <= {3, 5}


@quiet
def test_its_training_is_not_resumed_and_its_folder_replaced_on_request_only(tiny: mosaic.DataSet) -> None:
    weights, _, data = case("resnet")
    converted(weights, data)
    with pytest.raises(mosaic.UsageError, match=r"'net'.*not trained here"):
        train(tiny, resume=True)
    with pytest.raises(mosaic.UsageError, match=r"'net'.*`overwrite`"):
        converted(weights, data)
    trained = train(tiny, overwrite=True)
    assert trained.converted is None
    checkpoint = converted(weights, data, overwrite=True)
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == ["checkpoint.json", "weights.safetensors"]


@quiet
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_checkpoint_that_appears_in_the_meantime_is_replaced_on_request_only(
    tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    weights, _, data = case("resnet")
    code = sys.modules["mosaic.train.convert"]
    read = code.read_weights

    def slowly(path: Path) -> Any:
        train(tiny, epochs=1)
        return read(path)

    monkeypatch.setattr(code, "read_weights", slowly)
    if overwrite:
        assert converted(weights, data, overwrite=True).converted is not None
        assert not Path("net", "training.safetensors").exists()
        return
    with pytest.raises(mosaic.MosaicError, match="'net"):
        converted(weights, data)
    assert mosaic.load_checkpoint("net").converted is None
    assert mosaic.load_checkpoint("net").load() is not None


def without(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (without(resnet(), "embs.1.1.bias"), r"1 missing \(embs\.1\.1\.bias\)"),
        ({**resnet(), "norm.weight": torch.ones(3)}, r"1 not of this network \(norm\.weight\)"),
        (
            {**resnet(), "down_projection.weight": torch.ones(1, 16, 1, 1)},
            r"'down_projection\.weight'.*\(1, 16, 1, 1\)",
        ),
        (without(oracle.weights_of(oracle.unet_shapes(1, (8, 16, 24))), "feature_blocks.1.model.0.weight"), "missing"),
        (without(oracle.weights_of(oracle.edm_shapes(8, 1, 8, (1, 2), 2)), "model.enc.4x4_block1.conv0.weight"), "4x4"),
        (
            without(oracle.weights_of(oracle.ddpm_shapes(1, 32, (1, 2), 1)), "downblocks.2.block2.3.weight"),
            "downblocks.2",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused_by_name(weights: dict[str, Tensor], named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"weights\.pt.*{named}"):
        converted(weights, images_like((1, 8, 8)))
    assert not Path("net").exists()


def test_weights_that_nobody_knows_are_refused() -> None:
    with pytest.raises(mosaic.DataError, match=r"weights\.pt.*\(0\.weight, 0\.bias\).*resnet"):
        converted(nn.Sequential(nn.Conv2d(1, 1, 3)).state_dict(), images_like((1, 8, 8)))
    with pytest.raises(mosaic.DataError, match="unet"):
        converted(resnet(), images_like((1, 8, 8)), network="unet")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    weights = resnet()
    weights["convs.0.0.bias"][3] = bad
    with pytest.raises(mosaic.DataError, match=r"convs\.0\.0\.bias"):
        converted(weights, images_like((1, 8, 8)))


@pytest.mark.parametrize(
    ("weights", "data", "named"),
    [
        (resnet(channels=3), images_like((1, 8, 8)), r"\b3 channels.*'made' has 1"),
        (resnet(classes=4), images_like((1, 8, 8), 3), r"\b4 classes.*'made' has 3"),
        (resnet(classes=4), images_like((1, 8, 8)), r"\b4 classes.*'made' has 0"),
        (oracle.weights_of(oracle.unet_shapes(1, (8, 8, 8))), images_like((1, 6, 8)), r"multiples of 4.*6 x 8"),
    ],
)
def test_data_that_do_not_fit_are_refused(weights: dict[str, Tensor], data: mosaic.DataSet, named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        converted(weights, data)


@quiet
def test_half_precision_and_a_network_that_is_named() -> None:
    weights, _, data = case("resnet")
    checkpoint = converted({name: value.half() for name, value in weights.items()}, data, network="resnet")
    state = checkpoint.load().state_dict()
    assert all(value.dtype == torch.float32 for value in state.values())
    assert torch.allclose(state["up_projection.weight"], weights["up_projection.weight"], atol=1e-3)


@quiet
def test_a_plugin_may_know_weights_by_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            result: Tensor = self.inner(x)
            return result

    class Mine(mosaic.Network):
        name = "mine"

        def build(self, channels: int, classes: int) -> nn.Module:
            return Line()

        @classmethod
        def recognise(cls, weights: Mapping[str, Tensor]) -> mosaic.ForeignWeights | None:
            if "w" not in weights:
                return None
            return mosaic.ForeignWeights(
                family="mine",
                options={},
                channels=1,
                convention=mosaic.Convention(prediction="x0", time="sigma"),
                schedule="edm",
                rename=lambda own: {"inner.weight": "w", "inner.bias": "b"}[own],
                unused=("counter",),
            )

    monkeypatch.setitem(mosaic.registry()._classes, ("network", "mine"), Mine)
    weights = {"w": torch.full((1, 1, 1, 1), 0.5), "b": torch.ones(1), "counter": torch.ones(())}
    data = images_like((1, 4, 4))
    score = mosaic.score(converted(weights, data), data)
    x = torch.randn(2, 1, 4, 4)
    assert torch.allclose(score.model.denoise(x, mosaic.Level(0.5, 1.0)), 0.5 * (x / 0.5) + 1)
