"""Windows along an axis, their bands, and sums over them, against loops."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch

import mosaic
from mosaic.engine.windows import cut_windows, frame_of, window_axis, window_sums


@pytest.mark.parametrize(("k", "boundary"), [(4, "zeros"), (0, "zeros"), (3, "zero"), (7, "valid")])
def test_candidate_functions_refuse_what_they_cannot_do(tiny: mosaic.DataSet, k: int, boundary: str) -> None:
    x = torch.zeros(1, 1, 6, 5)
    for candidates in (mosaic.equivariant_local_posterior, mosaic.local_posterior):
        with pytest.raises(mosaic.UsageError):
            candidates(x, tiny.images, mosaic.Level(0.6, 0.8), k, boundary)


AXES = [
    (size, k, boundary)
    for size, k in ((1, 1), (1, 5), (4, 1), (4, 3), (5, 3), (5, 5), (4, 7), (6, 13))
    for boundary in ("zeros", "circular", "valid")
    if boundary != "valid" or k <= size
]


def window_of(row: np.ndarray, centre: int, k: int, wraps: bool) -> list[float]:
    """The window of k pixels along one row by the oracle."""
    return oracle.window(row.reshape(1, 1, -1), 0, centre, k, wraps)[0, k // 2].tolist()


def cut(row: np.ndarray, frame: tuple[int, ...], start: int, width: int) -> list[float]:
    """What lies in a part of a frame of a row."""
    return row[list(frame)][start : start + width].tolist()


@pytest.mark.parametrize(
    ("size", "k", "boundary", "aligned"),
    [(*axis, aligned) for axis in AXES for aligned in (False, True) if not (aligned and axis[2] == "valid")],
)
def test_every_pixel_is_compared_with_what_hangs_over_alike(size: int, k: int, boundary: str, aligned: bool) -> None:
    axis = window_axis(size, k, boundary, aligned=aligned)
    compared = [(pixel, list(band.candidates)) for band in axis.bands for pixel in band.pixels]
    whole = range(size)
    over = [oracle.overhang(i, size, k // 2) for i in whole]
    expected = {
        "zeros": [[i for i in whole if over[i] == over[pixel]] for pixel in whole],
        "circular": [list(whole) for _ in whole],
        "valid": [[i for i in whole if over[i] == (0, 0)] for _ in whole],
    }[boundary]
    if aligned:
        expected = [[pixel] for pixel in whole]
    assert sorted(compared) == [(pixel, expected[pixel]) for pixel in whole]
    assert axis.pairs == sum(len(candidates) for candidates in expected)


@pytest.mark.parametrize(("size", "k", "boundary"), AXES)
def test_bands_cut_from_frames_what_the_oracle_sees(size: int, k: int, boundary: str) -> None:
    noisy, training = np.random.default_rng(0).uniform(1, 2, (2, size))
    axis = window_axis(size, k, boundary)
    for band in axis.bands:
        for i, pixel in enumerate(band.pixels):
            expected = window_of(noisy, pixel, k, boundary != "zeros")
            assert cut(noisy, axis.noisy_frame, band.start + i, band.width) == [v for v in expected if v]
        for i, centre in enumerate(band.candidates):
            expected = window_of(training, centre, k, boundary == "circular")
            actual = cut(training, axis.frame, band.candidate_start + i, band.width)
            assert actual == [v for v in expected if v]
            assert actual[band.centre] == training[centre]


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_bands_are_divided_without_loss(boundary: str, length: int) -> None:
    for band in window_axis(8, 3, boundary).bands:
        for parts in (band.split_pixels(length), band.split_candidates(length)):
            assert {part.width for part in parts} == {band.width}
        pixels = [(p, part.start + i) for part in band.split_pixels(length) for i, p in enumerate(part.pixels)]
        assert pixels == [(p, band.start + i) for i, p in enumerate(band.pixels)]
        candidates = [
            (c, part.candidate_start + i)
            for part in band.split_candidates(length)
            for i, c in enumerate(part.candidates)
        ]
        assert candidates == [(c, band.candidate_start + i) for i, c in enumerate(band.candidates)]
        assert all(len(part.pixels) <= length for part in band.split_pixels(length))
        assert all(len(part.candidates) <= length for part in band.split_candidates(length))


@pytest.mark.parametrize(
    ("size", "k", "boundary", "aligned", "named"),
    [
        (6, 4, "zeros", False, "4"),
        (6, 0, "circular", False, "0"),
        (6, -3, "zeros", False, "-3"),
        (6, 3, "reflect", False, "'reflect'.*zeros, circular, valid"),
        (6, 3, "valid", True, "'valid'.*zeros, circular"),
        (6, 7, "valid", False, "7.*6"),
    ],
)
def test_an_axis_that_cannot_be_is_refused_by_value(
    size: int, k: int, boundary: str, aligned: bool, named: str
) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"(?<![\d-]){named}"):
        window_axis(size, k, boundary, aligned=aligned)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
@pytest.mark.parametrize("dim", [1, -1])
@pytest.mark.parametrize("k", [1, 3, 5, 7, 9, 13])
def test_sums_over_windows_are_those_of_loops(boundary: str, dim: int, k: int) -> None:
    values = torch.randn(2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
    rows = values.movedim(dim, -1).numpy()
    expected = np.array(
        [
            [[sum(window_of(row, i, k, boundary == "circular")) for i in range(len(row))] for row in part]
            for part in rows
        ]
    )
    actual = window_sums(values, dim, k, boundary)
    np.testing.assert_allclose(actual.movedim(dim, -1), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("k", [3, 7, 11])
def test_equal_windows_have_equal_sums_to_the_bit(k: int) -> None:
    pattern = torch.randn(k, generator=torch.Generator().manual_seed(k)) * 10.0 ** torch.arange(k)
    row = torch.cat([torch.randn(4), pattern, torch.randn(9), pattern, torch.randn(4)])
    first, second = 4 + k // 2, 4 + k + 9 + k // 2
    sums = window_sums(row[None], 1, k, "zeros")[0]
    assert float(sums[first]) == float(sums[second])


def test_frames_of_neighbours_are_views_and_others_are_gathered() -> None:
    images = torch.arange(2 * 3 * 4.0).view(1, 2, 3, 4)
    neighbours = frame_of(images, (1, 2), (0, 1, 2))
    assert neighbours.data_ptr() == images[:, :, 1:].data_ptr()
    assert torch.equal(neighbours, images[:, :, 1:3, :3])
    wrapped = frame_of(images, (2, 0, 1, 2, 0), (3, 0))
    assert torch.equal(wrapped, images[:, :, [2, 0, 1, 2, 0]][:, :, :, [3, 0]])


def test_windows_are_cut_image_by_image_and_row_by_row() -> None:
    frame = torch.randn(2, 3, 4, 5)
    actual = cut_windows(frame, 2, 3)
    expected = [frame[n, :, i : i + 2, j : j + 3] for n in range(2) for i in range(3) for j in range(3)]
    assert torch.equal(actual, torch.stack(expected))
