"""Settings as keywords of functions: signatures, docstrings and types are those of the configurations.

`python tests/run/test_configuration.py` writes the types again.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mosaic
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.interfaces.signatures import own_settings
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.run.configuration import Configuration

MODELS: dict[Callable[..., Any], type[Configuration]] = {
    mosaic.run: mosaic.RunConfig,
    mosaic.train: mosaic.TrainConfig,
    mosaic.calibrate: CalibrationConfig,
    mosaic.leaderboard: LeaderboardConfig,
    mosaic.reproduce: ReproduceConfig,
}
WRITES = "    # `python tests/run/test_configuration.py` writes these from the fields above.\n"
functions = pytest.mark.parametrize("function", MODELS, ids=lambda function: function.__name__)


def typed(function: Callable[..., Any]) -> tuple[Path, str, str]:
    """The file of a function's configuration, its text, and its text as it must be."""
    model = MODELS[function]
    file = Path(inspect.getfile(model))
    written = file.read_text()
    fields = "".join(
        f"    {name}: {model.accepts(name)}\n".replace("'", '"')
        for name in own_settings(inspect.unwrap(function), model)
    )
    return file, written, written[: written.index(WRITES)] + WRITES + fields


@functions
def test_the_types_of_settings_are_those_of_the_fields(function: Callable[..., Any]) -> None:
    _, written, right = typed(function)
    assert written == right, "python tests/run/test_configuration.py writes it"


@functions
def test_a_signature_has_every_setting_with_its_default(function: Callable[..., Any]) -> None:
    parameters, model = inspect.signature(function).parameters, MODELS[function]
    assert not any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    assert model.model_fields.keys() <= parameters.keys()
    for name in own_settings(inspect.unwrap(function), model):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == model.model_fields[name].default


@functions
def test_a_docstring_describes_every_setting_before_what_is_returned(function: Callable[..., Any]) -> None:
    document, model = inspect.getdoc(function), MODELS[function]
    assert document is not None
    arguments, settings, _ = re.split(r"^(?:Other Parameters|Returns)\n-+\n", document, flags=re.MULTILINE)
    described = " ".join(settings.split())
    for name in own_settings(inspect.unwrap(function), model):
        assert f"{name} : {model.accepts(name)} {model.model_fields[name].description}" in described
        assert not re.search(rf"^{name}\b", arguments, flags=re.MULTILINE)
    assert max(map(len, document.splitlines())) <= 120


def test_a_setting_says_that_it_takes_lists_and_objects_of_torch() -> None:
    assert {name: mosaic.RunConfig.accepts(name) for name in ("labels", "score", "steps", "score_options")} == {
        "labels": "str | Values | None",
        "score": "str",
        "steps": "int",
        "score_options": "Mapping[str, Any]",
    }
    assert mosaic.RunConfig.accepts("device") == "str | torch.device"
    assert mosaic.RunConfig.accepts("dtype").endswith(" | torch.dtype")


if __name__ == "__main__":
    for function in MODELS:
        file, _, right = typed(function)
        file.write_text(right)
