"""What this machine's processor is and can do."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

__all__ = ["instructions", "multiplies_bfloat16", "processor_name"]

CPUINFO = Path("/proc/cpuinfo")


@cache
def _facts() -> dict[str, str]:
    """Facts about the last processor that Linux lists; empty elsewhere."""
    if not CPUINFO.exists():
        return {}
    facts = (line.split(":", 1) for line in CPUINFO.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in facts}


def processor_name() -> str:
    """Name of the processor."""
    return _facts().get("model name") or platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Those of the instruction sets that matter here which the processor has; none known but on Linux."""
    flags = _facts().get("flags", "").split()
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]


def multiplies_bfloat16() -> bool:
    """Whether the processor has products of bfloat16 numbers."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(instructions())
