"""The built-in noise schedules against numbers worked out elsewhere, and the contract of every schedule."""

import math
from itertools import pairwise

import pytest
import torch

import mosaic

NAMES = ["cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm"]
VARIANCE_PRESERVING = ["cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear"]


def schedule(name, **options):
    cls = mosaic.registry().get("schedule", name)
    return cls(cls.Options.parse(options, f"schedule.{name}"))


def grid(points=1001):
    return torch.linspace(0, 1, points, dtype=torch.float64)


def test_there_are_tests_for_every_built_in_schedule():
    from_here = [
        n for n in mosaic.registry().names("schedule") if "mosaic-diffusion" in mosaic.registry().owner("schedule", n)
    ]
    assert sorted(NAMES) == sorted(from_here)


HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("name", "t", "signal", "noise"),
    [
        ("cosine", 0.0, 1.0, 0.0),
        ("cosine", 0.336, math.sqrt(3) / 2, 0.5),  # pi / 6
        ("cosine", 0.504, HALF, HALF),  # pi / 4
        ("cosine", 1.0, math.sin(math.pi / 252), math.cos(math.pi / 252)),
        ("cosine-nichol", 0.0, math.cos(math.pi / 252), math.sin(math.pi / 252)),
        ("cosine-nichol", 0.328, math.sqrt(3) / 2, 0.5),
        ("cosine-nichol", 0.496, HALF, HALF),
        ("cosine-nichol", 0.999, math.sin(math.pi / 2016), math.cos(math.pi / 2016)),
        (
            "cosine-nichol",
            1.0,
            math.sqrt(0.001) * math.sin(math.pi / 2016),
            1.0,
        ),  # the last of 1000 steps with beta = 0.999
        ("linear", 0.0, math.sqrt(0.99), 0.1),
        ("linear", 0.5, math.sqrt(0.505), math.sqrt(0.495)),
        ("linear", 1.0, math.sqrt(0.02), math.sqrt(0.98)),
        ("exponential", 0.0, 1.0, 0.0),
        ("exponential", math.log(2), 0.5, math.sqrt(0.75)),
        ("exponential", 1.0, 0.367879441, 0.929873495),
        ("ddpm-linear", 0.0, 1.0, 0.0),
        ("ddpm-linear", 0.2, 0.811395236, 0.584497880),  # a^2 = exp(-0.418)
        ("ddpm-linear", 1.0, 0.006571586495, 0.999978407),  # a^2 = exp(-10.05)
        ("flow", 0.0, 1.0, 0.0),
        ("flow", 0.25, 0.75, 0.25),
        ("flow", 1.0, 0.001, 1.0),
        ("edm", 0.0, 1.0, 0.002),
        # Karras et al.'s 18 noise levels from 80 down to 0.002 are those at t = 17/17, 16/17, ...
        ("edm", 8 / 17, 1.0, 1.9233),
        ("edm", 13 / 17, 1.0, 19.3525),
        ("edm", 16 / 17, 1.0, 57.586),
        ("edm", 1.0, 1.0, 80.0),
    ],
)
def test_level_is_that_of_the_formula(name, t, signal, noise):
    level = schedule(name).level(t)
    assert level.signal == pytest.approx(signal, rel=1e-8)
    assert level.noise == pytest.approx(noise, rel=3e-5 if name == "edm" else 1e-8, abs=1e-12)


def test_noise_to_signal_ratios_the_theory_quotes():
    assert schedule("cosine").level(0.05).ratio == pytest.approx(0.078, abs=5e-4)
    assert schedule("linear").level(0.05).ratio == pytest.approx(0.249, abs=5e-4)


def test_ddpm_linear_follows_the_product_of_one_thousand_discrete_steps():
    log_signal_squared = 0.0
    for step in range(1, 1001):
        log_signal_squared += math.log1p(-(1e-4 + (0.02 - 1e-4) * (step - 1) / 999))
        if step % 100 == 0:
            ours = 2 * math.log(schedule("ddpm-linear").level(step / 1000).signal)
            assert ours == pytest.approx(log_signal_squared, rel=0.01)


@pytest.mark.parametrize("name", VARIANCE_PRESERVING)
def test_variance_is_preserved(name):
    signal, noise = schedule(name).signal_noise(grid())
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(signal), rtol=0, atol=4e-16)


@pytest.mark.parametrize("name", ["cosine", "exponential", "ddpm-linear"])
def test_small_noise_keeps_its_digits(name):
    # s near t = 0 to first order; sqrt(1 - a^2) would lose half of its digits here.
    first_order = {
        "cosine": lambda t: math.pi / 2 / 1.008 * t,
        "exponential": lambda t: math.sqrt(2 * t),
        "ddpm-linear": lambda t: math.sqrt(0.1 * t),
    }
    assert schedule(name).level(1e-12).noise == pytest.approx(first_order[name](1e-12), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_noise_over_signal_rises_strictly_and_stays_finite(name):
    signal, noise = schedule(name).signal_noise(grid())
    assert (signal > 0).all()
    assert (noise >= 0).all()
    ratio = noise / signal
    assert ratio.isfinite().all()
    assert all(low < high for low, high in pairwise(ratio.tolist()))


@pytest.mark.parametrize("name", NAMES)
def test_signal_noise_takes_any_shape_and_leaves_t_alone(name):
    times = torch.tensor([[[0.1], [1.0], [0.7]], [[0.0], [0.25], [0.5]]], dtype=torch.float64)
    before = times.clone()
    signal, noise = schedule(name).signal_noise(times)
    assert signal.shape == noise.shape == times.shape
    assert signal.dtype == noise.dtype == torch.float64
    noise.add_(1.0)  # the answer is the caller's own
    signal.add_(1.0)
    assert torch.equal(times, before)
    for t, a, s in zip(times.flatten().tolist(), signal.flatten() - 1, noise.flatten() - 1, strict=True):
        level = schedule(name).level(t)
        assert level.signal == pytest.approx(float(a), rel=1e-14, abs=1e-15)
        assert level.noise == pytest.approx(float(s), rel=1e-14, abs=1e-15)


def test_t_max_stretches_the_exponential_schedule():
    assert schedule("exponential", t_max=4).level(0.25).signal == pytest.approx(math.exp(-1), rel=1e-14)
    assert schedule("exponential", t_max=4).level(1.0).signal == pytest.approx(math.exp(-4), rel=1e-14)
    extreme = schedule("exponential", t_max=50).level(1.0)
    assert extreme.signal > 0
    assert extreme.noise == 1.0


def test_signal_min_clips_the_flow_schedule_and_only_its_signal():
    flow = schedule("flow", signal_min=0.05)
    assert flow.level(0.9).signal == pytest.approx(0.1, rel=1e-12)
    assert flow.level(0.97).signal == 0.05
    assert flow.level(0.97).noise == 0.97


def test_sigma_range_and_rho_shape_the_edm_schedule():
    straight = schedule("edm", sigma_min=0.5, sigma_max=4.5, rho=1)
    assert straight.level(0.25).noise == pytest.approx(1.5, rel=1e-12)
    square = schedule("edm", sigma_min=0.25, sigma_max=9, rho=2)
    assert square.level(0.5).noise == pytest.approx(1.75**2, rel=1e-12)
    assert square.level(0.0).noise == pytest.approx(0.25, rel=1e-12)
    assert square.level(1.0).noise == pytest.approx(9.0, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("exponential", "t_max", 0),
        ("exponential", "t_max", 51),
        ("flow", "signal_min", 0),
        ("flow", "signal_min", 0.2),
        ("edm", "sigma_min", 0),
        ("edm", "sigma_max", 1),
        ("edm", "rho", 0.5),
        ("edm", "rho", math.nan),
    ],
)
def test_options_out_of_bounds_are_refused_by_name(name, option, value):
    with pytest.raises(mosaic.UsageError, match=rf"schedule.{name}.*{option}.*{value}"):
        schedule(name, **{option: value})


def test_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(mosaic.UsageError, match=r"'tmax'.*'t_max'"):
        schedule("exponential", tmax=2)


def test_discrete_ddpm_linear_is_the_product_of_its_steps():
    discrete = schedule("ddpm-linear", discrete="true")
    product = 1.0
    for n in range(1000):
        product *= 1 - (1e-4 + n * (0.02 - 1e-4) / 999)
        level = discrete.level((n + 1) / 1000)
        assert level.signal == pytest.approx(math.sqrt(product), rel=1e-12)
        assert level.noise == pytest.approx(math.sqrt(1 - product), rel=1e-10)
    assert (discrete.level(0.0).signal, discrete.level(0.0).noise) == (1.0, 0.0)
    logs = [math.log(discrete.level(t).signal) for t in (0.3, 0.3005, 0.301)]
    assert logs[1] == pytest.approx((logs[0] + logs[2]) / 2, rel=1e-12)
    ratios = [discrete.level(float(t)).ratio for t in grid(3001)]
    assert all(before < after for before, after in pairwise(ratios))


def test_discrete_ddpm_linear_has_the_levels_of_the_published_code_and_the_limit_is_near(published):
    discrete, limit = schedule("ddpm-linear", discrete=True), schedule("ddpm-linear")
    apart = []
    for n in (900, 600, 300, 100, 20):
        wanted = published[f"t{n}_level"]
        levels = [each.level((n + 1) / 1000) for each in (discrete, limit)]
        assert (levels[0].signal, levels[0].noise) == pytest.approx(tuple(wanted), abs=1e-6)
        apart.append(abs(levels[1].ratio / (wanted[1] / wanted[0]) - 1))
    assert 0.02 < max(apart) < 0.025
