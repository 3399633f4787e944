"""Images decoded once: by one process, and again where a file is damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mosaic
from mosaic.disk import facts
from mosaic.storage.image_cache import Decoded, cached_images

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 1, 4, 3), dtype=np.uint8)


class Decoding:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Decoded:
        self.calls += 1
        return Decoded(PIXELS.shape, PIXELS.dtype, iter(np.split(PIXELS, [2, 3])), lambda: {"labels": [1]})


def files() -> dict[str, Path]:
    return {path.suffix: path for path in (facts.cache_folder() / "images").iterdir()}


def test_images_are_decoded_once() -> None:
    decode = Decoding()
    for _ in range(2):
        images, about = cached_images({"a": 1}, decode)
        np.testing.assert_array_equal(images.read(0, 7), PIXELS)
        assert about == {"labels": [1]}
        assert images.identity
    assert decode.calls == 1
    cached_images({"a": 2}, decode)
    assert decode.calls == 2


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("suffix", "damage", "calls"),
    [
        (".npy", _flip, 2),
        (".npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), 2),
        (".npy", Path.unlink, 2),
        (".json", lambda path: path.write_bytes(path.read_bytes()[:-9]), 2),
        (".json", Path.unlink, 2),
        (".npy", lambda path: path.touch(), 1),  # whole, as its digest says
    ],
)
def test_what_is_damaged_is_decoded_again(suffix: str, damage: Callable[[Path], object], calls: int) -> None:
    decode = Decoding()
    cached_images({}, decode)
    damage(files()[suffix])
    images, _ = cached_images({}, decode)
    np.testing.assert_array_equal(images.read(0, 7), PIXELS)
    assert decode.calls == calls


def test_one_of_several_decodes_and_the_others_wait() -> None:
    decode, begun = Decoding(), threading.Barrier(4)

    def work(_: int) -> Any:
        begun.wait()
        return cached_images({}, decode)[0].read(0, 7)

    with ThreadPoolExecutor(4) as pool:
        for pixels in pool.map(work, range(4)):
            np.testing.assert_array_equal(pixels, PIXELS)
    assert decode.calls == 1


def test_what_fails_leaves_nothing_behind() -> None:
    def broken() -> Decoded:
        def blocks() -> Any:
            yield PIXELS[:2]
            raise mosaic.DataError("image 2 is damaged")

        return Decoded(PIXELS.shape, PIXELS.dtype, blocks())

    with pytest.raises(mosaic.DataError, match="image 2"):
        cached_images({}, broken)
    assert not {".npy", ".json"} & files().keys()
    for wrong in (PIXELS[:5], PIXELS.astype(np.float32)):
        with pytest.raises(ValueError, match=r"values|block"):
            cached_images({}, lambda wrong=wrong: Decoded(PIXELS.shape, PIXELS.dtype, [wrong]))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path / "file")
    with pytest.raises(mosaic.MosaicError, match="file"):
        cached_images({}, Decoding())
