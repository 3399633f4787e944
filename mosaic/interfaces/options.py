"""Options of a plugin: a frozen pydantic model, validated when it is made."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import PurePath
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mosaic.errors import UsageError, did_you_mean, shown

__all__ = ["Options", "chosen_on", "describe_options"]

CHOSEN_ON = "chosen_on"  # in `json_schema_extra` of a field


class Options(BaseModel):
    """Base class of every plugin's `Options`.

    Give each field a description and bounds (`pydantic.Field(default, description=..., ge=..., le=...)`):
    `mosaic show` prints them. Instances are immutable, and unknown keys are refused.

    A default that was chosen by what it does on some networks or data says which, so that leaderboards and `mosaic
    show` can say so, too: `json_schema_extra={"chosen_on": "networks of MNIST"}`. A number that decides how exactly a
    theory is computed, and is no parameter of it, is marked by `json_schema_extra={"is_numerical": True}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        """Let the command line write a list as `1,2,3`; give the path of what has one, such as a checkpoint."""
        if not isinstance(values, Mapping):
            return values
        spelled = dict(values)
        for key, value in values.items():
            field = cls.model_fields.get(key)
            if field is not None and isinstance(value, str) and _is_list(field.annotation):
                spelled[key] = [item.strip() for item in value.split(",")]
            elif isinstance(value, PathLike) and not isinstance(value, PurePath):
                spelled[key] = fspath(value)
        return spelled

    @model_validator(mode="after")
    def _fit_64_bits(self) -> Self:
        """Refuse integers that neither seeds nor stored configurations hold."""
        for name, value in self:
            if isinstance(value, int) and not -(2**63) <= value < 2**64:
                raise ValueError(f"{name} is an integer of more than 64 bits")
        return self

    def unused(self) -> Mapping[str, str]:
        """Say which options have no effect as the others are, and why: `{"batch": "average=exact"}`.

        Any other value of these than the default is refused.
        """
        return {}

    @model_validator(mode="after")
    def _refuse_unused(self) -> Self:
        """Refuse an option that nothing would depend on."""
        for name, why in self.unused().items():
            default = type(self).model_fields[name].default
            if (value := getattr(self, name)) != default:
                raise ValueError(f"{name}={_text(value)} is not used with {why}; leave it at {_text(default)}")
        return self

    @classmethod
    def accepts(cls, name: str) -> str:
        """Write what a field takes as an annotation."""
        text = inspect.formatannotation(cls.model_fields[name].annotation)
        return text.replace("typing.", "").replace("dict[", "Mapping[")

    @classmethod
    def parse(cls, values: Mapping[str, Any], owner: str) -> Self:
        """Validate `values`; `owner` (for example `"score.els"`) is named in the error.

        Raises
        ------
        UsageError
            For an unknown key (with "did you mean"), or a value out of its bounds.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(_sentence(error.errors()[0], owner, list(cls.model_fields))) from None


def _is_list(annotation: Any) -> bool:
    """Tell whether an annotation is a tuple or list, or one of these or None."""
    return any(get_origin(variant) in (tuple, list) for variant in (annotation, *get_args(annotation)))


def _sentence(error: ErrorDetails, owner: str, known: list[str]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "options"
    if error["type"] == "extra_forbidden":
        allowed = f"It has: {', '.join(known)}." if known else "It has no options."
        return f"{owner} has no option '{key}'.{did_you_mean(key, known)} {allowed}"
    if error["type"] == "missing":
        return f"{owner} needs the option '{key}'."
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # what a validator of the whole model says
        return f"{owner}: {reason}."
    return f"{owner}: option '{key}' cannot be {shown(error['input'])}: {reason}."


def chosen_on(options: type[Options]) -> dict[str, str]:
    """Say on what defaults were chosen, by the names of the options that say so."""
    return {
        name: str(extra[CHOSEN_ON])
        for name, field in options.model_fields.items()
        for extra in [field.json_schema_extra]
        if isinstance(extra, dict) and CHOSEN_ON in extra
    }


def describe_options(options: type[Options]) -> list[dict[str, str]]:
    """Describe each option: its name, type, default, bounds and description, as text for a table."""
    schema, chosen = options.model_json_schema(), chosen_on(options)
    rows = []
    for name, field in options.model_fields.items():
        json = schema["properties"][name]
        default_from = f" Default chosen on {chosen[name]}." if name in chosen else ""
        variants = [v for v in json.get("anyOf", [json]) if v.get("type") != "null"]
        rows.append(
            {
                "name": name,
                "type": " | ".join(_type_of(v) for v in variants),
                "default": "required" if field.is_required() else _text(field.default),
                "bounds": ", ".join(filter(None, (_bounds_of(v) for v in variants))),
                "description": (field.description or "") + default_from,
            }
        )
    return rows


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _type_of(variant: Mapping[str, Any]) -> str:
    if "enum" in variant:
        return " | ".join(str(v) for v in variant["enum"])
    if "const" in variant:
        return str(variant["const"])
    if variant.get("type") == "array":
        items = variant.get("prefixItems") or [variant.get("items", {})]
        return ",".join(str(item.get("type", "any")) for item in items)
    return str(variant.get("format") or variant.get("type", "any"))


def _bounds_of(variant: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {variant[key]}" for key, sign in signs.items() if key in variant)
