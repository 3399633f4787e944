"""The oracle against cases small enough to work out by hand."""

import math

import numpy as np
import oracle
import pytest


def test_one_pixel_and_two_opposite_images_give_a_hyperbolic_tangent():
    # logits -(x -+ a)^2 / (2 s^2) differ by 2 a x / s^2, and (e^u - e^-u) / (e^u + e^-u) = tanh u.
    x, images = np.full((1, 1, 1), 0.3), np.array([1.0, -1.0]).reshape(2, 1, 1, 1)
    expected = math.tanh(0.8 * 0.3 / 0.6**2)
    for machine, boundary in oracle.CASES:
        result = oracle.denoise(machine, boundary, x, images, 0.8, 0.6, 1)
        assert result[0, 0, 0] == pytest.approx(expected, abs=1e-14)


def test_channels_share_one_posterior():
    # u = a (x_1 c_1 + x_2 c_2) / s^2 with c = (1, -0.5) against -c.
    x = np.array([0.3, 0.4]).reshape(2, 1, 1)
    images = np.array([[1.0, -0.5], [-1.0, 0.5]]).reshape(2, 2, 1, 1)
    u = 0.5 * (0.3 * 1.0 - 0.4 * 0.5) / 0.7**2
    expected = [math.tanh(u), -0.5 * math.tanh(u)]
    assert oracle.els(x, images, 0.5, 0.7, 1).ravel() == pytest.approx(expected, abs=1e-14)


def test_window_pads_with_zeros_or_wraps_more_than_once():
    image = np.arange(1.0, 7.0).reshape(1, 2, 3)
    assert oracle.window(image, 0, 0, 3, wraps=False)[0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 4, 5]]
    assert oracle.window(image, 0, 0, 3, wraps=True)[0].tolist() == [[6, 4, 5], [3, 1, 2], [6, 4, 5]]
    wide = oracle.window(image, 1, 2, 5, wraps=True)[0]
    assert wide[2].tolist() == [4, 5, 6, 4, 5]
    assert wide[:, 2].tolist() == [6, 3, 6, 3, 6]


def test_candidates_hang_over_the_border_as_the_pixel_does():
    shape = (1, 1, 4, 5)  # with k = 3 the interior is rows 1-2, columns 1-3

    def places(pixel, k=3, boundary="zeros"):
        return {(i, j) for _, i, j in oracle.candidates("els", boundary, shape, k, pixel)}

    interior = {(i, j) for i in (1, 2) for j in (1, 2, 3)}
    assert places((0, 0)) == {(0, 0)}
    assert places((0, 2)) == {(0, 1), (0, 2), (0, 3)}
    assert places((2, 4)) == {(1, 4), (2, 4)}
    assert places((2, 1)) == interior
    assert places((0, 0), boundary="valid") == interior
    assert len(places((0, 0), boundary="circular")) == 20
    # k = 5 > H = 4: rows are only compared with themselves, but the one interior column is column 2.
    assert places((1, 2), k=5) == {(1, 2)}
    assert places((1, 1), k=1) == {(i, j) for i in range(4) for j in range(5)}


def test_zeros_leave_out_what_lies_outside_the_image():
    # 1 x 2 images (c, -c); pixel 0 with k = 3 sees both pixels once, whatever the padding.
    x, images = np.array([[[0.2, 0.5]]]), np.array([[[[1.0, -1.0]]], [[[-1.0, 1.0]]]])
    u = 0.9 * (0.2 - 0.5) / 0.8**2
    assert oracle.ls(x, images, 0.9, 0.8, 3)[0, 0].tolist() == pytest.approx([math.tanh(u), -math.tanh(u)], abs=1e-14)
    # Wrapping, the window of pixel 0 is (x1, x0, x1) in each of three rows, all of them row 0.
    v = 3 * 0.9 * (0.2 - 2 * 0.5) / 0.8**2
    w = 3 * 0.9 * (2 * 0.2 - 0.5) / 0.8**2
    wrapped = oracle.ls(x, images, 0.9, 0.8, 3, "circular")[0, 0]
    assert wrapped.tolist() == pytest.approx([math.tanh(v), -math.tanh(w)], abs=1e-14)


def test_equivariant_machine_sees_the_translates_of_its_one_image():
    x, images = np.array([[[0.2, 0.5]]]), np.array([[[[1.0, -1.0]]]])
    u = 0.9 * (0.2 - 0.5) / 0.8**2
    assert oracle.es(x, images, 0.9, 0.8)[0, 0].tolist() == pytest.approx([math.tanh(u), -math.tanh(u)], abs=1e-14)
    assert oracle.is_(x, images, 0.9, 0.8)[0, 0].tolist() == [1.0, -1.0]


def test_nearest_and_mean_of_the_candidates():
    images = np.array([[[[1.0, 0.0, -1.0]]], [[[0.5, 0.25, 0.0]]]])
    x = np.array([[[0.9, -0.8, 0.3]]])
    values, lead = oracle.nearest("els", "circular", x, images, 1.0, 1)
    assert values[0, 0].tolist() == [1.0, -1.0, 0.25]
    assert lead[0].tolist() == pytest.approx([0.4**2 - 0.1**2, 0.8**2 - 0.2**2, 0.2**2 - 0.05**2])
    assert oracle.mean("els", "circular", images, 1).ravel().tolist() == pytest.approx([0.125] * 3)
    assert oracle.mean("ls", "zeros", images, 1).ravel().tolist() == pytest.approx([0.75, 0.125, -0.5])


def test_rounding_bound_holds_and_is_attained_to_within_a_small_factor():
    rng = np.random.default_rng(0)
    x, images = rng.uniform(-1, 1, (1, 3, 3)), rng.uniform(-1, 1, (4, 1, 3, 3))
    unit, level = 1e-3, (0.8, 0.3)
    bound = oracle.rounding("els", "zeros", x, images, level, 3, unit)
    exact = oracle.els(x, images, *level, 3)
    worst = np.zeros_like(x)
    for _ in range(200):
        signs = [rng.choice([-unit, unit], size=array.shape) for array in (x, images)]
        moved = oracle.els(x * (1 + signs[0]), images * (1 + signs[1]), *level, 3)
        worst = np.maximum(worst, np.abs(moved - exact))
    assert (worst <= bound).all()
    assert (worst / bound).max() > 0.05
