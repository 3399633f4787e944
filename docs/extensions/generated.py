"""Directives that write reference pages from the code, so that no second copy of it can go out of date."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective

import mosaic
from mosaic.errors import ExitCode
from mosaic.interfaces.options import describe_options
from mosaic.registry.loading import registry
from mosaic.storage import schema


class Generated(SphinxDirective):
    """A directive whose lines of reStructuredText come from the code."""

    has_content = True
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def names(self) -> list[str]:
        return " ".join(self.content).split()


def table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: str) -> Iterator[str]:
    """Lines of a table; a cell is one line."""
    yield from ("", ".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for row in (header, *rows):
        yield from (f"   {'* -' if number == 0 else '  -'} {cell}" for number, cell in enumerate(row))
    yield ""


def code(text: str) -> str:
    return f"``{text}``" if text else ""


def titled(title: str, under: str) -> tuple[str, ...]:
    return ("", title, under * len(title), "")


class Api(Generated):
    """Public names: a table of them, then each with its docstring. Every public name must be on one page."""

    def lines(self) -> Iterator[str]:
        self.env.metadata[self.env.docname]["api"] = " ".join(
            [self.env.metadata[self.env.docname].get("api", ""), *self.names()]
        )
        yield from (".. autosummary::", "   :nosignatures:", "")
        yield from (f"   mosaic.{name}" for name in self.names())
        for name in self.names():
            yield ""
            value = getattr(mosaic, name)
            if isinstance(value, type):
                yield from (f".. autoclass:: mosaic.{name}", "   :members:")
            else:
                yield f".. auto{'function' if callable(value) else 'data'}:: mosaic.{name}"


class Settings(Generated):
    """The fields of a configuration."""

    def lines(self) -> Iterator[str]:
        (path,) = self.names()
        module, _, name = path.rpartition(".")
        rows = describe_options(getattr(importlib.import_module(module), name))
        return table(
            ("setting", "what", "default", "type"),
            ((code(r["name"]), escaped(r["description"]), code(r["default"]), escaped(r["type"])) for r in rows),
            "20 50 15 15",
        )


class Schema(Generated):
    """Every variable, coordinate and attribute of every kind of file."""

    def lines(self) -> Iterator[str]:
        for name, variables in schema.TABLES.items():
            yield from titled(name, "~")
            rows = (
                (code(key), escaped(each.description), ", ".join(each.dims), "" if each.units == "1" else each.units)
                for key, each in variables.items()
            )
            yield from table(("variable", "what", "dimensions", "unit"), rows, "22 45 25 8")
        yield from titled("Attributes of the root", "~")
        yield from table(
            ("attribute", "what"), ((code(key), escaped(text)) for key, text in schema.ATTRIBUTES.items()), "25 75"
        )


class Registered(Generated):
    """Every plugin of a kind: what its docstring says, and its options."""

    def lines(self) -> Iterator[str]:
        (kind,) = self.names()
        known = registry()
        classes: dict[type, list[str]] = {}
        for name in known.names(kind):
            if known.owner(kind, name).startswith("mosaic-diffusion:"):
                classes.setdefault(known.get(kind, name), []).append(name)
        for cls, names in classes.items():
            yield from titled(f"{code(cls.name)} ({kind})", "~")  # type: ignore[attr-defined]
            if others := [code(name) for name in names if name != cls.name]:  # type: ignore[attr-defined]
                yield from (f"Also {', '.join(others)}.", "")
            owner = cls.name if kind == "metric" else kind  # type: ignore[attr-defined]
            whose = r"^(The paper's|The published code's|Ours): "
            documented = re.sub(whose, r"\n**\1:** ", inspect.getdoc(cls) or "", flags=re.MULTILINE)
            text = str(NumpyDocstring(documented, self.config)).splitlines()
            escape_bars(self.env.app, "class", cls.__name__, cls, None, text)
            yield from text
            if rows := describe_options(cls.Options):  # type: ignore[attr-defined]
                yield from table(
                    ("option", "what", "default", "type", "bounds"),
                    (
                        (
                            code(f"{owner}.{row['name']}"),
                            escaped(row["description"]),
                            code(row["default"]),
                            escaped(row["type"]),
                            code(row["bounds"]),
                        )
                        for row in rows
                    ),
                    "20 40 13 15 12",
                )


class Commands(Generated):
    """Every command of the command line, with its options."""

    def lines(self) -> Iterator[str]:
        from mosaic_cli.main import COMMANDS

        for name, (module, _) in COMMANDS.items():
            yield from ("", f".. click:: {module}:command", f"   :prog: mosaic {name}", "   :nested: full", "")


class ExitCodes(Generated):
    """The exit codes, with the errors that give them."""

    def lines(self) -> Iterator[str]:
        errors = {
            each.exit_code: each
            for each in (mosaic.MosaicError, mosaic.UsageError, mosaic.PluginError, mosaic.DataError)
        }
        rows = []
        for each in ExitCode:
            error = errors.get(each)
            rows.append((str(int(each)), each.name.lower(), f":py:class:`mosaic.{error.__name__}`" if error else ""))
        return table(("code", "name", "error in Python"), rows, "15 30 55")


def escaped(text: str) -> str:
    """Text of the code as reStructuredText, in which nothing but backticks means anything."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*|_])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


ROLE = XRefRole()


def documented(path: list[str]) -> bool:
    """Whether a public name, or a member of one, has an entry of its own."""
    value: Any = mosaic
    if path[0] not in mosaic.__all__:
        return False
    for name in path:
        value = inspect.getattr_static(value, name, None) if value is not mosaic else getattr(mosaic, name)
    return len(path) == 1 or callable(value) or isinstance(value, (property, classmethod, staticmethod))


def code_or_link(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """What docstrings have in backticks: a link where it is a public name, else code."""
    whole = text if text.startswith("mosaic.") else f"mosaic.{text}"
    names = re.fullmatch(r"mosaic((\.\w+)+)", whole)
    if not names or not (text == whole or text[0].isupper()) or not documented(names[1].split(".")[1:]):
        return [nodes.literal(rawtext, text)], []
    return ROLE("py:obj", rawtext, f"{text} <{whole}>", lineno, inliner, {}, [])


def escape_bars(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Bars in docstrings are those of norms, not of substitutions."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else line.replace("|", "\\|") for line in lines]


def check_api(app: Sphinx, env: BuildEnvironment) -> None:
    """Every public name is documented on one page."""
    listed = " ".join(data.get("api", "") for data in env.metadata.values()).split()
    missing, twice = set(mosaic.__all__) - set(listed), {name for name in listed if listed.count(name) > 1}
    if missing or twice:
        raise ExtensionError(f"docs/reference/api: not listed: {sorted(missing)}; listed twice: {sorted(twice)}")


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in {
        "api": Api,
        "settings": Settings,
        "schema": Schema,
        "registered": Registered,
        "commands": Commands,
        "exit-codes": ExitCodes,
    }.items():
        app.add_directive(name, directive)
    app.add_role("code-or-link", code_or_link)
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("env-check-consistency", check_api)
    return {"parallel_read_safe": True}
