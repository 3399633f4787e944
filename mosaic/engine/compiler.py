"""The compiled kernel: built on first use by the machine's own C++ compiler, and cached."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

from mosaic.engine.kernel import layout_error

__all__ = ["KernelUnavailable", "kernel_build", "kernel_status", "load_kernel", "with_build"]

KERNEL_FILE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC")


class KernelUnavailable(Exception):
    """There is no compiled kernel on this machine; the message says why."""


def load_kernel() -> ctypes.CDLL:
    """Load the kernel, building it first where no build for this kernel file, compiler and processor is cached.

    Raises
    ------
    KernelUnavailable
        If there is no C++ compiler, or it cannot build the kernel.
    """
    library = _load()
    if isinstance(library, str):
        raise KernelUnavailable(library)
    return library


def kernel_status() -> str:
    """Say whether the compiled kernel works here, and if not why."""
    try:
        load_kernel()
    except KernelUnavailable as error:
        return f"not available: {error}"
    return f"available, built by {_version(_compiler() or '')}"


def kernel_build() -> str:
    """Identify the build: kernel file, flags, compiler and processor."""
    return Path(load_kernel()._name).stem


def with_build(engine: str) -> str:
    """Name an engine down to its build, where it is compiled on this machine."""
    return f"{engine} {kernel_build()}" if engine == "compiled" else engine


@cache
def _load() -> ctypes.CDLL | str:
    compiler = _compiler()
    if compiler is None:
        return "there is no C++ compiler (c++, g++ or clang++; CXX names another)"
    try:
        library = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        return f"{compiler} could not build it: {reason.strip().splitlines()[0]}"
    wrong = layout_error(library)
    return library if wrong is None else f"the kernel that {compiler} built cannot be used: {wrong}"


def _compiler() -> str | None:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


@cache
def _version(compiler: str) -> str:
    result = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return result.stdout.partition("\n")[0]


def _built(compiler: str) -> Path:
    """Path of the shared library, built under a temporary name and moved into place."""
    # -march=native builds for this processor, and machines with other processors may share this cache folder. So the
    # macros that the compiler defines for the processor are part of the build's identity.
    target = subprocess.run(
        [compiler, "-march=native", "-E", "-dM", "-x", "c++", os.devnull],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    facts = [KERNEL_FILE.read_bytes(), " ".join(FLAGS).encode(), _version(compiler).encode(), target.stdout.encode()]
    identity = hashlib.sha256(b"\0".join(facts)).hexdigest()[:20]
    folder = Path(platformdirs.user_cache_dir("mosaic-diffusion")) / "kernel"
    built = folder / f"{identity}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            fresh = Path(temporary) / built.name
            command = [compiler, *FLAGS, str(KERNEL_FILE), "-o", str(fresh)]
            subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
            fresh.replace(built)
    return built
