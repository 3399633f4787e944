"""Of every score model it is said what is the paper's, what the published code does, and what is ours."""

from __future__ import annotations

import inspect
import re

import pytest

import mosaic

LABELS = ("The paper's", "The published code's", "Ours")


def parts_of(docstring: str) -> list[str]:
    """What follows each label, the last three paragraphs of a docstring, up to the next label."""
    pattern = r"\n\n" + "\n".join(rf"{label}(?:, [^\n:]*)?: (.+?)" for label in LABELS) + r"\Z"
    match = re.search(pattern, docstring, re.DOTALL)
    return [] if match is None else list(match.groups())


@pytest.mark.parametrize("name", mosaic.registry().names("score"))
def test_a_score_ends_by_saying_what_is_whose(name: str) -> None:
    parts = parts_of(inspect.getdoc(mosaic.registry().get("score", name)) or "")
    assert len(parts) == 3
    for part in parts:
        assert part.strip().endswith(".")
        assert "\n\n" not in part


def test_a_docstring_without_a_label_or_in_another_order_does_not_pass() -> None:
    whole = "A.\n\nThe paper's: a.\nThe published code's: b.\nOurs: c."
    assert parts_of(whole) == ["a.", "b.", "c."]
    for label in LABELS:
        assert parts_of(whole.replace(label, "Others")) == []
    assert parts_of("A.\n\nOurs: c.\nThe paper's: a.\nThe published code's: b.") == []
