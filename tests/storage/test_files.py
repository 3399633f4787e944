"""Files: their names, what cannot be written and why, and what is opened."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.disk.failures import WriteError
from mosaic.storage.files import check_free, check_writable, open_stored, unused_folder, unused_path, write_netcdf

DATA = xr.Dataset({"a": (("sample", "x"), np.random.default_rng(0).random((4, 100_000)))})


@pytest.mark.parametrize("place", ["gone/a.nc", "x" * 260 + ".nc", "file/a.nc"])
def test_a_place_that_is_gone_or_too_long_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=place[:4]):
        write_netcdf(DATA, tmp_path / place)


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np, xarray as xr
from mosaic.disk.failures import WriteError
from mosaic.storage.files import write_netcdf
data = xr.Dataset({"a": (("sample", "x"), np.random.default_rng(0).random((4, 100_000)))})
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    write_netcdf(data, Path("full/a.nc"))
except WriteError as error:
    print(error)
"""


@pytest.mark.system
def test_a_limit_of_file_sizes_is_told(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no such limits")
    (tmp_path / "full").mkdir()
    command = [sys.executable, "-c", LIMITED, "100000"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "full/a.nc" in output
    assert "100000" in output
    assert not list((tmp_path / "full").iterdir())


@pytest.mark.slow
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", "full"], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let a file system be mounted")
    try:
        command = [sys.executable, "-c", LIMITED]
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert re.search(r"full/a\.nc.*full", output)
        assert not list((tmp_path / "full").iterdir())
    finally:
        subprocess.run(["umount", "full"], check=True)


@pytest.mark.parametrize("left", ["run-001.nc", "run-001.nc.parts", "run-001.png"])
def test_a_name_is_taken_by_whatever_a_run_leaves(tmp_path: Path, left: str) -> None:
    (tmp_path / left).touch()
    assert unused_path(tmp_path).name == "run-002.nc"


@pytest.mark.parametrize("out", ["a.txt", "nowhere/a.nc", "folder.nc"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(mosaic.UsageError):
        check_writable(tmp_path / out)


@pytest.mark.parametrize(("flag", "reason"), [(os.ST_RDONLY, "read-only"), (0, os.strerror(errno.EACCES))])
def test_a_folder_that_is_closed_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: int, reason: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write into every folder
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flag))
    with pytest.raises(mosaic.UsageError, match=rf"a\.nc.*{reason}"):
        check_writable(tmp_path / "a.nc")


def test_what_is_not_a_file_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("text")
    for name in ("nothing.nc", "text.nc", "."):
        with pytest.raises(mosaic.DataError):
            open_stored(tmp_path / name, ("mosaic-trajectory/2",), "a run")


def test_a_path_that_is_taken_is_free_only_to_be_replaced(tmp_path: Path) -> None:
    check_free(tmp_path / "a", overwrite=False)
    (tmp_path / "a").touch()
    check_free(tmp_path / "a", overwrite=True)
    with pytest.raises(mosaic.UsageError, match=r"`overwrite`"):
        check_free(tmp_path / "a", overwrite=False)


def test_the_first_folder_of_a_name_that_is_not_there_is_unused() -> None:
    assert unused_folder("net") == Path("net")
    Path("net").mkdir()
    Path("net-2").mkdir()
    assert unused_folder("net") == Path("net-3")


def test_another_failure_than_a_full_disk_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the disk has not as much room as the arrays take uncompressed."""

    def fail(dataset: xr.Dataset, path: Path, encoding: object) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("NetCDF: Filter error")

    monkeypatch.setattr("mosaic.storage.files.store_netcdf", fail)
    huge = xr.Dataset({"a": (("sample", "x"), np.broadcast_to(np.float32(0), (2**20, 2**25)))})
    with pytest.raises(WriteError, match=r"a\.nc'.*Filter error"):
        write_netcdf(huge, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())
