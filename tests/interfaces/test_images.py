"""Images that are read in pieces: the same numbers as in memory, and no more of them read than is asked for."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mosaic
from mosaic.interfaces.file_images import ArrayImages
from mosaic.interfaces.fingerprint import fingerprint_of
from mosaic.interfaces.image_source import PASS
from mosaic.interfaces.images import extremes_of, mean_image, variance_of

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 2, 4, 3), dtype=np.uint8)
IMAGES = torch.from_numpy(PIXELS).float().div(127.5).sub(1)


class Counted(mosaic.ImageSource):
    """What a plugin's author writes: what is stored, and `read`. It notes what is read."""

    def __init__(self, pixels: np.ndarray, range: tuple[float, float] | None = None, name: str | None = None) -> None:
        super().__init__(pixels.shape, pixels.dtype, range)
        self.pixels, self.name = pixels, name
        self.seen: list[tuple[int, int]] = []

    @property
    def identity(self) -> str | None:
        return self.name

    def read(self, first: int, last: int) -> np.ndarray:
        self.seen.append((first, last))
        return self.pixels[first:last]


KEYS: list[Any] = [
    slice(None), slice(3, 9), slice(-4, None), slice(5, 5), slice(2, 20, 7), slice(None, None, -1), 0, -1, 22,
    torch.tensor([3]), torch.tensor([22, 0, 0, -1]), torch.tensor([[1, 2], [9, 1]]), [4, 2], np.array([7, 7]),
    torch.empty(0, dtype=torch.int64), torch.arange(23) % 2 == 0,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_places_give_what_the_tensor_gives(key: Any) -> None:
    source = Counted(PIXELS)
    wanted = torch.from_numpy(IMAGES.numpy()[key.numpy() if isinstance(key, torch.Tensor) else key].copy())
    assert torch.equal(source[key], wanted)
    assert source[key].dtype == torch.float32


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(places=st.lists(st.integers(0, 22), max_size=40), cut=st.integers(1, 9))
def test_views_and_blocks_give_what_the_tensor_gives(places: list[int], cut: int) -> None:
    chosen = torch.tensor(places, dtype=torch.int64)
    if len(chosen) == 0:
        return
    view = Counted(PIXELS).select(chosen)
    assert isinstance(view, mosaic.ImageSource)
    assert torch.equal(torch.cat(list(mosaic.image_blocks(view, cut))), IMAGES[chosen])
    again = torch.arange(len(chosen)).flip(0)
    assert torch.equal(view.select(again)[:], IMAGES[chosen][again])
    assert view.extremes() == extremes_of(IMAGES[chosen])


def test_pixels_are_gathered_from_the_images_named_only() -> None:
    source = Counted(PIXELS)
    image, row, column = torch.tensor([[3, 4], [4, 17]]), torch.tensor([[0, 1], [2, 3]]), torch.tensor([[2, 2], [0, 1]])
    assert torch.equal(source[image, :, row, column], IMAGES[image, :, row, column])
    assert torch.equal(source[image, :, 1, 2], IMAGES[image, :, 1, 2])
    assert sum(last - first for first, last in source.seen) < 2 * 23
    with pytest.raises(mosaic.UsageError, match="image, :, row, column"):
        source[:, 0]


def test_images_far_apart_are_read_apart_and_near_ones_together() -> None:
    pixels = np.zeros((1000, 1, 64, 64), np.uint8)
    source = Counted(pixels)
    source[torch.tensor([900, 3, 5, 3])]
    assert source.seen == [(3, 6), (900, 901)]


def test_sparse_choices_of_many_images_are_read_in_bounded_pieces() -> None:
    source = Counted(np.arange(40_000).astype(np.uint8).reshape(-1, 1, 1, 1).repeat(64, axis=3))
    chosen = torch.arange(0, 40_000, 3)
    images = source[torch.cat([chosen.flip(0), chosen[:2]])]
    values = (torch.arange(40_000) % 256).float().div(127.5).sub(1)[torch.cat([chosen.flip(0), chosen[:2]])]
    torch.testing.assert_close(images[:, 0, 0, 0], values)
    assert max(last - first for first, last in source.seen) * 64 <= PASS
    assert sum(last - first for first, last in source.seen) <= 40_000


@pytest.mark.parametrize(
    ("dtype", "bounds", "wanted"),
    [
        ("uint16", None, lambda p: p.astype(np.float32) / np.float32(32767.5) - np.float32(1)),
        ("bool", None, lambda p: p.astype(np.float32) * 2 - 1),
        ("int64", (0, 255), lambda p: (p.astype(np.float64) / 127.5 - 1).astype(np.float32)),
        ("float64", None, lambda p: p),
        ("float64", (-1, 1), lambda p: p.astype(np.float32)),
        ("float16", None, lambda p: p.astype(np.float32)),
        (">f4", None, lambda p: p.astype(np.float32)),
    ],
)
def test_types_become_numbers(dtype: str, bounds: tuple[float, float] | None, wanted: Any) -> None:
    pixels = PIXELS > 100 if dtype == "bool" else PIXELS.astype(dtype)
    source = Counted(pixels, bounds)
    np.testing.assert_array_equal(source[:].numpy(), wanted(pixels))
    assert source.extremes() == extremes_of(source[:])


def test_types_without_a_range_and_shapes_without_pixels_are_refused() -> None:
    with pytest.raises(mosaic.DataError, match="int32"):
        Counted(PIXELS.astype(np.int32))
    for wrong in (PIXELS[:0], PIXELS[0]):
        with pytest.raises(mosaic.DataError, match="shape"):
            Counted(wrong)
    with pytest.raises(mosaic.DataError, match="rising"):
        Counted(PIXELS, (1, 0))


def test_what_needs_all_images_says_so() -> None:
    source = Counted(PIXELS)
    with pytest.raises(mosaic.UsageError, match=r"mean.*image_blocks"):
        torch.mean(source)  # type: ignore[call-overload]
    with pytest.raises(AttributeError, match=r"flatten.*images\[:\]"):
        source.flatten(1)  # type: ignore[attr-defined]
    with pytest.raises(IndexError, match="23"):
        source[23]
    with pytest.raises(mosaic.UsageError, match="float32"):
        source[torch.tensor([0.5])]


def test_a_source_that_reads_other_than_it_declares_is_refused() -> None:
    source = Counted(PIXELS)
    source.pixels = PIXELS.astype(np.float32)
    with pytest.raises(mosaic.DataError, match="float32"):
        source[:2]
    source.pixels = PIXELS[:3]
    with pytest.raises(mosaic.DataError, match="declares"):
        source[2:5]


def test_a_data_set_of_a_source_is_that_of_the_tensor() -> None:
    labels = torch.arange(23) % 3
    streamed, held = (mosaic.DataSet("x", each, labels) for each in (Counted(PIXELS), IMAGES))
    assert streamed.fingerprint() == held.fingerprint()
    assert streamed.shape == held.shape
    assert streamed._repr_html_() == held._repr_html_()
    places = torch.tensor([5, 3, 20])
    assert streamed.select(places).fingerprint() == held.select(places).fingerprint()
    assert fingerprint_of(streamed.images) == fingerprint_of(held.images)
    assert mosaic.digest_of(streamed.images) == mosaic.digest_of(held.images)
    assert streamed.to("cpu").images is streamed.images


def test_it_is_checked_piece_by_piece() -> None:
    pixels = np.zeros((9, 1, 4, 3), np.float32)
    pixels[6, 0, 2, 1] = np.nan
    with pytest.raises(mosaic.DataError, match="image 6 holds NaN"):
        mosaic.DataSet("x", Counted(pixels))
    pixels[6, 0, 2, 1] = 2
    with pytest.raises(mosaic.DataError, match=r"\[0, 2\]"):
        mosaic.DataSet("x", Counted(pixels))


def test_moments_in_pieces_are_those_of_all() -> None:
    for images in (IMAGES, Counted(PIXELS)):
        torch.testing.assert_close(mean_image(images), IMAGES.double().mean(0), rtol=0, atol=1e-15)
        assert variance_of(images) == pytest.approx(float(IMAGES.double().var()), rel=1e-13)
    assert torch.equal(mean_image(IMAGES), mean_image(Counted(PIXELS)))


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_mapped_array_is_a_source(tmp_path: Path, mode: Any) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    dataset = mosaic.DataSet("mine", mapped[3:].transpose(0, 1, 3, 2))
    assert isinstance(dataset.images, ArrayImages)
    assert torch.equal(dataset.images[:], IMAGES[3:].transpose(2, 3))
    with pytest.raises(mosaic.DataError, match=r"'mine'.*int32"):
        mosaic.DataSet("mine", np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.int32, (2, 1, 3, 3)))


def test_changes_of_a_private_map_are_seen(tmp_path: Path) -> None:
    """Its pages hold what no file does, so they are not let go."""
    np.save(tmp_path / "x.npy", PIXELS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped[0] = 255
    source = ArrayImages(mapped)
    assert [bool((source[:1] == 1).all()) for _ in range(2)] == [True, True]


def test_what_was_found_out_is_remembered_by_identity() -> None:
    facts = []
    for _ in range(2):
        source = Counted(PIXELS, name="file 1")
        facts.append((source.extremes(), mosaic.DataSet("x", source).fingerprint(), len(source.seen)))
    assert facts[0][:2] == facts[1][:2]
    assert facts[0][2] > facts[1][2] == 0
    other = Counted(255 - PIXELS, name="file 2")
    assert mosaic.DataSet("x", other).fingerprint() != facts[0][1]


def test_threads_read_at_the_same_time(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    sources = [
        ArrayImages(np.load(tmp_path / "x.npy", mmap_mode="r")),
        mosaic.DataSet("x", Counted(PIXELS)).select(torch.arange(23).flip(0)).images,
    ]
    for source, wanted in zip(sources, (IMAGES, IMAGES.flip(0)), strict=True):
        with ThreadPoolExecutor(8) as pool:
            blocks = list(pool.map(lambda first, own=source: own[first : first + 1], [*range(23)] * 20))
        assert torch.equal(torch.cat(blocks), wanted.repeat(20, 1, 1, 1))


def test_rows_of_a_file_are_read_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, PIXELS)
    start = path.stat().st_size - PIXELS.nbytes
    rows = pickle.loads(pickle.dumps(mosaic.FileRows(path, start, PIXELS.shape, PIXELS.dtype)))
    np.testing.assert_array_equal(rows.read(4, 9), PIXELS[4:9])
    with path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(mosaic.DataError, match=r"x\.npy' has changed"):
        rows.read(0, 1)
    with pytest.raises(mosaic.DataError, match="ends too early"):
        mosaic.FileRows(path, start, (99, *PIXELS.shape[1:]), PIXELS.dtype).read(0, 99)
    path.unlink()
    with pytest.raises(mosaic.DataError, match=r"x\.npy' cannot be read"):
        rows.read(0, 1)
