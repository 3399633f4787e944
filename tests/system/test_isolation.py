"""Plugins that are wrong harm nobody else: one real distribution with a fault in each of its plugins."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from distributions import call_mosaic, install

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quick_processes")]
SCORE = '''
import mosaic


class Mean(mosaic.ScoreModel):
    """The mean image."""

    name = "{name}"

    def denoise(self, x, level, labels=None, scale=0):
        return self.dataset.images.mean(0).to(x).expand_as(x)
'''
HOOK = """

@mosaic.hookimpl
def {name}({argument}):
    {body}
"""
REGISTER = HOOK.format(name="register_scores", argument="register", body="register(Mean)")
# name of the plugin: its module, and a value in what `mosaic plugins` says of it
FAULTS: dict[str, tuple[str, str]] = {
    "fails-on-import": ("raise OSError('disk on fire')", "OSError: disk on fire"),
    "lacks-a-module": ("import nowhere.to_be_found", "ModuleNotFoundError: No module named 'nowhere'"),
    "exits-on-import": ("import sys\nsys.exit(7)", "SystemExit: 7"),
    "raises-in-hook": (
        SCORE.format(name="raiser")
        + HOOK.format(name="register_scores", argument="register", body="raise KeyError('lost')"),
        "KeyError: 'lost'",
    ),
    "wrong-signature": (
        SCORE.format(name="signed") + HOOK.format(name="register_scores", argument="registry", body="pass"),
        "registry",
    ),
    "bare-hook": (
        SCORE.format(name="bare") + "\n\ndef register_scores(register):\n    register(Mean)\n",
        "@mosaic.hookimpl",
    ),
    "unknown-hook": (
        SCORE.format(name="hooked") + HOOK.format(name="register_score", argument="register", body="register(Mean)"),
        "'register_scores'",
    ),
    "takes-a-name": (SCORE.format(name="els") + REGISTER, "mosaic-diffusion:machines"),
    "registers-half": (SCORE.format(name="half") + REGISTER + "    raise ValueError('then fails')\n", "then fails"),
}
SOUND = {
    "talks": "print('hello from a plugin')\n" + SCORE.format(name="talks") + REGISTER,
    "sound": SCORE.format(name="sound") + REGISTER,
    "slow": "import time\ntime.sleep(1.1)\n" + SCORE.format(name="slow") + REGISTER,
    "switched-off": SCORE.format(name="switched-off") + REGISTER,
}
COMMANDS = '''
import click


@click.command()
@click.argument("name")
def hello(name):
    """Greet."""
    click.echo(f"hello {name}")


@click.command()
def refuse():
    """Refuse."""
    import mosaic

    raise mosaic.UsageError("not like this")


not_a_command = 3
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the distribution is installed."""
    work = tmp_path_factory.mktemp("faulty")
    package = work / "source" / "mosaic_faulty"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "commands.py").write_text(COMMANDS)
    entries = []
    for name, text in {**{name: text for name, (text, _) in FAULTS.items()}, **SOUND}.items():
        module = name.replace("-", "_")
        (package / f"{module}.py").write_text(text)
        entries.append(f'{name} = "mosaic_faulty.{module}"')
    (work / "source" / "pyproject.toml").write_text(
        "\n".join(
            [
                '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"',
                '[project]\nname = "mosaic-faulty"\nversion = "3.1"',
                "[project.entry-points.mosaic]",
                *entries,
                '[project.entry-points."mosaic.commands"]',
                'hello = "mosaic_faulty.commands:hello"',
                'refuse = "mosaic_faulty.commands:refuse"',
                'run = "mosaic_faulty.commands:hello"',
                'nothing = "mosaic_faulty.commands:not_a_command"',
                'missing = "mosaic_faulty.commands:gone"',
            ]
        )
    )
    install(work / "source", work / "site", work / "wheels")
    return work / "site"


def run(site: Path, *arguments: str, disable: str = "switched-off,slow") -> subprocess.CompletedProcess[str]:
    return call_mosaic(site, *arguments, disable=disable)


@pytest.fixture(scope="module")
def plugins(site: Path) -> dict[str, dict[str, Any]]:
    """The rows of `mosaic plugins --json` about the distribution's plugins, by name."""
    result = run(site, "plugins", "--json", disable="switched-off")
    assert result.returncode == 0, result.stderr
    rows = [row for row in json.loads(result.stdout) if row["distribution"] == "mosaic-faulty"]
    assert {row["version"] for row in rows} == {"3.1"}
    return {row["key"].partition(":")[2]: row for row in rows}


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_plugin_that_is_wrong_is_named_with_what_is_wrong(plugins: dict[str, dict[str, Any]], name: str) -> None:
    row = plugins[name]
    assert row["status"] == "broken"
    assert FAULTS[name][1] in row["error"]
    assert f"MOSAIC_DISABLE_PLUGINS=mosaic-faulty:{name}" in row["remedy"]
    assert row["provides"] == []


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("fails-on-import", "mosaic-faulty"),
        ("lacks-a-module", "'nowhere'"),
        ("takes-a-name", "'mosaic-faulty:els'"),
        ("run", "name"),
    ],
)
def test_what_can_be_done_about_it_is_said(
    site: Path, plugins: dict[str, dict[str, Any]], name: str, remedy: str
) -> None:
    assert remedy in plugins[name]["remedy"].partition(";")[0]


def test_what_a_wrong_plugin_registered_cannot_be_had(site: Path) -> None:
    for name in ("half", "raiser"):
        result = run(site, "run", "--score", name, "--steps", "1")
        assert result.returncode == 3
        assert "mosaic-faulty:registers-half" in result.stderr
    # A taken name goes to its first owner; the other is had by its distribution's.
    assert "from mosaic-diffusion:machines" in run(site, "show", "score", "els").stdout
    assert run(site, "show", "score", "mosaic-faulty:els").stdout.startswith("score mosaic-faulty:els")


def test_the_sound_plugins_of_the_same_distribution_work(
    site: Path, plugins: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert plugins["sound"]["status"] == "active"
    assert plugins["sound"]["provides"] == ["score:sound"]
    result = run(site, "run", "--score", "sound", "--steps", "2", "--samples", "1")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run-001.nc").exists()


def test_a_slow_import_is_measured_and_reported(site: Path, plugins: dict[str, dict[str, Any]]) -> None:
    assert plugins["slow"]["status"] == "active"
    assert plugins["slow"]["seconds"] >= 1.1
    assert plugins["sound"]["seconds"] < 1
    output = run(site, "doctor", disable="switched-off").stdout
    assert re.search(r"^plugin mosaic-faulty:slow: active\b.*\d\.\d s$", output, re.MULTILINE)
    assert "plugin mosaic-faulty:fails-on-import: broken: OSError: disk on fire (" in output
    result = run(site, "plugins", disable="switched-off,swiched-of")
    assert result.stderr.count("MOSAIC_DISABLE_PLUGINS") == 1
    assert "'swiched-of'" in result.stderr
    (broken,) = (part for part in result.stdout.split("\n\n") if part.startswith("mosaic-faulty:lacks-a-module"))
    assert "ModuleNotFoundError" in broken
    assert plugins["lacks-a-module"]["remedy"] in broken
    assert re.search(r"^plugin mosaic-faulty:run: broken: .*'run'", output, re.MULTILINE)


def test_a_plugin_that_is_switched_off_is_not_imported(site: Path, plugins: dict[str, dict[str, Any]]) -> None:
    assert plugins["switched-off"]["status"] == "disabled"
    result = run(site, "run", "--score", "switched-off", "--steps", "1")
    assert result.returncode == 3
    assert "MOSAIC_DISABLE_PLUGINS" in result.stderr
    assert run(site, "show", "score", "switched-off", disable="slow").returncode == 0


def test_a_distribution_adds_a_command(site: Path) -> None:
    assert run(site, "hello", "world").stdout == "hello world\n"
    assert run(site, "hello", "world", disable="mosaic-faulty").returncode == 2
    output = run(site, "--help").stdout
    (line,) = [line for line in output.splitlines() if line.split()[:1] == ["hello"]]
    assert "mosaic-faulty" in line


def test_an_error_of_mosaic_in_a_foreign_command_is_a_sentence(site: Path) -> None:
    result = run(site, "refuse")
    assert (result.returncode, result.stderr) == (2, "Error: not like this\n")


def test_a_foreign_command_cannot_replace_a_built_in_command(site: Path, plugins: dict[str, dict[str, Any]]) -> None:
    assert "--score" in run(site, "run", "--help").stdout
    assert plugins["run"]["status"] == "broken"
    assert "'run'" in plugins["run"]["error"]


@pytest.mark.parametrize(("name", "value"), [("nothing", "is 3,"), ("missing", "AttributeError")])
def test_a_command_that_is_wrong_says_so(site: Path, plugins: dict[str, dict[str, Any]], name: str, value: str) -> None:
    result = run(site, name)
    assert result.returncode == 3
    assert value in result.stderr
    assert value in plugins[name]["error"]
    assert run(site, "list").returncode == 0
