"""Signatures and docstrings of functions that take the settings of a configuration as keywords."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from mosaic.interfaces.options import Options

__all__ = ["docstring_of", "own_settings", "signature_of"]

WIDTH = 112  # of a description, before it is indented


def own_settings(function: Callable[..., Any], model: type[Options]) -> list[str]:
    """Names of the settings that a function takes by its `**settings`; it may have arguments for others."""
    return [name for name in model.model_fields if name not in inspect.signature(function).parameters]


def signature_of(function: Callable[..., Any], model: type[Options]) -> inspect.Signature:
    """Signature of a function with a keyword for each field of the model in place of `**settings`."""
    signature = inspect.signature(function)
    named = [each for each in signature.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    settings = []
    for name in own_settings(function, model):
        field = model.model_fields[name]
        default = Parameter.empty if field.is_required() else field.default
        settings.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=model.accepts(name)))
    return signature.replace(parameters=[*named, *settings])


def docstring_of(function: Callable[..., Any], model: type[Options]) -> str:
    """Docstring of a function with the fields of the model described before what it returns."""
    lines = ["Other Parameters", "----------------"]
    for name in own_settings(function, model):
        field, description = model.model_fields[name], model.model_fields[name].description or ""
        if not field.is_required() and field.default not in (None, {}):
            description += f" Default: {field.default}."
        lines += [f"{name} : {model.accepts(name)}", *(f"    {line}" for line in textwrap.wrap(description, WIDTH))]
    text = inspect.cleandoc(function.__doc__ or "")
    before, returns, after = re.split(r"^(Returns\n-------\n)", text, maxsplit=1, flags=re.MULTILINE)
    return before + "\n".join(lines) + "\n\n" + returns + after
