"""JSON that holds something odd."""

from __future__ import annotations

import json
import random
from typing import Any

from mutations import mutated

__all__ = ["odd_json"]

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


def odd_json(content: bytes, generator: random.Random) -> bytes:
    """Replace or remove one value of a JSON document, at any depth; or damage its text."""
    if generator.random() < 0.3:
        return mutated(content, content, generator)
    document = json.loads(content)
    places = _places(document)
    if not places or generator.random() < 0.05:
        return json.dumps(generator.choice(ODD)).encode()
    owner, key = generator.choice(places)
    if generator.random() < 0.3:
        del owner[key]
    else:
        owner[key] = generator.choice(ODD)
    return json.dumps(document).encode()


def _places(document: Any) -> list[tuple[Any, Any]]:
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [place for key in keys for place in ((document, key), *_places(document[key]))]
