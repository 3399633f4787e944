"""The README holds: its reference is what --help prints, its code and its commands run.

`python tests/system/test_readme.py` rewrites the reference.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import site
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
import xarray as xr
from click.testing import CliRunner, Result

import mosaic
from mosaic_cli.main import COMMANDS, cli

README = Path(__file__).parents[2] / "README.md"
RUN = "from mosaic_cli.main import cli; cli()"
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
    assert written == reference(), "python tests/system/test_readme.py rewrites it"


def test_the_first_look_runs_on_a_default_run(
    invoke: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    invoke("run", "--steps", 5)
    first_look, drawn, from_python, of_ones_own = blocks("python")[:4]
    exec(first_look, {})
    printed = capsys.readouterr().out
    assert "denoised" in printed
    assert 0.5 < float(printed.split()[-1]) < 1.5
    exec(drawn, {})
    assert len(plt.get_fignums()) == 2
    plt.close("all")
    shown: dict[str, Any] = {}
    exec(from_python, shown)
    exec(of_ones_own, shown)
    assert json.loads(mosaic.open("own.nc").attrs["score_fingerprint"]) is not None


def test_the_engines_give_posteriors_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown: dict[str, Any] = {}
    exec(blocks("python")[8], shown)
    assert capsys.readouterr().out.startswith("torch.Size([2, 1, 16, 16])")
    assert shown["image"].max() < 100
    assert not torch.equal(shown["weighted"].mean(), shown["posterior"].mean())


def environment_below(folder: Path) -> dict[str, str]:
    """A Python environment of its own in which everything that is installed here can be imported, and pip installs."""
    venv.create(folder, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    here = "\n".join(f"import site; site.addsitedir({path!r})" for path in site.getsitepackages())
    (site_packages / "here.pth").write_text(here)
    for name, module in {"pip": "-m pip", "pytest": "-m pytest", "mosaic": f"-c {RUN!r}"}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{folder}/bin/python" {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**os.environ, **offline, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.system
def test_the_way_from_nothing_to_a_published_plugin(tmp_path: Path) -> None:
    """Every line of the section, in its order, in an environment of its own."""
    environment = environment_below(tmp_path / "env")
    (section,) = re.findall(r"^## Write a score plugin\n(.*?)^## ", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    output = ""
    steps = r"[Ll]et `(\S+)`\s+be\s+```python\n(.*?)^```|^    (\S[^\n]*)$"
    for file, code, line in re.findall(steps, section, flags=re.DOTALL | re.MULTILINE):
        if file:
            assert Path(file).exists()
            Path(file).write_text(code)
            continue
        line = line.replace("python -m build", "python -m build --no-isolation")  # there is no index to fetch from
        done = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        output += done.stdout
    assert Path("nearest-mean/mosaic_nearest_mean/__init__.py").read_text().count("\n") < 30
    assert f"\n{blocks('toml')[0].strip()}\n" in Path("nearest-mean/pyproject.toml").read_text()
    assert "neighbours" in output
    assert "mosaic-nearest-mean:nearest-mean" in output
    with mosaic.open("nearest.nc") as run:
        assert '"neighbours": 5' in run.attrs["configuration"]


def test_the_configuration_file_runs(invoke: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(blocks("toml")[1])
    result = invoke("run", "--config", "c.toml", "--steps", 2)
    assert result.exit_code == 0, result.output
    with mosaic.open("run-001.nc") as run:
        assert run.attrs["dataset_size"] == "500"


def commands() -> list[list[str]]:
    lines = re.findall(r"^    (?:pip install \. && )?(mosaic .*?)(?:  +#.*)?$", README.read_text(), flags=re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
def test_the_commands_run_in_the_order_of_the_page_and_els_predicts_the_network(
    invoke: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """With shorter trainings than on the page: median pearson_r of ELS above 0.8, and above that of IS."""
    kinds = ("run", "train", "calibrate", "compare", "leaderboard", "probe", "generalization", "plot", "report")
    # Other data, networks that take long, the reader's plugin, 3 GB of images.
    elsewhere = ("mnist", "reproduction/", "nearest-mean", "million.npy")
    embedded = [
        arguments
        for arguments in commands()
        if arguments[0] in kinds and not any(name in " ".join(arguments) for name in elsewhere)
    ]
    assert {arguments[0] for arguments in embedded} == set(kinds)
    assert sum(arguments[0] == "run" for arguments in embedded) >= 6
    for arguments in embedded:
        epochs = 1 if "resnet-digits-2" in arguments else 40  # no number of the second network is looked at
        shorter = " ".join(arguments).replace("--epochs 200", f"--epochs {epochs}").split()
        if arguments[0] == "leaderboard":
            shorter += ["--scores", "gaussian", "--samples", "2"]
        result = invoke(*shorter)
        assert result.exit_code == 0, (arguments, result.stderr)
    for arguments in (["plot", "run-001.nc", "--samples", "0,1"], ["inspect", "run-001.nc"]):
        assert " ".join(["mosaic", *arguments]) in README.read_text().replace("\n", " ")
        assert invoke(*arguments).exit_code == 0
    exec(blocks("python")[4], {})
    assert Path("mosaics.pdf").read_bytes().startswith(b"%PDF")
    exec(blocks("python")[5], {})
    assert "largest_tile" in capsys.readouterr().out
    with xr.open_dataset("comparison-001.nc") as actual:
        theory, ideal = actual["pearson_r_median"].sel(compared=["run", "baseline"]).values
        assert theory > 0.8
        assert theory > ideal
        assert float(actual["pearson_r_gain_low"]) > 0
    exec(blocks("python")[6], {})
    assert "pearson_r" in capsys.readouterr().out


@pytest.mark.system
@pytest.mark.filterwarnings("ignore:The best scale is")
def test_the_experiment_from_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("python")[7], {})
    assert "pearson_r_median" in capsys.readouterr().out


def test_the_commands_on_mnist_parse() -> None:
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
