"""The analytic machines against a brute-force oracle, their limits, their symmetries and their manners."""

import math
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import mosaic

MACHINES = pytest.mark.parametrize(
    ("machine", "boundary"), oracle.CASES, ids=["-".join(filter(None, case)) for case in oracle.CASES]
)
LOCAL = [case for case in oracle.CASES if case[0] in ("ls", "els")]
modest = settings(deadline=None, derandomize=True, max_examples=40, database=None)


def data_set(images, labels=None):
    images = torch.as_tensor(images)
    if labels is None:
        return mosaic.DataSet(name="t", images=images)
    labels = torch.as_tensor(labels, dtype=torch.int64)
    return mosaic.DataSet(name="t", images=images, labels=labels, classes=("zero", "one", "two"))


def build(machine, boundary, images, labels=None):
    cls = mosaic.registry().get("score", machine)
    options = cls.Options() if boundary is None else cls.Options(boundary=boundary)
    return cls(options, data_set(images, labels))


def denoise(machine, boundary, x, images, level, k, labels=None, wanted=None):
    """x0hat as NumPy float64, of NumPy (or torch) input in whatever precision."""
    wanted = None if wanted is None else torch.as_tensor(wanted, dtype=torch.int64)
    model = build(machine, boundary, images, labels)
    result = model.denoise(torch.as_tensor(x), mosaic.Level(*level), wanted, k)
    assert result.shape == torch.as_tensor(x).shape
    assert result.dtype == torch.as_tensor(x).dtype
    return result.double().numpy()


def expected(machine, boundary, x, images, level, k):
    return np.stack([oracle.denoise(machine, boundary, one, images, *level, k) for one in x])


def uniform(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


# --- Equality with the oracle ---------------------------------------------------------------------------


@dataclass
class Case:
    """A training set with labels, noisy samples with wanted labels, a level and a scale."""

    images: np.ndarray
    labels: np.ndarray
    x: np.ndarray
    wanted: np.ndarray | None
    level: tuple[float, float]
    k: int
    on_data: bool

    def images_for(self, sample):
        wanted = -1 if self.wanted is None else self.wanted[sample]
        return self.images if wanted == -1 else self.images[self.labels == wanted]


STYLES = ["uniform", "near", "near constant", "duplicates", "constant", "quantised"]


@st.composite
def cases(draw, machine, boundary, log10_noise=(-3.0, 0.0), on_data=None, styles=STYLES):
    count = draw(st.integers(1, 5), label="N")
    channels = draw(st.sampled_from([1, 3]), label="C")
    height = draw(st.integers(2, 7), label="H")
    width = draw(st.integers(2, 7).filter(lambda width: width != height), label="W")
    largest = min(height, width) if boundary == "valid" else 2 * max(height, width) - 1
    k = 2 * draw(st.integers(0, (largest - 1) // 2), label="k // 2") + 1
    noise = 10 ** draw(st.floats(*log10_noise), label="log10 s")
    signal = draw(st.one_of(st.none(), st.floats(0.05, 2.0)), label="a (None: variance preserving)")
    if signal is None:
        signal = math.sqrt(max(1 - noise**2, 1e-6))
    style = draw(st.sampled_from(styles), label="images")
    on = draw(st.booleans(), label="x on the data") if on_data is None else on_data
    batch = draw(st.integers(1, 3), label="B")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))

    shape = (count, channels, height, width)
    images = rng.uniform(-1, 1, shape)
    if style.startswith("near"):  # images, or all their windows, less than one noise apart: every weight counts
        centre = images[:1] if style == "near" else images[:1, :1, :1, :1]
        spread = 2 / math.sqrt(channels * min(k * k, height * width))
        images = np.clip(centre + spread * noise / signal * rng.standard_normal(shape), -1, 1)
    elif style == "duplicates":
        images = images[rng.integers(0, 2, count) % count]
    elif style == "constant":
        images = np.broadcast_to(rng.integers(-1, 2, (count, 1, 1, 1)) * 1.0, shape).copy()
    elif style == "quantised":
        images = rng.integers(-2, 3, shape) / 2
    labels = rng.integers(0, 3, count)
    wanted = rng.choice([-1, *labels], batch) if draw(st.booleans(), label="labels") else None
    if on:
        x = signal * images[rng.integers(0, count, batch)] + noise * rng.standard_normal((batch, *shape[1:]))
    else:
        x = rng.uniform(-3, 3, (batch, *shape[1:])) * rng.choice([0.1, 1.0, 10.0], (batch, 1, 1, 1))
    return Case(images, labels, x, wanted, (signal, noise), k, on)


@MACHINES
def test_machine_equals_the_oracle_in_float64(machine, boundary):
    """To 1e-10; off the data, plus what float64 cannot tell: see `oracle.rounding`."""
    unit = 2.0**-53

    @modest
    @given(cases(machine, boundary))
    def check(case):
        result = denoise(machine, boundary, case.x, case.images, case.level, case.k, case.labels, case.wanted)
        for sample, x in enumerate(case.x):
            images = case.images_for(sample)
            exact = oracle.denoise(machine, boundary, x, images, *case.level, case.k)
            allowed = np.full_like(exact, 1e-10)
            if not case.on_data:
                allowed += oracle.rounding(
                    machine, boundary, x, images, case.level, case.k, 4 * unit, 2 * x.size * unit
                )
            assert (np.abs(result[sample] - exact) <= allowed).all()

    check()


@MACHINES
def test_machine_equals_the_oracle_in_float32(machine, boundary):
    """To 2e-4 for the same float32 numbers, at s >= 0.05."""

    @modest
    @given(cases(machine, boundary, log10_noise=(math.log10(0.05), 0.0), on_data=True))
    def check(case):
        x, images = case.x.astype(np.float32), case.images.astype(np.float32)
        result = denoise(machine, boundary, x, images, case.level, case.k, case.labels, case.wanted)
        case.images = images.astype(np.float64)
        for sample in range(len(x)):
            exact = oracle.denoise(
                machine, boundary, x[sample].astype(np.float64), case.images_for(sample), *case.level, case.k
            )
            assert np.abs(result[sample] - exact).max() <= 2e-4

    check()


@MACHINES
def test_float32_at_small_noise_costs_no_more_than_rounding_the_input(machine, boundary):
    """At 1e-3 <= s < 0.05, within `oracle.rounding` (which derives it) + 4e-6 of the unrounded float64 input.

    The 4e-6 are for float32's own sums over up to 245 weights and for its output. A machine that loses more
    than the rounding of x and of the images to float32 (as |x|^2 - 2 x.y + |y|^2 does, by 1 / s^2) exceeds it.
    """
    tight, undecided = [], []
    styles = ["near", "near", "near constant", "near constant", *STYLES]

    @modest
    @given(cases(machine, boundary, (-3.0, math.log10(0.05)), on_data=True, styles=styles))
    def check(case):
        x, images = case.x.astype(np.float32), case.images.astype(np.float32)
        result = denoise(machine, boundary, x, images, case.level, case.k, case.labels, case.wanted)
        for sample, unrounded in enumerate(case.x):
            own = case.images_for(sample)
            exact = oracle.denoise(machine, boundary, unrounded, own, *case.level, case.k)
            bound = oracle.rounding(machine, boundary, unrounded, own, case.level, case.k, 2.0**-24)
            assert (np.abs(result[sample] - exact) <= bound + 4e-6).all()
            tight.append(bound.max() < 1e-2)
            pairs = oracle.pixels(machine, boundary, unrounded, own, case.level[0], case.k)
            undecided.append(min(pixel.weights(case.level[1]).max() for pixel in pairs) < 0.99)

    check()
    assert np.mean(tight) > 0.9, "the bound says nothing in too many cases"
    assert np.mean(undecided) > 0.15, "one candidate has all the weight in too many cases"


@MACHINES
def test_result_has_the_dtype_of_x_whatever_that_of_the_images(machine, boundary):
    x, images, level = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5), (0.8, 0.6)
    exact = expected(machine, boundary, x, images, level, 3)
    for x_type in (np.float32, np.float64):
        for image_type in (np.float32, np.float64):
            result = denoise(machine, boundary, x.astype(x_type), images.astype(image_type), level, 3)
            np.testing.assert_allclose(result, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("machine", "boundary"), [("is", None), ("ls", "circular"), ("els", "circular")])
def test_two_constant_images_give_a_hyperbolic_tangent_of_the_window_sum(machine, boundary):
    # |x - a|^2 - |x + a|^2 = -4 a sum(x), so x0hat = tanh(a sum(x over the window) / s^2).
    x = np.random.default_rng(0).standard_normal((2, 1, 6, 8))
    images = np.ones((2, 1, 6, 8)) * np.array([-1.0, 1.0]).reshape(2, 1, 1, 1)
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    local = sum(np.roll(x, shift, axis=(2, 3)) for shift in offsets)
    total = x.sum(axis=(2, 3), keepdims=True) + np.zeros_like(x) if machine == "is" else local
    result = denoise(machine, boundary, x, images, (0.6, 2.0), 3)
    np.testing.assert_allclose(result, np.tanh(0.6 * total / 4.0), rtol=0, atol=1e-12)


# --- Limits ---------------------------------------------------------------------------------------------


@MACHINES
def test_infinite_noise_gives_the_mean_of_the_candidates(machine, boundary):
    images = uniform(0, 4, 2, 5, 6)
    mean = oracle.mean(machine, boundary, images, 3)
    for level in ((1.0, 1e9), (1e-9, 1.0)):
        x = level[1] * np.random.default_rng(1).standard_normal((2, 2, 5, 6))
        result = denoise(machine, boundary, x, images, level, 3)
        np.testing.assert_allclose(result, np.stack([mean, mean]), rtol=0, atol=1e-6)


@MACHINES
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_vanishing_noise_gives_the_centre_of_the_nearest_candidate(machine, boundary, precision):
    x, images = uniform(0, 2, 2, 5, 6).astype(precision), uniform(1, 4, 2, 5, 6).astype(precision)
    result = denoise(machine, boundary, x, images, (0.9, 1e-5), 3)
    for sample in range(2):
        own, pictures = x[sample].astype(np.float64), images.astype(np.float64)
        centre, lead = oracle.nearest(machine, boundary, own, pictures, 0.9, 3)
        clear = lead > 1e-4  # in squared distance, against 2 s^2 = 2e-10
        assert clear.mean() > 0.9
        np.testing.assert_allclose(result[sample][:, clear], centre[:, clear], rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 6, 3)])
def test_ls_with_a_window_that_always_holds_the_whole_image_is_the_ideal_machine(shape):
    x, images, level = uniform(0, 2, *shape), uniform(1, 5, *shape), (0.7, 0.8)
    ideal = denoise("is", None, x, images, level, 1)
    k = 2 * max(shape[1:]) - 1
    for enough in (k, k + 2, k + 20):
        np.testing.assert_allclose(denoise("ls", "zeros", x, images, level, enough), ideal, rtol=0, atol=1e-12)
    assert np.abs(denoise("ls", "zeros", x, images, level, k - 2) - ideal).max() > 1e-4


@pytest.mark.parametrize("size", [3, 5])
def test_els_circular_with_a_window_as_large_as_the_image_is_the_equivariant_machine(size):
    x, images, level = uniform(0, 2, 3, size, size), uniform(1, 3, 3, size, size), (0.6, 0.8)
    whole = denoise("es", None, x, images, level, 1)
    np.testing.assert_allclose(denoise("els", "circular", x, images, level, size), whole, rtol=0, atol=1e-12)
    assert np.abs(denoise("els", "circular", x, images, level, size - 2) - whole).max() > 1e-4


def test_els_zeros_without_interior_windows_is_ls():
    x, images, level = uniform(0, 2, 1, 4, 6), uniform(1, 4, 1, 4, 6), (0.7, 0.7)
    for k in (7, 9, 11):
        local = denoise("ls", "zeros", x, images, level, k)
        np.testing.assert_allclose(denoise("els", "zeros", x, images, level, k), local, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [2, 3])
def test_els_zeros_without_interior_windows_on_one_axis_stays_in_place_on_that_axis(axis):
    # Along the short axis every image has the same profile, so a machine that stays in place returns it.
    profile = np.array([0.9, -0.4, 0.1, -0.8])
    shape = [5, 1, 7, 7]
    shape[axis] = 4
    tall = profile.reshape([4 if a == axis else 1 for a in range(4)])
    images = np.broadcast_to(tall, shape).copy()
    x = uniform(0, 1, *shape[1:])
    result = denoise("els", "zeros", x, images, (0.5, 3.0), 5)
    np.testing.assert_allclose(result, np.broadcast_to(tall, x.shape), rtol=0, atol=1e-14)
    mixed = denoise("els", "zeros", x, images, (0.5, 3.0), 3)  # rows 1 and 2 are interior here
    assert np.abs(mixed - np.broadcast_to(tall, x.shape)).max() > 0.1


def test_one_training_image_comes_back_exactly():
    for precision in (np.float32, np.float64):
        image = uniform(0, 1, 3, 5, 4).astype(precision)
        x = (3 * uniform(1, 2, 3, 5, 4)).astype(precision)
        for machine, boundary, k in (("is", None, 0), ("ls", "zeros", 3), ("ls", "circular", 9)):
            for level in ((0.9, 1e-3), (0.1, 0.99), (1.0, 80.0)):
                result = denoise(machine, boundary, x, image, level, k)
                assert (result == image).all()


@MACHINES
def test_a_repeated_training_set_changes_nothing(machine, boundary):
    x, images, level = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5), (0.7, 1.0)
    once = denoise(machine, boundary, x, images, level, 3)
    twice = denoise(machine, boundary, x, np.concatenate([images, images]), level, 3)
    np.testing.assert_allclose(twice, once, rtol=0, atol=1e-12)
    # ... but a single image repeated draws the posterior to itself, in the odds 4 : 1.
    weighted = np.concatenate([images, images[:1], images[:1], images[:1]])
    assert np.abs(denoise(machine, boundary, x, weighted, level, 3) - once).max() > 1e-3


@MACHINES
def test_only_the_ratios_to_the_signal_count(machine, boundary):
    x, images = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5)
    unscaled = denoise(machine, boundary, x, images, (1.0, 0.5), 3)
    scaled = denoise(machine, boundary, 0.2 * x, images, (0.2, 0.1), 3)
    np.testing.assert_allclose(scaled, unscaled, rtol=0, atol=1e-12)


# --- Symmetries -----------------------------------------------------------------------------------------

SHIFTS = [(1, 0), (0, 1), (3, 2), (-1, 4)]


@pytest.mark.parametrize(
    ("machine", "boundary", "commutes"),
    [
        ("es", None, True),
        ("els", "circular", True),
        ("els", "valid", True),
        ("els", "zeros", False),
        ("ls", "circular", False),
        ("ls", "zeros", False),
        ("is", None, False),
    ],
)
def test_which_machines_commute_with_circular_shifts_of_x(machine, boundary, commutes):
    x, images, level = uniform(0, 1, 2, 5, 6), uniform(1, 4, 2, 5, 6), (0.8, 0.6)
    still = denoise(machine, boundary, x, images, level, 3)
    for shift in SHIFTS:
        moved = denoise(machine, boundary, np.roll(x, shift, axis=(2, 3)), images, level, 3)
        gap = np.abs(moved - np.roll(still, shift, axis=(2, 3))).max()
        assert gap < 1e-12 if commutes else gap > 1e-2


@pytest.mark.parametrize(("machine", "boundary"), [("es", None), ("els", "circular")])
def test_equivariant_machines_do_not_see_circular_shifts_of_the_training_images(machine, boundary):
    x, images, level = uniform(0, 1, 1, 5, 6), uniform(1, 3, 1, 5, 6), (0.8, 0.6)
    moved = np.stack([np.roll(image, shift, axis=(1, 2)) for image, shift in zip(images, SHIFTS, strict=False)])
    np.testing.assert_allclose(
        denoise(machine, boundary, x, moved, level, 3),
        denoise(machine, boundary, x, images, level, 3),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize(("machine", "boundary"), [("is", None), ("ls", "circular")])
def test_local_machines_commute_with_one_shift_of_x_and_training_images(machine, boundary):
    x, images, level = uniform(0, 1, 1, 5, 6), uniform(1, 3, 1, 5, 6), (0.8, 0.6)
    still = denoise(machine, boundary, x, images, level, 3)
    for shift in SHIFTS:
        both = [np.roll(array, shift, axis=(2, 3)) for array in (x, images)]
        moved = denoise(machine, boundary, *both, level, 3)
        np.testing.assert_allclose(moved, np.roll(still, shift, axis=(2, 3)), rtol=0, atol=1e-12)


@MACHINES
@pytest.mark.parametrize("flip", [(2,), (3,), (2, 3)])
def test_machines_commute_with_one_reflection_of_x_and_training_images(machine, boundary, flip):
    x, images, level = uniform(0, 1, 2, 5, 6), uniform(1, 3, 2, 5, 6), (0.8, 0.6)
    mirrored = denoise(machine, boundary, np.flip(x, flip).copy(), np.flip(images, flip).copy(), level, 3)
    still = denoise(machine, boundary, x, images, level, 3)
    np.testing.assert_allclose(mirrored, np.flip(still, flip), rtol=0, atol=1e-12)


@MACHINES
def test_order_of_the_training_images_does_not_matter(machine, boundary):
    x, images = uniform(0, 2, 1, 5, 4), uniform(1, 7, 1, 5, 4)
    order = np.random.default_rng(2).permutation(7)
    for level in ((0.9, 0.4), (1.0, 0.02)):
        np.testing.assert_allclose(
            denoise(machine, boundary, x, images[order], level, 3),
            denoise(machine, boundary, x, images, level, 3),
            rtol=0,
            atol=1e-12,
        )


# --- Labels and batches ---------------------------------------------------------------------------------


@MACHINES
def test_class_conditional_is_the_machine_on_that_class(machine, boundary):
    images, labels = uniform(0, 7, 2, 4, 5), np.array([2, 0, 1, 2, 0, 2, 0])
    x, wanted, level = uniform(1, 5, 2, 4, 5), [1, -1, 0, 2, 2], (0.8, 0.6)
    result = denoise(machine, boundary, x, images, level, 3, labels, wanted)
    for sample, label in enumerate(wanted):
        own = images if label == -1 else images[labels == label]
        alone = denoise(machine, boundary, x[sample : sample + 1], own, level, 3)
        np.testing.assert_allclose(result[sample : sample + 1], alone, rtol=0, atol=1e-12)


@MACHINES
def test_no_label_is_minus_one_is_none(machine, boundary):
    x, images, level = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5), (0.8, 0.6)
    plain = denoise(machine, boundary, x, images, level, 3)
    assert (denoise(machine, boundary, x, images, level, 3, [0, 1, 1]) == plain).all()
    assert (denoise(machine, boundary, x, images, level, 3, [0, 1, 1], [-1, -1]) == plain).all()
    assert (denoise(machine, boundary, x, images, level, 3, None, [-1, -1]) == plain).all()


@MACHINES
@pytest.mark.parametrize("noise", [0.5, 1e-3])
def test_a_batch_equals_its_samples_one_by_one(machine, boundary, noise):
    # One sample on the data, others far off it: a maximum shared by the batch would underflow.
    images = uniform(0, 4, 1, 5, 4)
    x = np.stack([images[1], 3 * images[2], 40 + images[0], uniform(1, 1, 5, 4)])
    together = denoise(machine, boundary, x, images, (1.0, noise), 3)
    assert np.isfinite(together).all()
    for sample in range(len(x)):
        alone = denoise(machine, boundary, x[sample : sample + 1], images, (1.0, noise), 3)
        np.testing.assert_allclose(together[sample : sample + 1], alone, rtol=0, atol=1e-12)


@MACHINES
def test_inputs_are_left_as_they_were(machine, boundary):
    x, images = (torch.as_tensor(uniform(seed, 3, 1, 4, 5)) for seed in (0, 1))
    labels = torch.tensor([0, -1, 1])
    before = [tensor.clone() for tensor in (x, images, labels)]
    model = build(machine, boundary, images, [0, 1, 1])
    first = model.denoise(x, mosaic.Level(0.8, 0.6), labels, 3)
    kept = first.clone()
    first_again = model.denoise(x, mosaic.Level(0.8, 0.6), labels, 3)
    model.denoise(-x, mosaic.Level(0.5, 0.1), None, 1)
    for tensor, old in zip((x, images, labels, first, first_again), (*before, kept, kept), strict=True):
        assert torch.equal(tensor, old)


@MACHINES
def test_strided_input_is_read_by_its_shape(machine, boundary):
    x, images, level = uniform(0, 2, 3, 4, 5), uniform(1, 3, 3, 4, 5), (0.8, 0.6)
    last = torch.channels_last
    strided = [torch.as_tensor(array).contiguous(memory_format=last) for array in (x, images)]
    plain = denoise(machine, boundary, x, images, level, 3)
    np.testing.assert_allclose(denoise(machine, boundary, *strided, level, 3), plain, rtol=0, atol=1e-12)


# --- Streaming ------------------------------------------------------------------------------------------


class CountOperations(TorchDispatchMode):
    """Counts tensor operations, to tell one way of cutting from another."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@MACHINES
@pytest.mark.parametrize("noise", [0.6, 0.01])
def test_result_does_not_depend_on_how_the_training_set_is_cut(machine, boundary, noise, monkeypatch):
    images, labels = uniform(0, 9, 1, 6, 5), np.array([0, 0, 0, 0, 1, 2, 1, 2, 2])
    images[4] = images[0]
    # The best candidates come early for one sample, late for another, and are off the data for the last;
    # with labels, whole tiles have no candidate for a sample.
    x = np.stack([images[0], images[8], images[5], 5 * images[3]])
    for wanted in (None, [2, 1, -1, 0]):
        results, counts = [], []
        for elements in (2**40, 64, 1):
            monkeypatch.setattr("mosaic.engine.compute.CPU_BLOCK", elements)
            with CountOperations() as operations:
                result = denoise(machine, boundary, x, images, (1.0, noise), 3, labels, wanted)
            results.append(result)
            counts.append(operations.count)
        assert counts[0] != counts[2]  # the constant does decide how the work is cut
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], rtol=0, atol=1e-12)


MEMORY_PROBE = """
import resource, sys
import torch
import mosaic

cls = mosaic.registry().get("score", "els")

def peak(count):
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = cls(cls.Options(boundary=sys.argv[1]), mosaic.DataSet(name="t", images=images))
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    model.denoise(x, mosaic.Level(0.8, 0.6), None, 5)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

print(peak(400), peak(1600))
"""


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_memory_does_not_grow_with_the_training_set(boundary):
    # All logits of one sample would be 1600 x 144^2 (zeros) or 256^2 (circular) floats: 0.13 or 0.4 GB.
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROBE, boundary],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    small, large = map(int, done.stdout.split())
    data = 1600 * 16 * 16 * 4
    assert large - small < 30e6 + data


# --- Bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "boundary"), LOCAL)
@pytest.mark.parametrize("k", [4, 0, -3, -2])
def test_a_scale_that_is_no_odd_window_is_refused(machine, boundary, k):
    model = build(machine, boundary, uniform(0, 2, 1, 6, 7))
    x = torch.zeros(1, 1, 6, 7, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=rf"(?<!\d){k}(?!\d)"):
        model.denoise(x, mosaic.Level(0.8, 0.6), None, k)
    with pytest.raises(mosaic.UsageError, match=rf"(?<!\d){k}(?!\d)"):
        model.check((), (3, k, 5), ())
    model.check((), (3, 5, 1), ())


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_valid_windows_larger_than_the_image_are_refused(shape):
    model = build("els", "valid", uniform(0, 2, 1, *shape))
    x = torch.zeros(1, 1, *shape, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=r"(?s)valid.*\b5\b|\b5\b.*valid"):
        model.denoise(x, mosaic.Level(0.8, 0.6), None, 5)
    with pytest.raises(mosaic.UsageError, match=r"\b5\b"):
        model.check((), (3, 5), ())
    model.check((), (3, 1), ())


@MACHINES
@pytest.mark.parametrize("label", [3, 17, -2])
def test_labels_outside_the_classes_are_refused(machine, boundary, label):
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5), [0, 1, 2])
    x = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=rf"(?<!\d){label}(?!\d)"):
        model.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, label]), 3)


@MACHINES
def test_a_class_without_images_is_refused(machine, boundary):
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5), [0, 2, 2])
    x = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=r"\b(1|one)\b"):
        model.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, 1]), 3)


@MACHINES
def test_labels_for_a_data_set_without_them_are_refused(machine, boundary):
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5))
    x = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=r"(?i)label"):
        model.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, -1]), 3)


@MACHINES
def test_as_many_labels_as_samples_are_needed(machine, boundary):
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5), [0, 1, 2])
    x = torch.zeros(3, 1, 4, 5, dtype=torch.float64)
    for labels in (torch.tensor([0]), torch.tensor([0, 1, 2, 0]), torch.tensor([[0], [1], [2]])):
        with pytest.raises(mosaic.UsageError, match=r"(?i)label"):
            model.denoise(x, mosaic.Level(0.8, 0.6), labels, 3)


@MACHINES
@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 3, 4, 5), (2, 1, 5, 4), (2, 1, 4, 6), (2, 1, 1, 5)])
def test_x_of_another_shape_than_the_images_is_refused(machine, boundary, shape):
    model = build(machine, boundary, uniform(0, 3, 1, 4, 5))
    with pytest.raises(mosaic.UsageError, match=r"(?i)shape|\b4\b.*\b5\b"):
        model.denoise(torch.zeros(shape, dtype=torch.float64), mosaic.Level(0.8, 0.6), None, 3)


def test_only_the_local_machines_have_a_scale_and_a_boundary():
    boundaries = {
        "is": set(),
        "es": set(),
        "ls": {"zeros", "circular"},
        "els": {"zeros", "circular", "valid"},
    }
    for machine, known in boundaries.items():
        cls = mosaic.registry().get("score", machine)
        assert cls(None, data_set(torch.zeros(1, 1, 4, 4))).traits.has_scale == bool(known)
        for boundary in ("zeros", "circular", "valid", "reflect"):
            if boundary in known:
                assert cls.Options.parse({"boundary": boundary}, machine).boundary == boundary
            else:
                with pytest.raises(mosaic.UsageError, match="boundary"):
                    cls.Options.parse({"boundary": boundary}, machine)
        if known:
            assert cls.Options().boundary == "zeros"


@pytest.mark.parametrize(("machine", "boundary"), LOCAL)
def test_comparisons_count_every_pixel_with_every_candidate(machine, boundary):
    images = uniform(0, 3, 2, 4, 6)
    model = build(machine, boundary, images)
    for k in (1, 3) if boundary == "valid" else (1, 3, 5, 7):
        pairs = oracle.pixels(machine, boundary, images[0], images, 1.0, k)
        assert model.traits.comparisons(k) == sum(len(pixel.places) for pixel in pairs)


# --- Two images: the mosaic of figure 3 -----------------------------------------------------------------


def mosaic_of_two_images(steps, seeds):
    """Final images of DDIM runs with D = {all -1, all +1}, ELS circular, k = 3: (seeds, 32, 32)."""
    images = np.ones((2, 1, 32, 32), np.float32) * np.array([-1, 1], np.float32).reshape(2, 1, 1, 1)
    model = build("els", "circular", images)
    schedule = mosaic.registry().get("schedule", "cosine")()
    draws = [torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    level = schedule.level(1.0)
    x = level.noise * torch.stack(draws)
    for step in range(steps, 0, -1):
        denoised = model.denoise(x, level, None, 3)
        eps = (x - level.signal * denoised) / level.noise
        level = schedule.level((step - 1) / steps)
        x = level.signal * denoised + level.noise * eps
    return denoised[:, 0].double().numpy()


def share_in_the_majority(final):
    """Share of pixels within 1e-2 of the colour, -1 or +1, that most of their 3 x 3 window has."""
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    majority = np.sign(sum(np.roll(np.sign(final), shift, axis=(1, 2)) for shift in offsets))
    return float((np.abs(final - majority) <= 1e-2).mean())


def test_two_images_give_a_mosaic_of_majorities_that_sharpens_with_the_steps():
    shares = {steps: share_in_the_majority(mosaic_of_two_images(steps, seeds=4)) for steps in (5, 20, 100)}
    assert shares[5] < shares[20] < shares[100]
    assert shares[100] >= 0.99
    assert shares[5] > 0.95


@pytest.mark.slow
def test_two_images_approach_the_continuous_limit_at_a_thousand_steps():
    hundred, thousand = (share_in_the_majority(mosaic_of_two_images(steps, seeds=4)) for steps in (100, 1000))
    assert thousand > hundred
    assert thousand >= 0.995
