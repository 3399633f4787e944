"""Rows are read in pieces: those that are chosen, and no others where a file can seek."""

from __future__ import annotations

import io

import numpy as np
import pytest

from mosaic_data.stored_array import PIECE, RowStream, pieces


@pytest.mark.parametrize("together", [1, 3, 20])
@pytest.mark.parametrize("row_bytes", [1, PIECE // 3, PIECE, 5 * PIECE])
def test_pieces_cover_all_rows_once_and_part_no_group(row_bytes: int, together: int) -> None:
    chosen = np.array([0, 3, 4, 9])
    cut = list(pieces(10, row_bytes, chosen, together))
    assert all(start % together == 0 for start, *_ in cut)
    assert [row for start, stop, _ in cut for row in range(start, stop)] == list(range(10))
    assert [start + row for start, _, inside in cut for row in inside.tolist()] == chosen.tolist()


@pytest.mark.parametrize("can_seek", [True, False])
def test_a_stream_that_can_seek_leaves_out_what_is_not_chosen(can_seek: bool) -> None:
    rows = np.arange(6 * PIECE, dtype=np.uint8).reshape(6, PIECE)
    read = 0

    class Counting(io.BytesIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            nonlocal read
            read += len(buffer)
            return super().readinto(buffer)

    stored = RowStream(rows.shape, rows.dtype, lambda: Counting(rows.tobytes()), can_seek=can_seek)
    np.testing.assert_array_equal(np.concatenate(list(stored.rows(np.array([1, 4])))), rows[[1, 4]])
    assert read == (2 if can_seek else 6) * PIECE


def test_a_stream_that_ends_early_says_how_much_is_lacking() -> None:
    stored = RowStream((4, 10), np.dtype(np.uint8), lambda: io.BytesIO(bytes(33)))
    with pytest.raises(EOFError, match=r"\b7\b"):
        list(stored.rows(np.arange(4)))
