"""What a command ended with: the work done, or an error of one sentence."""

from __future__ import annotations

import re

from click.testing import Result


def done(result: Result) -> Result:
    """Hold a command to have succeeded; gives its result."""
    assert result.exit_code == 0, result.output + result.stderr
    return result


def refused(result: Result, code: int, *values: str) -> None:
    """Hold a command to have failed with this exit code, nothing on stdout, and one sentence that holds the values."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    for value in values:
        assert re.search(rf"(?<!\w){re.escape(value)}(?!\w)", sentence), (value, sentence)


def notes(result: Result) -> list[str]:
    """The notes of a command, without what marks them."""
    return [line.removeprefix("Note: ") for line in result.stderr.splitlines() if line.startswith("Note: ")]
