"""The build of the compiled kernel, and what happens where there is none."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from built_kernel import needs_kernel

import mosaic
from mosaic.engine import compiler
from mosaic.engine.compiler import KernelUnavailable, kernel_build, kernel_status, load_kernel, with_build


@pytest.fixture
def compile_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Make a compiler of a shell script, the only one there is, and an empty cache: gives the cache's folder."""

    def use(script: str) -> Path:
        program = tmp_path / "compiler" / "c++"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setenv("CXX", str(program))
        return tmp_path / "cache"

    monkeypatch.setattr(compiler.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    compiler._load.cache_clear()
    yield use
    compiler._load.cache_clear()


@pytest.mark.skipif(os.name == "nt", reason="compilers are shell scripts here")
def test_a_compiler_that_fails_is_named_with_the_first_line_of_its_complaint(
    compile_with: Callable[[str], Path], tmp_path: Path
) -> None:
    cache = compile_with("echo 'error: no -march here' >&2; echo 'second line' >&2; exit 1")
    with pytest.raises(KernelUnavailable) as caught:
        load_kernel()
    assert str(tmp_path / "compiler" / "c++") in str(caught.value)
    assert "error: no -march here" in str(caught.value)
    assert "second line" not in str(caught.value)
    assert str(caught.value) in kernel_status()
    assert not list(cache.rglob("*.so"))


@needs_kernel
def test_a_build_is_made_once_a_version_and_not_used_without_the_layout_of_the_kernel(
    compile_with: Callable[[str], Path],
) -> None:
    real = shlex.quote(compiler._compiler() or "")
    build = f'for last; do :; done; {real} -shared -fPIC -x c++ {os.devnull} -o "$last"'
    version = 'cat "$(dirname "$0")/version"'
    script = f'echo "$*" >> "$(dirname "$0")/calls"; case "$*" in *-shared*) {build};; *--version*) {version};; '
    cache = compile_with(script + f'*) {real} "$@";; esac')
    beside = cache.parent / "compiler"
    for number, builds in (("1.0", 1), ("1.0", 1), ("2.0", 2)):
        (beside / "version").write_text(f"empty {number}\n")
        compiler._load.cache_clear()
        compiler._version.cache_clear()
        with pytest.raises(KernelUnavailable, match="mosaic_layout"):
            load_kernel()
        calls = (beside / "calls").read_text().splitlines()
        assert len([call for call in calls if "-shared" in call]) == builds
        assert len(list(cache.rglob("*.so"))) == builds


@needs_kernel
def test_only_what_is_compiled_is_named_down_to_its_build() -> None:
    assert re.fullmatch("[0-9a-f]{20}", kernel_build())
    assert with_build("compiled") == f"compiled {kernel_build()}"
    assert with_build("torch") == "torch"


def test_without_a_compiler_torch_serves_and_doctor_says_so(tmp_path: os.PathLike[str]) -> None:
    code = "from mosaic_cli.main import cli; cli()"
    environment = {**os.environ, "PATH": str(tmp_path), "CXX": "", "XDG_CACHE_HOME": str(tmp_path)}
    run = [sys.executable, "-c", code, "run", "-q", "--steps", "2", "--samples", "1", "--out", "a.nc"]
    subprocess.run(run, env=environment, check=True)
    with mosaic.open("a.nc") as stored:
        assert stored.attrs["engine"] == '"torch"'
    doctor = [sys.executable, "-c", code, "doctor", "--json"]
    report = subprocess.run(doctor, env=environment, capture_output=True, text=True)
    assert report.returncode == 0
    status = json.loads(report.stdout)["compiled_engine"]
    assert all(name in status for name in ("c++", "g++", "clang++", "CXX"))
    explicit = subprocess.run(
        [*run, "--overwrite", "-o", "score.engine=compiled"], env=environment, capture_output=True, text=True
    )
    assert explicit.returncode == 2
    assert status.partition(": ")[2] in explicit.stderr


@needs_kernel
def test_a_run_records_the_engine_that_computed_it(tiny: mosaic.DataSet) -> None:
    engines = {
        dtype: mosaic.run(dataset=tiny, steps=1, dtype=dtype).attrs["engine"] for dtype in ("float32", "float64")
    }
    assert engines["float32"].startswith('"compiled ')
    assert engines["float64"] == '"torch"'
