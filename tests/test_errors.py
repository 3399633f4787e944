"""Errors: the exit code that each kind gives the command line, and the suggestion of a near name."""

from __future__ import annotations

import pytest

from mosaic import DataError, ExitCode, MosaicError, PluginError, UsageError
from mosaic.errors import did_you_mean


@pytest.mark.parametrize(("kind", "code"), [(MosaicError, 1), (UsageError, 2), (PluginError, 3), (DataError, 4)])
def test_every_kind_has_an_exit_code_of_its_own(kind: type[MosaicError], code: int) -> None:
    with pytest.raises(MosaicError) as caught:
        raise kind("a sentence")
    assert caught.value.exit_code == code
    assert str(caught.value) == "a sentence"


def test_exit_codes_are_those_of_the_shell() -> None:
    assert ExitCode.OK == 0
    assert ExitCode.INTERRUPTED == 128 + 2  # SIGINT
    assert len(set(ExitCode)) == len(ExitCode.__members__)


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("cosin", ["linear", "cosine", "cosine-nichol"], "cosine"),
        ("zero", ["circular", "zeros"], "zeros"),
        ("cosine", ["flow", "edm"], None),
        ("x", [], None),
        ("", ["a"], None),
    ],
)
def test_only_a_near_name_is_suggested(name: str, known: list[str], nearest: str | None) -> None:
    actual = did_you_mean(name, iter(known))
    assert actual == "" if nearest is None else f"'{nearest}'" in actual
