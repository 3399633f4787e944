"""Whether the compiled kernel can be built here, and the engines that there are then."""

from __future__ import annotations

import pytest

from mosaic.engine.compiler import KernelUnavailable, load_kernel

__all__ = ["ENGINES", "MISSING", "needs_kernel"]

try:
    load_kernel()
    MISSING = ""
except KernelUnavailable as error:
    MISSING = str(error)

ENGINES = ["torch", "reference"] if MISSING else ["compiled", "torch", "reference"]
needs_kernel = pytest.mark.skipif(bool(MISSING), reason=f"no compiled kernel: {MISSING}")
