"""The authors' released networks: weights of their code give what their code gives."""

from __future__ import annotations

from collections.abc import Callable

import foreign_networks as oracle
import pytest
import torch
from foreign_files import LABELS, TIMES, case, converted, input_of, stored
from torch import Tensor
from variant_effects import effects

import mosaic

pytestmark = pytest.mark.filterwarnings("ignore::mosaic.MosaicWarning")  # that padding is assumed

EVALUATED: dict[str, Callable[..., Tensor]] = {"resnet": oracle.resnet, "unet": oracle.unet}


@pytest.mark.parametrize("name", ["resnet", "unet"])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_the_oracle_is_the_released_code(name: str, padding: str) -> None:
    weights, x, data = case(name)
    labels = torch.tensor(LABELS) if data.classes else None
    expected = stored(f"{name}_{padding}")
    t = torch.tensor(TIMES, dtype=torch.float64)
    actual = EVALUATED[name](weights, x.double(), t, labels, padding)
    assert torch.allclose(actual.float(), expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["resnet", "unet"])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_converted_weights_give_what_the_released_code_gives(name: str, padding: str) -> None:
    weights, x, data = case(name)
    labels = torch.tensor(LABELS) if data.classes else None
    module = converted(weights, data, network_options={"padding": padding}).load()
    t = torch.tensor(TIMES)
    expected = stored(f"{name}_{padding}")
    assert torch.allclose(module(x, t, labels), expected, rtol=0, atol=3e-5 * float(expected.abs().max()))
    expected = EVALUATED[name](weights, x.double(), t.double(), labels, padding)
    assert torch.allclose(module.double()(x.double(), t.double(), labels), expected, rtol=0, atol=1e-10)
    assert (EVALUATED[name](weights, 2 * x.double(), t.double(), labels, padding) - expected).abs().max() > 1e-3


def test_x0hat_is_that_of_eps_at_the_time_of_the_cosine_schedule() -> None:
    weights, x, data = case("unet")
    score = mosaic.score(converted(weights, data), data)
    labels = torch.tensor(LABELS)
    for t in (0.02, 0.5, 1.0):
        level = score.schedule.level(t)
        eps = oracle.unet(weights, x.double(), torch.full((2,), t, dtype=torch.float64), labels)
        expected = (x.double() - level.noise * eps) / level.signal
        assert torch.allclose(score.denoise(x.double(), t=t, labels=labels), expected, rtol=0, atol=1e-10)


def test_sizes_and_classes_are_read_off_the_weights() -> None:
    checkpoint = converted(oracle.weights_of(oracle.resnet_shapes(3, 24, 2, classes=3)), case("unet")[2])
    options = {"padding": "zeros", "class_conditional": True, "channels": 24, "blocks": 2, "variant": "released"}
    assert checkpoint.config.network_options == options
    assert (checkpoint.config.schedule, checkpoint.receptive_field()) == ("cosine", 9)
    checkpoint = converted(oracle.weights_of(oracle.unet_shapes(1, (8, 16))), case("resnet")[2], out="unet")
    assert checkpoint.config.network_options["channels"] == [8, 16]
    assert not checkpoint.is_conditional


@pytest.mark.parametrize("options", [{"channels": 12}, {"channels": 8}])
def test_channels_that_its_norms_cannot_group_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(mosaic.UsageError, match=r"resnet.*\b8\b.*\b16\b"):
        mosaic.registry().parse("network", "resnet", {**options, "variant": "released"})


def test_one_resolution_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="two"):
        mosaic.registry().parse("network", "unet", {"channels": (8,), "variant": "released"})


def test_a_network_of_the_released_kind_is_trained_like_any_other(tiny: mosaic.DataSet) -> None:
    options = {"channels": 16, "blocks": 1, "variant": "released"}
    checkpoint = mosaic.train("resnet", tiny, out="net", epochs=2, network_options=options, ema=0, times="grid")
    state = oracle.resnet_shapes(1, 16, 1)
    module = checkpoint.load()
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == state
    x = input_of((1, 6, 5))
    actual = module.double()(x.double(), torch.tensor(TIMES, dtype=torch.float64), None)
    expected = oracle.resnet(module.state_dict(), x.double(), torch.tensor(TIMES, dtype=torch.float64))
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.system
def test_what_our_defaults_do_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """With fewer images and shorter trainings than for the table of the README."""
    source = mosaic.registry().get("dataset", "digits")
    results = effects(source(source.Options(limit=200)).load(), epochs=40, seeds=1, samples=4)
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(results)
    assert all(0 < losses[0] < 1 for losses, _ in results.values())
    assert len({losses[0] for losses, _ in results.values()}) == len(results)  # each setting has an effect
