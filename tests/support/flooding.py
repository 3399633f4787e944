"""Tiles by flooding, one pixel after another."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray


def flooded(image: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64]) -> list[int]:
    """Sizes of tiles by flooding, the largest first."""
    height, width = image.shape
    seen, sizes = set(), []
    for start in np.ndindex(height, width):
        if start in seen or image[start] < 0:
            continue
        seen.add(start)
        queue, size = deque([start]), 0
        while queue:
            i, j = queue.popleft()
            size += 1
            for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                to = (i + di, j + dj)
                if not (0 <= to[0] < height and 0 <= to[1] < width) or to in seen or image[to] != image[i, j]:
                    continue
                if (row[to] - row[i, j], column[to] - column[i, j]) == (di, dj):
                    seen.add(to)
                    queue.append(to)
        sizes.append(size)
    return sorted(sizes, reverse=True)
