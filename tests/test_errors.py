"""Errors: the exit code that each kind gives the command line, and the suggestion of a near name."""

from __future__ import annotations

import pytest

from mosaic import DataError, ExitCode, MosaicError, MosaicWarning, PluginError, UsageError
from mosaic.errors import did_you_mean, no_exit, warn_of


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


def test_a_plugin_that_ends_the_program_is_an_error() -> None:
    with pytest.raises(PluginError, match=r"score 'x'.*sys\.exit\(3\)"), no_exit("score 'x'"):
        raise SystemExit(3)
    with no_exit("nothing"):
        pass


def test_notes_are_warnings_of_their_own_class() -> None:
    with pytest.warns(MosaicWarning, match="seven") as caught:
        warn_of(["seven", "seventy seven"])
    assert {warning.filename for warning in caught} == {__file__}
    assert [str(warning.message) for warning in caught] == ["seven", "seventy seven"]
