"""The README holds: its reference is what --help prints, its code and its commands run.

`python tests/test_readme.py` rewrites the reference.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from click.testing import CliRunner, Result

import mosaic
import mosaic.testing
from mosaic_cli.main import COMMANDS, cli

README = Path(__file__).parent.parent / "README.md"
MARKS = "<!-- reference -->\n", "<!-- /reference -->"


def reference() -> str:
    """The command-line reference, from --help."""
    blocks = []
    for command in ([], *([name] for name in COMMANDS)):
        result = CliRunner().invoke(cli, [*command, "--help"], prog_name="mosaic", terminal_width=100)
        assert result.exit_code == 0
        blocks.append(f"### `{' '.join(['mosaic', *command])}`\n\n```text\n{result.output.rstrip()}\n```\n")
    return "\n".join(blocks)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_reference_is_what_help_prints() -> None:
    _, written, _ = re.split("|".join(map(re.escape, MARKS)), README.read_text())
    assert written == reference(), "python tests/test_readme.py rewrites it"


def test_the_first_look_runs_on_a_default_run(
    invoke: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    invoke("run", "--steps", 5)
    first_look, from_python = blocks("python")[:2]
    exec(first_look, {})
    printed = capsys.readouterr().out
    assert "denoised" in printed
    assert 0.5 < float(printed.split()[-1]) < 1.5
    exec(from_python, {})


def test_the_engines_give_posteriors_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown: dict[str, Any] = {}
    exec(blocks("python")[5], shown)
    assert capsys.readouterr().out.startswith("torch.Size([2, 1, 16, 16])")
    assert shown["image"].max() < 100
    assert not torch.equal(shown["weighted"].mean(), shown["posterior"].mean())


def test_the_plugin_is_under_thirty_lines_and_works_as_a_distribution(tmp_path: Path) -> None:
    module, project = blocks("python")[6], blocks("toml")[0]
    assert module.count("\n") < 30
    site = tmp_path / "site"
    info = site / "mosaic_nearest-1.0.dist-info"
    info.mkdir(parents=True)
    entries = project[project.index("[project.entry-points.mosaic]") :].replace(
        "[project.entry-points.mosaic]", "[mosaic]"
    )
    (site / "mosaic_nearest.py").write_text(module)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mosaic-nearest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries.replace('"', ""))
    command = [sys.executable, "-c", "from mosaic_cli.main import cli; cli()", "run", "-q", "--score", "nearest"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([*command, "-o", "score.neighbours=5", "--steps", "3"], env=environment, check=True)
    with mosaic.open("run-001.nc") as run:
        assert '"neighbours": 5' in run.attrs["configuration"]


def test_the_plugin_as_shown_fails_the_two_checks_that_are_named() -> None:
    shown: dict[str, Any] = {}
    exec(blocks("python")[6], shown)
    exec(blocks("python")[7], shown)
    wrong = []
    for check in mosaic.testing.checks_of("score", shown["Nearest"], options={"neighbours": 2}):
        try:
            check()
        except mosaic.testing.NotConforming:
            wrong.append(check.name)
    assert wrong == ["x0hat_at_infinite_noise_is_the_mean", "an_unknown_label_is_refused"]


def test_the_configuration_file_runs(invoke: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(blocks("toml")[1])
    result = invoke("run", "--config", "c.toml", "--steps", 2)
    assert result.exit_code == 0, result.output
    with mosaic.open("run-001.nc") as run:
        assert run.attrs["dataset_size"] == "500"


def commands() -> list[list[str]]:
    lines = re.findall(r"^    (?:pip install \. && )?(mosaic .*?)(?:  +#.*)?$", README.read_text(), flags=re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


def test_the_commands_run_in_the_order_of_the_page_and_els_predicts_the_network(
    invoke: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a shorter training than on the page: median pearson_r of ELS above 0.8, and above that of IS."""
    kinds = ("run", "train", "calibrate", "compare", "plot", "report")
    embedded = [arguments for arguments in commands() if "mnist" not in " ".join(arguments) and arguments[0] in kinds]
    assert {arguments[0] for arguments in embedded} == set(kinds)
    assert sum(arguments[0] == "run" for arguments in embedded) >= 6
    for arguments in embedded:
        shorter = " ".join(arguments).replace("--max-time 90s", "--epochs 40").split()
        result = invoke(*shorter)
        assert result.exit_code == 0, (arguments, result.stderr)
    for arguments in (["plot", "run-001.nc", "--samples", "0,1"], ["inspect", "run-001.nc"]):
        assert " ".join(["mosaic", *arguments]) in README.read_text().replace("\n", " ")
        assert invoke(*arguments).exit_code == 0
    exec(blocks("python")[2], {})
    assert "largest_tile" in capsys.readouterr().out
    with xr.open_dataset("comparison-001.nc") as found:
        theory, ideal = found["pearson_r_median"].sel(compared=["run", "baseline"]).values
        assert theory > 0.8
        assert theory > ideal
        assert float(found["pearson_r_gain_low"]) > 0
    exec(blocks("python")[3], {})
    assert "pearson_r" in capsys.readouterr().out


def test_the_experiment_from_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("python")[4], {})
    assert "pearson_r_median" in capsys.readouterr().out


def test_the_commands_on_mnist_are_ones_that_parse() -> None:
    on_mnist = [arguments for arguments in commands() if "mnist" in arguments]
    assert len(on_mnist) >= 5
    for name, *arguments in on_mnist:
        cli.get_command(None, name).make_context(name, list(arguments))  # type: ignore[arg-type, union-attr]


def test_the_pictures_are_there() -> None:
    for target in re.findall(r"!\[.*?\]\((.*?)\)", README.read_text()):
        assert (README.parent / target).stat().st_size < 1_000_000


if __name__ == "__main__":
    before, _, after = re.split("|".join(map(re.escape, MARKS)), README.read_text())
    README.write_text(before + MARKS[0] + reference() + MARKS[1] + after)
