"""Options of plugins."""

from __future__ import annotations

import pytest
from pydantic import Field

import mosaic
from mosaic.interfaces.options import describe_options


class Options(mosaic.Options):
    number: int = Field(3, ge=1, le=9, description="A number.")
    pair: tuple[float, float] | None = Field(None, description="Two numbers.")
    words: list[str] = Field([], description="Words.")
    seed: int = Field(0, description="A seed.")

    def unused(self) -> dict[str, str]:
        return {"pair": "number=9"} if self.number == 9 else {}


def test_options_take_what_a_user_types() -> None:
    options = Options.parse({"number": "4", "pair": "0, 1.5", "words": "a,b"}, "x")
    assert (options.number, options.pair, options.words) == (4, (0.0, 1.5), ["a", "b"])


def test_an_option_that_is_not_used_may_have_its_default() -> None:
    assert Options.parse({"number": 9, "pair": None}, "x").pair is None
    assert Options.parse({"number": 8, "pair": "1,2"}, "x").pair == (1, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"numbr": 1}, "x .*'numbr'.*'number'"),
        ({"number": "0"}, "x.*'number'.*'0'.*1"),
        ({"number": "many"}, "'many'"),
        ({"pair": "1"}, "pair"),
        ({"seed": 2**64}, "x: seed .*64"),
        ({"number": 9, "pair": "1,2"}, "x: pair=.*1.0, 2.0.* is not used with number=9.*none"),
        ({"seed": str(10**30)}, "x: seed .*64"),
        ({"number": 10**5000}, "number"),
        (3, "^x: "),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(mosaic.UsageError, match=message):
        Options.parse(values, "x")


def test_options_are_described_for_the_table() -> None:
    rows = {row["name"]: row for row in describe_options(Options)}
    assert rows["number"] == {
        "name": "number",
        "type": "integer",
        "default": "3",
        "bounds": ">= 1, <= 9",
        "description": "A number.",
    }
    assert rows["pair"]["type"] == "number,number"
    assert rows["pair"]["default"] == "none"
