"""Functions and networks as score models: every convention, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import mosaic
from mosaic.interfaces.function_model import FunctionModel

MEAN, VARIANCE = 0.2, 0.3


def schedule(name: str = "cosine") -> mosaic.NoiseSchedule:
    made: mosaic.NoiseSchedule = mosaic.registry().make("schedule", name, {})
    return made


def x0hat(y: Tensor, sigma: Any) -> Tensor:
    """Posterior mean of y = x_0 + sigma eps where every pixel is N(MEAN, VARIANCE): what all conventions must give."""
    return MEAN + VARIANCE / (VARIANCE + sigma**2) * (y - MEAN)


def column(t: Tensor) -> Tensor:
    return t[:, None, None, None]


def on(name: str, t: Tensor) -> tuple[Tensor, Tensor]:
    signal, noise = schedule(name).signal_noise(t.double())
    return column(signal).to(t.dtype), column(noise).to(t.dtype)


def eps_of_t(x: Tensor, t: Tensor) -> Tensor:
    a, s = on("cosine", t)
    return (x - a * x0hat(x / a, s / a)) / s


def x0_of_t(x: Tensor, t: Tensor) -> Tensor:
    a, s = on("cosine", t)
    return x0hat(x / a, s / a)


def v_of_t(x: Tensor, t: Tensor) -> Tensor:
    a, s = on("cosine", t)
    return a * eps_of_t(x, t) - s * x0_of_t(x, t)


def score_of_t(x: Tensor, t: Tensor) -> Tensor:
    """Of the marginal N(a MEAN, a^2 VARIANCE + s^2), without x0hat."""
    a, s = on("cosine", t)
    return -(x - a * MEAN) / (a**2 * VARIANCE + s**2)


def eps_of_level(x: Tensor, level: mosaic.Level) -> Tensor:
    return (x - level.signal * x0hat(x / level.signal, level.ratio)) / level.noise


def edm(y: Tensor, sigma: Tensor) -> Tensor:
    return x0hat(y, column(sigma))


def eps_of_sigma(y: Tensor, sigma: Tensor) -> Tensor:
    return (y - x0hat(y, column(sigma))) / column(sigma)


def score_of_sigma(y: Tensor, sigma: Tensor) -> Tensor:
    return -(y - MEAN) / (VARIANCE + column(sigma) ** 2)


def eps_of_timestep(x: Tensor, n: Tensor) -> Tensor:
    """As diffusers has it: alphas_cumprod of 1000 linear betas from 1e-4 to 0.02, here between timesteps, too."""
    a, s = on("ddpm-linear", (n + 1) / 1000)
    return (x - a * x0hat(x / a, s / a)) / s


def v_of_timestep(x: Tensor, n: Tensor) -> Tensor:
    a, s = on("ddpm-linear", (n + 1) / 1000)
    return a * eps_of_timestep(x, n) - s * x0hat(x / a, s / a)


def flow_of_t(x: Tensor, t: Tensor) -> Tensor:
    """Rectified: x = (1 - t) x_0 + t eps, and eps - x_0."""
    a, s = 1 - column(t), column(t)
    clean = x0hat(x / a, s / a)
    return (x - a * clean) / s - clean


def flow_of_timestep(x: Tensor, n: Tensor) -> Tensor:
    return flow_of_t(x, n / 1000)


def raw_edm(x: Tensor, c_noise: Tensor) -> Tensor:
    """F of D = c_skip y + c_out F(c_in y, c_noise), Karras et al. 2022, table 1, with sigma_data 0.5."""
    sigma = column(torch.exp(4 * c_noise))
    total = sigma**2 + 0.25
    y = x * total.sqrt()
    return (x0hat(y, sigma) - 0.25 / total * y) / (sigma * 0.5 / total.sqrt())


CONVENTIONS: list[tuple[Callable[..., Tensor], str, dict[str, Any]]] = [
    (eps_of_t, "cosine", {}),
    (x0_of_t, "cosine", {"prediction": "x0"}),
    (v_of_t, "cosine", {"prediction": "v"}),
    (score_of_t, "cosine", {"prediction": "score"}),
    (eps_of_level, "cosine", {"time": "level"}),
    (edm, "cosine", {"prediction": "x0", "time": "sigma"}),
    (eps_of_sigma, "cosine", {"time": "sigma"}),
    (score_of_sigma, "cosine", {"prediction": "score", "time": "sigma"}),
    (eps_of_timestep, "ddpm-linear", {"time": "timestep"}),
    (v_of_timestep, "ddpm-linear", {"prediction": "v", "time": "timestep"}),
    (flow_of_t, "cosine", {"prediction": "flow"}),
    (flow_of_timestep, "cosine", {"prediction": "flow", "time": "timestep"}),
    (raw_edm, "cosine", {"preconditioning": "edm"}),
]


def model(function: Any, dataset: mosaic.DataSet, name: str = "cosine", **convention: Any) -> FunctionModel:
    return FunctionModel(function, dataset, schedule(name), mosaic.Convention(**convention))


@pytest.mark.parametrize("t", [0.05, 0.37, 0.9])
@pytest.mark.parametrize(("function", "own", "convention"), CONVENTIONS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_one_network_is_the_same_by_every_convention(
    tiny: mosaic.DataSet, function: Any, own: str, convention: Any, t: float, dtype: torch.dtype, error: float
) -> None:
    x = torch.randn(3, 1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in ("cosine", "ddpm-linear", "flow", "edm"):  # the coordinates in which x is given
        level = schedule(name).level(t)
        if mosaic.Convention(**convention).needs_schedule and name != own:
            continue
        noisy = (level.signal * MEAN + math.hypot(level.signal, level.noise) * x).to(dtype)
        actual = model(function, tiny, own, **convention).denoise(noisy, level)
        expected = x0hat(noisy.double() / level.signal, level.ratio)
        assert actual.dtype == dtype
        assert float((actual - expected).abs().max()) < error * max(1.0, level.ratio)


def test_a_raw_network_of_edm_takes_levels_beyond_the_schedule(tiny: mosaic.DataSet) -> None:
    beyond = mosaic.Level(1.0, 5000.0)
    raw = model(raw_edm, tiny, preconditioning="edm")
    assert raw.check((beyond,), (), (-1,)) == ()
    with pytest.raises(mosaic.UsageError, match="'cosine'"):
        model(eps_of_t, tiny).check((beyond,), (), (-1,))


def test_x_and_time_reach_the_function_as_they_are_where_nothing_is_to_be_changed(tiny: mosaic.DataSet) -> None:
    given: list[tuple[Tensor, Tensor]] = []

    def eps(x: Tensor, t: Tensor) -> Tensor:
        given.append((x, t))
        return x

    x = torch.randn(3, 1, 6, 5)
    model(eps, tiny).denoise(x, schedule().level(0.3))
    assert given[0][0] is x
    assert given[0][1].tolist() == pytest.approx([0.3, 0.3, 0.3])


@pytest.mark.parametrize(
    "convention",
    [
        {"preconditioning": "edm", "prediction": "v"},
        {"prediction": "flow", "time": "sigma"},
        {"prediction": "noise"},
        {"time": "T"},
        {"timesteps": 0},
    ],
)
def test_what_is_no_convention_is_refused(convention: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError):
        mosaic.Convention.parse(convention, "score")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout, self.norm = nn.Conv2d(1, 1, 3, padding=1), nn.Dropout(0.5), nn.BatchNorm2d(1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Any:
        result = self.norm(self.dropout(self.layer(x))) * t[:, None, None, None]
        return SimpleNamespace(sample=result if labels is None else result + labels[:, None, None, None])


def test_a_network_is_evaluated_in_eval_mode_in_its_precision_and_is_left_as_it_was(tiny: mosaic.DataSet) -> None:
    network = Network().train()
    network.dropout.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, level = torch.randn(2, 1, 6, 5, dtype=torch.float64), schedule().level(0.5)
    actual = model(network, tiny).denoise(x, level)
    assert torch.equal(actual, model(network, tiny).denoise(x, level))
    assert actual.dtype == torch.float64
    assert (network.training, network.norm.training, network.dropout.training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not actual.requires_grad
    sloped = model(network, tiny).denoise(x.requires_grad_(), level)  # it can be differentiated, if asked for
    assert sloped.requires_grad
    assert torch.equal(sloped, actual)
    with torch.no_grad():
        assert not model(network, tiny).denoise(x, level).requires_grad


def test_labels_reach_a_function_that_takes_them(tiny: mosaic.DataSet) -> None:
    network, level, x = Network().eval(), schedule().level(0.5), torch.zeros(2, 1, 6, 5)
    labelled = model(network, tiny, labels=True, prediction="x0")
    difference = labelled.denoise(x, level, torch.tensor([0, 2])) - labelled.denoise(x, level)
    assert difference.flatten(1).mean(1).tolist() == pytest.approx([1.0, 3.0])


def test_labels_are_refused_by_a_function_without_them(tiny: mosaic.DataSet) -> None:
    plain, level = model(lambda x, t: x, tiny), schedule().level(0.5)
    x = torch.ones(2, 1, 6, 5)
    assert torch.equal(plain.denoise(x, level, torch.tensor([-1, -1])), plain.denoise(x, level))
    for refused in (lambda: plain.denoise(x, level, torch.tensor([-1, 0])), lambda: plain.check((level,), (), (-1, 2))):
        with pytest.raises(mosaic.UsageError, match="labels"):
            refused()


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (torch.zeros(1, 6, 5), r"\(1, 6, 5\)"),
        (torch.zeros(1, 2, 6, 5), r"\(1, 2, 6, 5\)"),
        (0.5, "float"),
        (None, "None"),
        (torch.zeros(1, 1, 6, 5, dtype=torch.complex64), "complex64"),
    ],
)
def test_an_answer_of_another_shape_or_kind_is_named(tiny: mosaic.DataSet, answer: Any, named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"{named}.*\(1, 1, 6, 5\)"):
        model(lambda x, t: answer, tiny).denoise(torch.zeros(1, 1, 6, 5), schedule().level(0.5))


def test_a_level_beyond_the_schedule_is_refused(tiny: mosaic.DataSet) -> None:
    far = mosaic.Level(1.0, 1e4)
    for refused in (
        lambda: model(eps_of_t, tiny).denoise(torch.zeros(1, 1, 6, 5), far),
        lambda: model(eps_of_t, tiny).check((far,), (), ()),
    ):
        with pytest.raises(mosaic.UsageError, match=r"10000.*'cosine'"):
            refused()
    model(edm, tiny, prediction="x0", time="sigma").denoise(torch.zeros(1, 1, 6, 5), far)


def test_a_network_elsewhere_is_refused(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"meta.*cpu"):
        model(Network().to("meta"), tiny).denoise(torch.zeros(1, 1, 6, 5), schedule().level(0.5))


class OnlyX(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(
    "function", [lambda x: x, lambda x, t, y: x, lambda x, t, *, y: x, OnlyX(), partial(lambda x: x)]
)
def test_a_function_of_other_arguments_is_refused_with_its_own(tiny: mosaic.DataSet, function: Any) -> None:
    with pytest.raises(mosaic.UsageError, match=r"\(x.*\b2\b.*\(x, t\)"):
        mosaic.run(function, tiny, steps=1, samples=1)
    with pytest.raises(mosaic.UsageError, match=r"\(x, sigma, labels\)"):
        mosaic.score(lambda x: x, tiny, time="sigma", labels=True).denoise(torch.zeros(1, *tiny.shape), t=0.5)


def test_an_error_inside_a_function_stays_its_own(tiny: mosaic.DataSet) -> None:
    def wrong(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x + x.reshape(missing=1)  # type: ignore[call-overload, no-any-return]

    with pytest.raises(TypeError):
        mosaic.run(wrong, tiny, steps=1, samples=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_function_may_answer_in_another_precision(tiny: mosaic.DataSet, dtype: torch.dtype) -> None:
    run = mosaic.run(lambda x, t: torch.zeros_like(x, dtype=dtype), tiny, steps=2, samples=1)
    assert run["denoised"].dtype == "float32"
    xr.testing.assert_equal(run, mosaic.run(lambda x, t: torch.zeros_like(x), tiny, steps=2, samples=1))


@pytest.mark.parametrize("options", [{}, {"time": "sigma"}, {"preconditioning": "edm"}])
def test_a_level_without_signal_is_refused(tiny: mosaic.DataSet, options: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match="signal"):
        model(lambda x, t: x, tiny, **options).denoise(torch.zeros(1, 1, 6, 5), mosaic.Level(0.0, 1.0))


@pytest.mark.parametrize("time", ["t", "timestep", "sigma", "level"])
@pytest.mark.parametrize("level", [mosaic.Level(0.4, 0.6), mosaic.Level(1.0, 2.0)])
def test_levels_of_other_schedules_are_those_of_the_same_ratio(
    tiny: mosaic.DataSet, time: str, level: mosaic.Level
) -> None:
    """eps of a Gaussian of variance 0.3 about 0, by the level that it is told; x0hat depends on x / a and s / a."""

    def eps(x: Tensor, told: Any) -> Tensor:
        if time == "level":
            a, s = told.signal, told.noise
        elif time == "sigma":
            a, s = 1.0, float(told[0])
        else:
            own = schedule().level(float(told[0]) if time == "t" else (float(told[0]) + 1) / 1000)
            a, s = own.signal, own.noise
        return s * x / (0.3 * a**2 + s**2)

    x = torch.randn(2, 1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, s = level.signal, level.noise
    expected = 0.3 * a / (0.3 * a**2 + s**2) * x
    torch.testing.assert_close(model(eps, tiny, time=time).denoise(x, level), expected, rtol=1e-6, atol=1e-8)
