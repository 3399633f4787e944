"""EDM's DDPM++: weights of its code give what its code gives."""

from __future__ import annotations

import math

import foreign_networks as oracle
import pytest
import torch
from foreign_files import LABELS, SIGMAS, case, converted, images_like, stored

import mosaic
from mosaic_plugins.edm_unet import EDMUNet

pytestmark = pytest.mark.filterwarnings("ignore::mosaic.MosaicWarning")  # what the weights were recognised as


@pytest.mark.parametrize("sigma", SIGMAS)
def test_converted_weights_denoise_as_edm_does(sigma: float) -> None:
    weights, x, data = case("edm")
    labels = torch.tensor(LABELS)
    expected = stored(f"edm_{sigma}")
    exact = oracle.edm(weights, x.double(), sigma, labels)
    assert torch.allclose(exact.float(), expected, rtol=0, atol=5e-5)
    score = mosaic.score(converted(weights, data), data)
    level = mosaic.Level(1.0, sigma)
    assert torch.allclose(score.model.denoise(x, level, labels), expected, rtol=0, atol=2e-4)
    assert torch.allclose(score.model.denoise(x.double(), level, labels), exact, rtol=0, atol=1e-10)


def test_a_file_with_constructor_arguments_beside_the_weights_is_read() -> None:
    """The studio's convert_edm_checkpoint.py writes such a file of EDM's pickle."""
    weights, x, data = case("edm")
    arguments = {"img_resolution": 16, "label_dim": 3, "model_type": "SongUNet", "channel_mult": [1, 2]}
    meta = {"img_resolution": 16, "sigma_min": 0.0, "sigma_max": math.inf, "sigma_data": 0.5}
    checkpoint = converted({"init_kwargs": arguments, "state_dict": weights, "meta": meta}, data)
    assert checkpoint.converted is not None
    assert checkpoint.converted["entry"] == "state_dict"
    denoised = mosaic.score(checkpoint, data).model.denoise(x, mosaic.Level(1.0, 0.4), torch.tensor(LABELS))
    assert torch.allclose(denoised, stored("edm_0.4"), rtol=0, atol=2e-4)


def test_a_level_with_another_signal_is_scaled() -> None:
    """The studio's bridge: x0hat at (a, s) is D(x / a; s / a)."""
    weights, x, data = case("edm")
    model, labels = mosaic.score(converted(weights, data), data).model, torch.tensor(LABELS)
    level = mosaic.Level(0.6, 0.8)
    expected = oracle.edm(weights, x.double() / 0.6, 0.8 / 0.6, labels)
    assert torch.allclose(model.denoise(x.double(), level, labels), expected, rtol=0, atol=1e-10)


def test_sizes_are_read_off_the_weights() -> None:
    shapes = oracle.edm_shapes(16, 1, 32, (1, 2, 1), 1, (16, 4))
    checkpoint = converted(oracle.weights_of(shapes), images_like((1, 16, 16)))
    expected = {"channels": 32, "multipliers": [1, 2, 1], "blocks": 1, "attention": [0, 2], "class_conditional": False}
    assert checkpoint.config.network_options == expected
    assert checkpoint.config.schedule == "edm"
    assert checkpoint.converted is not None
    assert checkpoint.converted["assumed"] == {}


def test_a_run_by_heun_goes_down_its_levels() -> None:
    weights, _, data = case("edm")
    run = mosaic.run(mosaic.score(converted(weights, data), data), samples=1, steps=3, sampler="heun", labels="1")
    assert run["noise"].values[0] == pytest.approx(80)
    assert run["image"].notnull().all()


def test_other_kinds_of_edm_are_refused_by_name() -> None:
    weights, _, data = case("edm")
    with pytest.raises(mosaic.UsageError, match=r"NCSN\+\+"):
        converted({**weights, "model.map_noise.freqs": torch.ones(8)}, data)
    with pytest.raises(mosaic.UsageError, match=r"NCSN\+\+"):
        converted({**weights, "model.enc.8x8_down.conv0.resample_filter": torch.ones(1, 1, 4, 4)}, data)
    with pytest.raises(mosaic.UsageError, match="ADM"):
        converted({**weights, "model.out_norm.weight": torch.ones(8)}, data)


def test_images_of_other_sides_are_refused() -> None:
    weights, _, _ = case("edm")
    with pytest.raises(mosaic.UsageError, match=r"16 x 16.*'made'.*8 x 8"):
        converted(weights, images_like((3, 8, 8), 3))
    with pytest.raises(mosaic.UsageError, match=r"multiples of 4.*6 x 8"):
        EDMUNet(EDMUNet.Options()).check((3, 6, 8))


@pytest.mark.parametrize("options", [{"channels": 6}, {"channels": 36, "multipliers": (1, 2)}, {"multipliers": (0, 1)}])
def test_sizes_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(mosaic.UsageError, match="edm-unet"):
        EDMUNet.Options.parse(options, "network.edm-unet")


def test_the_default_has_the_size_of_the_models_of_cifar10() -> None:
    """55.7 million weights (Karras et al. 2022, table 7 says 56), without those of augmentation."""
    with torch.device("meta"):
        module = EDMUNet().build(3, 0)
    shapes = oracle.edm_shapes(32, 3, 128, (2, 2, 2), 4, (16,))
    count = sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith("resample_filter"))
    assert sum(value.numel() for value in module.parameters()) == count
    assert 55.6e6 < count < 55.8e6


def test_it_is_not_trained_here() -> None:
    options = {"channels": 8, "multipliers": (1,), "blocks": 1, "attention": ()}
    with pytest.raises(mosaic.UsageError, match=r"'edm-unet'.*mosaic\.convert"):
        mosaic.train("edm-unet", images_like((1, 8, 8)), out="own", network_options=options)


@pytest.mark.parametrize(("attention", "named"), [((2,), r"\b2\b.*0 to 1"), ((-3,), "attention"), ((0, 7), r"\b7\b")])
def test_attention_at_a_resolution_that_is_not_there_is_refused(attention: tuple[int, ...], named: str) -> None:
    options = {"channels": 32, "multipliers": (1, 1), "attention": attention}
    with pytest.raises(mosaic.UsageError, match=named):
        EDMUNet.Options.parse(options, "network.edm-unet")
