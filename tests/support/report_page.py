"""What a report's page holds, read back from its script element."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

import numpy as np


def contents(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return dict(json.loads(match[1]))


def unpacked(packed: dict[str, str]) -> np.ndarray:
    kind = packed["type"].removesuffix("Array").lower()
    return np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), kind)
