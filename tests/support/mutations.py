"""Damage to files: truncated, bits flipped, pieces moved; and JSON that holds something odd."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

__all__ = ["mutated", "odd_json"]

ODD: list[Any] = [
    None,
    [],
    {},
    "",
    "x",
    -1,
    0,
    10**30,
    0.5,
    float("nan"),
    float("inf"),
    True,
    [[]],
    {"a": {}},
    "\u202e",
]


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Damage a file in one way, at a place drawn at random."""
    data, size = bytearray(content), len(content)
    kind = generator.integers(4)
    if kind == 0:
        return content[: generator.integers(size)]
    if kind == 1:
        for place in generator.integers(size, size=int(generator.integers(1, 20))):
            data[place] ^= 1 << int(generator.integers(8))
        return bytes(data)
    first, second = sorted(generator.integers(size, size=2).tolist())
    if kind == 2:  # a piece over another place
        to = int(generator.integers(size))
        data[to : to + second - first] = content[first:second]
        return bytes(data)
    return content[:first] + bytes(generator.integers(256, size=8, dtype=np.uint8)) + content[second:]


def odd_json(content: bytes, generator: np.random.Generator) -> bytes:
    """Replace or remove one value of a JSON document, at any depth; or damage its text."""
    if generator.random() < 0.3:
        return mutated(content, generator)
    document = json.loads(content)
    places = _places(document)
    if not places or generator.random() < 0.05:
        return json.dumps(ODD[generator.integers(len(ODD))]).encode()
    owner, key = places[generator.integers(len(places))]
    if generator.random() < 0.3:
        del owner[key]
    else:
        owner[key] = ODD[generator.integers(len(ODD))]
    return json.dumps(document).encode()


def _places(document: Any) -> list[tuple[Any, Any]]:
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [place for key in keys for place in ((document, key), *_places(document[key]))]
