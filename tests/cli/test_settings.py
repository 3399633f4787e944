"""Settings of a command: a flag for each field of its configuration, and what goes before what."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click
import pytest
import xarray as xr
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result
from distributions import MOSAIC
from pydantic import Field

import mosaic
from mosaic.run.settings import layered
from mosaic_cli.main import cli
from mosaic_cli.settings import configured, layers_of, settings

Invoke = Callable[..., Result]


class Config(mosaic.Options):
    """A configuration of a few fields, of which one has no default."""

    schedule: str = Field("cosine", description="Levels of `steps`.")
    schedule_options: dict[str, str] = Field(default_factory=dict, description="Options of the schedule.")
    steps: int = Field(20, description="Number of steps.")
    pace: Literal["slow", "fast"] = Field("slow", description="How fast.")
    checkpoint: str = Field(description="A folder.")


@click.command()
@settings(Config, without=("pace",))
def print_settings(**given: object) -> None:
    click.echo(json.dumps(given))


def test_settings_come_from_flag_then_file_then_environment(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOSAIC_STEPS", "2")
    monkeypatch.setenv("MOSAIC_SEED", "2")
    monkeypatch.setenv("MOSAIC_SAMPLES", "2")
    (tmp_path / "c.toml").write_text("seed = 3\nsamples = 3\n[score]\nname = 'ls'\nboundary = 'circular'\n")
    invoke("run", "--config", "c.toml", "--samples", 1, "--out", "a.nc")
    configuration = json.loads(xr.open_dataset("a.nc").attrs["configuration"])
    assert [configuration[key] for key in ("steps", "seed", "samples", "score")] == [2, 3, 1, "ls"]
    assert configuration["score_options"] == {"boundary": "circular", "engine": "auto"}


def test_what_is_resumed_goes_before_the_environment_and_after_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOSAIC_STEPS", "1")
    monkeypatch.setenv("MOSAIC_PACE", "fast")
    (tmp_path / "c.toml").write_text("steps = 3\n[schedule]\nname = 'linear'\n")
    kept = {"steps": 2, "schedule": "edm", "checkpoint": "net"}
    flags = {"steps": None, "checkpoint": None, "schedule": None}
    resolved = configured(Config, flags, ("schedule.t_max=5",), tmp_path / "c.toml", kept)
    assert resolved == Config(
        steps=3, schedule="linear", schedule_options={"t_max": "5"}, pace="fast", checkpoint="net"
    )
    assert configured(Config, {**flags, "steps": "4"}, (), tmp_path / "c.toml", kept).steps == 4
    assert configured(Config, flags, (), None, kept).steps == 2
    assert configured(Config, flags, (), None, {"checkpoint": "net"}).steps == 1


def test_a_flag_is_given_as_text_or_not_at_all_and_described_by_its_field() -> None:
    given = json.loads(CliRunner().invoke(print_settings, ["--steps", "many", "-o", "a.b=c"]).stdout)
    assert given == {"schedule": None, "steps": "many", "checkpoint": None, "options": ["a.b=c"], "config": None}
    described = {option.name: option for option in print_settings.params if isinstance(option, click.Option)}
    assert "pace" not in described
    assert described["schedule"].help == "Levels of --steps.  [default: cosine]"
    assert described["checkpoint"].help == "A folder.  [required]"
    assert (described["steps"].metavar, described["checkpoint"].metavar) == ("N", "DIR")


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(mosaic.UsageError, match="'checkpoint'"):
        configured(Config, {}, (), None)


def test_calibrate_marks_the_checkpoint_as_required() -> None:
    command = cli.get_command(click.Context(cli), "calibrate")
    assert command is not None
    (option,) = [option for option in command.params if option.name == "checkpoint"]
    assert isinstance(option, click.Option)
    assert (option.help or "").endswith("[required]")


def test_help_of_run_names_every_setting_without_loading_torch() -> None:
    code = (
        "import sys\nfrom mosaic_cli.main import cli\ntry: cli(['run', '--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for name in mosaic.RunConfig.model_fields:
        if not name.endswith("_options"):
            assert f"--{name.replace('_', '-')}" in output


def test_shell_completion_offers_commands_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, expected in (
        ("mosaic run --score e", "els"),
        ("mosaic run --dataset dig", "digits"),
        ("mosaic run --sampler ddp", "ddpm"),
        ("mosaic run --scales paper/ce", "paper/celeba-resnet-zeros"),
        ("mosaic ru", "run"),
    ):
        environment = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            offered = BashComplete(cli, {}, "mosaic", "_MOSAIC_COMPLETE").complete()
        assert f"plain,{expected}" in offered
    environment["_MOSAIC_COMPLETE"] = "bash_complete"  # as the shell asks for it
    result = subprocess.run(MOSAIC, env=environment, capture_output=True, text=True, check=True)
    assert "plain,run" in result.stdout


class ByName(mosaic.Options):
    """A configuration of which one setting may be given by names."""

    scales: str | dict[str, str] | None = Field(None, description="Scales.")


@click.command()
@settings(ByName)
def print_by_name(**flags: str | tuple[str, ...] | None) -> None:
    rest = {name: flags.pop(name) for name in ("options", "config")}
    layers = layers_of(ByName, flags, rest["options"] or (), None)  # type: ignore[arg-type]
    click.echo(json.dumps(layered(ByName, *layers).scales))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), None),
        (("a.nc",), "a.nc"),
        (("els=a.nc",), {"els": "a.nc"}),
        (("b.nc", "soft-els=a=b.nc"), {"*": "b.nc", "soft-els": "a=b.nc"}),
        (("./a=b.nc",), "./a=b.nc"),
        (('{"scales": [3], "noise_to_signal": [1]}',), '{"scales": [3], "noise_to_signal": [1]}'),
    ],
)
def test_a_flag_by_names_is_a_mapping_or_a_text(given: tuple[str, ...], expected: object) -> None:
    result = CliRunner().invoke(print_by_name, [part for text in given for part in ("--scales", text)])
    assert json.loads(result.stdout) == expected


@pytest.mark.parametrize("given", [("a.nc", "b.nc"), ("els=a.nc", "els=b.nc")])
def test_a_name_is_given_once(given: tuple[str, ...]) -> None:
    result = CliRunner().invoke(print_by_name, [part for text in given for part in ("--scales", text)])
    assert isinstance(result.exception, mosaic.UsageError)
    assert "b.nc" in str(result.exception)
