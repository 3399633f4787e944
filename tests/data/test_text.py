"""Names of files as text, whatever the locale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
from mosaic_data.text import error_line, listed, readable, utf8_name


def test_names_are_utf8_or_refused() -> None:
    assert utf8_name(Path("x/café")) == "café"
    with pytest.raises(mosaic.DataError, match=r"caf\\xe9"):
        utf8_name(Path("x/caf\udce9"))


def test_paths_are_readable_whatever_their_bytes() -> None:
    assert readable(Path("x/café")) == "x/café".replace("/", os.sep)
    assert readable(Path("caf\udce9")) == r"caf\xe9"


PROBE = """
import sys
from pathlib import Path
from mosaic_data.text import readable, utf8_name
found = next(Path().glob("caf*"))
assert sys.getfilesystemencoding() == "ascii", sys.getfilesystemencoding()
print(ascii((utf8_name(found), readable(found))))
"""


def test_a_name_is_the_same_where_the_locale_knows_ascii_only(tmp_path: Path) -> None:
    (tmp_path / "café").mkdir()
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    if "AssertionError" in done.stderr:
        pytest.skip("this system has no ASCII locale")
    assert done.stdout.strip() == ascii(("café", "café"))


def test_what_a_file_says_is_one_line_that_shows() -> None:
    assert listed(["a", "b\x1b[1m", ""]) == r"a, 'b\x1b[1m', ''"
    assert listed([str(number) for number in range(14)], most=2) == "0, 1, ..."
    assert error_line(ValueError("two\nlines \x1b[1m")) == r"ValueError: two lines \x1b[1m"
    assert len(error_line(ValueError("x" * 10**6))) == 300
