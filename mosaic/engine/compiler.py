"""The compiled kernel: built on first use by the machine's own C++ compiler, and cached."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import platformdirs

from mosaic.disk.atomic import own_folder, remove_temporaries
from mosaic.disk.failures import WriteError
from mosaic.engine.kernel import layout_error

__all__ = ["KernelUnavailable", "kernel_build", "kernel_status", "load_kernel", "with_build"]

KERNEL_FILE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC")

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

Command = tuple[str, ...]


class KernelUnavailable(Exception):
    """There is no compiled kernel on this machine; the message says why."""


def load_kernel() -> ctypes.CDLL:
    """Load the kernel, building it first where no sound build for this kernel file, compiler and processor is cached.

    Raises
    ------
    KernelUnavailable
        If there is no C++ compiler, it cannot build the kernel, or what it built cannot be loaded.
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
    return f"available, built by {_version(_compiler())}"


def kernel_build() -> str:
    """Identify the build: kernel file, flags, compiler and processor."""
    return Path(load_kernel()._name).stem.partition("-")[0]


def with_build(engine: str) -> str:
    """Name an engine down to its build, where it is compiled on this machine."""
    return f"{engine} {kernel_build()}" if engine == "compiled" else engine


@cache
def _load() -> ctypes.CDLL | str:
    wrong, is_new = "", False
    while not is_new:  # what cannot be used may have been built by a compiler that has been repaired since
        try:
            compiler = _compiler()
            path, is_new = _built(compiler)
            library = ctypes.CDLL(str(path))
        except KernelUnavailable as error:
            return str(error)
        except OSError as error:
            wrong = f"what {shlex.join(compiler)} built cannot be loaded: {error}"
        else:
            if (unfit := layout_error(library)) is None:
                return library
            wrong = f"the kernel that {shlex.join(compiler)} built cannot be used: {unfit}"
        with suppress(OSError):
            path.unlink()
    return wrong


def _compiler() -> Command:
    """The compiler's command: a program and its arguments, which CXX may have ("ccache g++")."""
    try:
        named = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise KernelUnavailable(f"CXX is not a command ({error}): {os.environ['CXX']}") from None
    for program, *arguments in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if path := shutil.which(program):
            return path, *arguments
    if named:
        raise KernelUnavailable(f"there is no C++ compiler '{named[0]}', which CXX names")
    raise KernelUnavailable("there is no C++ compiler (c++, g++ or clang++; CXX names another)")


def _output_of(command: Command, timeout: float) -> str:
    """Run a compiler; gives what it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        complaint = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
        lines = (complaint or str(error)).strip().splitlines() or [type(error).__name__]
        raise KernelUnavailable(f"{shlex.join(command[:1])} could not build it: {lines[0]}") from None
    return done.stdout


@cache
def _version(compiler: Command) -> str:
    return _output_of((*compiler, "--version"), 30).partition("\n")[0]


def _identity(compiler: Command) -> str:
    """Name of a build: the first digits of the SHA-256 of all that decides it."""
    # -march=native builds for this processor, and machines with other processors may share this cache folder. So the
    # macros that the compiler defines for the processor are part of the build's identity.
    target = _output_of((*_with_flags(compiler, "-march=native"), "-E", "-dM", "-x", "c++", os.devnull), 30)
    facts = [KERNEL_FILE.read_bytes(), " ".join(FLAGS).encode(), _version(compiler).encode(), target.encode()]
    facts += [shlex.join((*FLAGS, *compiler[1:])).encode()] if compiler[1:] else []
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:20]


def _with_flags(compiler: Command, *flags: str) -> Command:
    """Add flags to a compiler's command, before its own ("ccache g++ -O1"): of two that differ, the last one counts."""
    program = max(place for place, word in enumerate(compiler) if place == 0 or shutil.which(word)) + 1
    return *compiler[:program], *flags, *compiler[program:]


def _built(compiler: Command) -> tuple[Path, bool]:
    """Path of the shared library, from the cache where there is a sound one; and whether it was built now.

    A library's name holds the digest of its content. A damaged one, which would kill the process, is never loaded.
    """
    identity = _identity(compiler)
    cache_folder = Path(platformdirs.user_cache_dir("mosaic-diffusion"))
    folder = cache_folder / "kernel"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for place in (cache_folder, folder):
            _close_to_others(place)
        for path in sorted(folder.glob(f"{identity}-*.so")):
            if _is_sound(path, identity):
                return path, False
            with suppress(OSError):
                path.unlink()
        remove_temporaries(folder)  # of builds that were killed
        with own_folder(folder / "kernel.so") as temporary:
            fresh = temporary / "kernel.so"
            _output_of((*_with_flags(compiler, *FLAGS), str(KERNEL_FILE), "-o", str(fresh)), 300)
            if not fresh.is_file():
                raise KernelUnavailable(f"{shlex.join(compiler)} built nothing")
            fresh.chmod(0o700)
            return fresh.replace(folder / _name(identity, fresh)), True
    except OSError as error:
        raise KernelUnavailable(f"its cache folder '{folder}' cannot be used: {error.strerror or error}") from None
    except WriteError as error:
        raise KernelUnavailable(str(error).rstrip(".")) from None


def _name(identity: str, library: Path) -> str:
    return f"{identity}-{hashlib.sha256(library.read_bytes()).hexdigest()}.so"


def _is_sound(library: Path, identity: str) -> bool:
    """Whether a library is as it was built, and only this user could have written it; a link is not."""
    try:
        status = library.lstat()
        is_own = stat.S_ISREG(status.st_mode) and not _open_to_others(status)
        return is_own and library.name == _name(identity, library)
    except OSError:  # it cannot be read, or another process has just removed it
        return False


def _open_to_others(status: os.stat_result) -> bool:
    """Whether another user than root could write this file or folder."""
    if not hasattr(os, "getuid"):  # on Windows, where a user's cache folder is the user's alone
        return False
    return status.st_uid not in (0, os.getuid()) or bool(status.st_mode & OTHERS_WRITE)


def _close_to_others(folder: Path) -> None:
    """Take the right to write into a folder from all other users.

    Raises
    ------
    KernelUnavailable
        If it is another user's.
    """
    if _open_to_others(folder.stat()):
        with suppress(PermissionError):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~OTHERS_WRITE)
    if _open_to_others(folder.stat()):
        raise KernelUnavailable(
            f"another user could write into its cache folder '{folder}'; set XDG_CACHE_HOME to a folder of your own"
        )
