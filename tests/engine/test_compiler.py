"""The build of the compiled kernel, and what happens where there is none."""

from __future__ import annotations

import _ctypes
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from built_kernel import needs_kernel

import mosaic
from mosaic.disk.atomic import own_folder
from mosaic.engine import compiler
from mosaic.engine.compiler import KernelUnavailable, kernel_build, kernel_status, load_kernel, with_build
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.job import start
from mosaic.run.prepare import prepare

posix = pytest.mark.skipif(os.name == "nt", reason="compilers are shell scripts here")


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


@posix
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
def test_a_build_without_the_layout_of_the_kernel_is_neither_used_nor_kept(
    compile_with: Callable[[str], Path],
) -> None:
    real = shlex.join(compiler._compiler())
    build = f'for last; do :; done; {real} -shared -fPIC -x c++ {os.devnull} -o "$last"'
    version = 'cat "$(dirname "$0")/version"'
    script = f'echo "$*" >> "$(dirname "$0")/calls"; case "$*" in *-shared*) {build};; *--version*) {version};; '
    cache = compile_with(script + f'*) {real} "$@";; esac')
    beside = cache.parent / "compiler"
    for builds, number in enumerate(("1.0", "1.0", "2.0"), 1):
        (beside / "version").write_text(f"empty {number}\n")
        compiler._load.cache_clear()
        compiler._version.cache_clear()
        with pytest.raises(KernelUnavailable, match="mosaic_layout"):
            load_kernel()
        calls = (beside / "calls").read_text().splitlines()
        assert len([call for call in calls if "-shared" in call]) == builds
        assert not list(cache.rglob("*.so"))


@needs_kernel
def test_only_what_is_compiled_is_named_down_to_its_build() -> None:
    assert re.fullmatch("[0-9a-f]{20}", kernel_build())
    assert with_build("compiled") == f"compiled {kernel_build()}"
    assert with_build("torch") == "torch"


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound build, not yet loaded by anybody."""
    folder = tmp_path_factory.mktemp("built")
    return Path(shutil.copy2(load_kernel()._name, folder))


PROBE = """
import torch, mosaic
from mosaic.engine import compiler
images = torch.linspace(-1, 1, 108, dtype=torch.float32, device="cpu").view(3, 1, 6, 6)
run = mosaic.run("els", mosaic.DataSet("d", images), steps=1, samples=1, progress=False)
print(run.attrs["engine"], compiler.load_kernel()._name)
"""


def truncated(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:20_000])


def with_bits_flipped(library: Path) -> None:
    content = bytearray(library.read_bytes())
    content[:4000] = bytes(255 - byte for byte in content[:4000])
    library.write_bytes(content)


def without_a_symbol(library: Path) -> None:
    library.write_bytes(library.read_bytes().replace(b"mosaic_compare_float", b"mosaic_compare_gloat"))


def emptied(library: Path) -> None:
    library.write_bytes(b"")


def writable_by_others(library: Path) -> None:
    library.chmod(0o722)


def behind_a_link(library: Path) -> None:
    library.rename(library.parent.parent / "elsewhere.so")
    library.symlink_to(library.parent.parent / "elsewhere.so")


def copying(library: Path) -> str:
    """Script of a compiler that gives this library, and counts how often."""
    real = shlex.join(compiler._compiler())
    copied = f'echo >> "$(dirname "$0")/builds"; for last; do :; done; cp {shlex.quote(str(library))} "$last"'
    return f'case "$*" in *-shared*) {copied};; *) {real} "$@";; esac'


@posix
@needs_kernel
@pytest.mark.parametrize(
    "damage", [truncated, with_bits_flipped, without_a_symbol, emptied, writable_by_others, behind_a_link]
)
def test_a_library_that_is_damaged_or_open_to_others_is_built_again(
    damage: Callable[[Path], None], built: Path, compile_with: Callable[[str], Path]
) -> None:
    cached = compile_with(copying(built)) / "kernel" / built.name
    builds = cached.parents[2] / "compiler" / "builds"
    for number in (1, 1, 2, 2):
        if len(builds.read_text() if builds.exists() else "") < number and cached.exists():
            damage(cached)
        assert compiler._built(compiler._compiler())[0] == cached
        assert cached.read_bytes() == built.read_bytes()
        assert not cached.is_symlink()
        assert stat.S_IMODE(cached.stat().st_mode) == 0o700
        assert len(builds.read_text()) == number


@posix
@needs_kernel
def test_a_folder_is_closed_to_others_and_not_used_if_it_is_another_users(
    built: Path, compile_with: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = compile_with(copying(built))
    (cache / "kernel").mkdir(parents=True)
    for folder in (cache, cache / "kernel"):
        folder.chmod(0o777)
    compiler._built(compiler._compiler())
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (cache, cache / "kernel")] == [0o755, 0o755]
    owner = os.stat_result((0o755, 0, 0, 1, os.getuid() + 1, 0, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda path, **_: owner)
    with pytest.raises(KernelUnavailable, match=re.escape(str(cache))):
        compiler._built(compiler._compiler())


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
@posix
@needs_kernel
def test_a_run_survives_a_truncated_library(built: Path, compile_with: Callable[[str], Path]) -> None:
    """In a process of its own, which such a library would kill."""
    cached = compile_with(copying(built)).parent / "mosaic-diffusion" / "kernel" / built.name
    cached.parent.mkdir(parents=True)
    shutil.copy2(built, cached)
    truncated(cached)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cached.parents[2])}
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['"compiled', f'{kernel_build()}"', str(cached)]


@posix
@needs_kernel
@pytest.mark.parametrize("library", ["empty", "other"])
def test_what_cannot_be_loaded_is_noted_and_refused_by_name(
    library: str, tiny: mosaic.DataSet, compile_with: Callable[[str], Path], tmp_path: Path
) -> None:
    """A library that is no library, and one that is not the kernel."""
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"" if library == "empty" else Path(_ctypes.__file__).read_bytes())
    compile_with(copying(wrong))
    plan = prepare(RunConfig(steps=1), DataAccess(), dataset=tiny)
    (note,) = (note for note in plan.notes if "compiled" in note)
    assert str(tmp_path / "compiler") in note
    assert plan.model.traits.engine(torch.float32) == "torch"
    settings = RunConfig(steps=1, score_options={"engine": "compiled"})
    with pytest.raises(mosaic.UsageError, match=re.escape(str(tmp_path / "compiler"))):
        start(prepare(settings, DataAccess(), dataset=tiny))


@posix
@needs_kernel
def test_a_compiler_may_have_arguments_which_are_part_of_the_build(
    compile_with: Callable[[str], Path], built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = compile_with(copying(built))
    names = set()
    for arguments in ("", " -O1", " -O1 '-DNAME=a b'"):
        monkeypatch.setenv("CXX", f"{cache.parent / 'compiler' / 'c++'}{arguments}")
        assert compiler._compiler()[1:] == tuple(shlex.split(arguments))
        names.add(compiler._built(compiler._compiler())[0].name)
    assert len(names) == 3
    monkeypatch.setenv("CXX", "no-such-c++ -O1")
    with pytest.raises(KernelUnavailable, match=r"'no-such-c\+\+', which CXX names"):
        compiler._compiler()
    monkeypatch.setenv("CXX", "c++ '")
    with pytest.raises(KernelUnavailable, match=r"c\+\+ '"):
        compiler._compiler()


@posix
@needs_kernel
def test_what_a_compiler_built_that_is_repaired_since_is_built_again(
    compile_with: Callable[[str], Path], built: Path
) -> None:
    cache = compile_with(copying(built))
    path, is_new = compiler._built(compiler._compiler())
    assert is_new
    path.rename(path.with_name(compiler._name(path.stem.partition("-")[0], Path(os.devnull))))
    unfit = next(cache.rglob("*.so"))
    unfit.write_bytes(b"")  # sound by its name, and no library
    assert compiler._built(compiler._compiler()) == (unfit, False)
    compiler._load.cache_clear()
    assert load_kernel()._name != str(unfit)
    assert not unfit.exists()


@posix
@needs_kernel
def test_flags_of_the_user_count_after_those_of_the_kernel(
    compile_with: Callable[[str], Path], built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = compile_with(f'echo "$*" >> "$(dirname "$0")/calls"; {copying(built)}')
    program = cache.parent / "compiler" / "c++"
    monkeypatch.setenv("CXX", f"env A=b {program} -O1 -march=x86-64")
    compiler._built(compiler._compiler())
    calls = (program.parent / "calls").read_text().splitlines()
    (target,) = [call.split() for call in calls if "-dM" in call]
    (build,) = [call.split() for call in calls if "-shared" in call]
    assert build.index("-O1") > build.index("-O3")
    for call in (target, build):
        assert call.index("-march=x86-64") > call.index("-march=native")


@posix
@needs_kernel
def test_what_a_killed_build_left_is_removed_by_the_next_and_one_in_progress_is_not(
    compile_with: Callable[[str], Path], built: Path
) -> None:
    folder = compile_with(copying(built)) / "kernel"
    folder.mkdir(parents=True, mode=0o700)
    with own_folder(folder / "kernel.so") as other:
        (folder / ".mosaic-killed.tmp").mkdir()
        (folder / ".mosaic-killed.tmp" / "kernel.so").write_text("half")
        path, _ = compiler._built(compiler._compiler())
        assert set(folder.iterdir()) == {path, other}


@posix
def test_a_compiler_that_builds_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "true")
    with pytest.raises(KernelUnavailable, match="true built nothing"):
        compiler._built(compiler._compiler())
