"""The README and the pages of docs/ hold: their code and their commands run, in the order of each page.

A page with `continues: other/page` in its head is run after that page, in the same folder. Code cells are run where
the site is built.
"""

from __future__ import annotations

import os
import re
import shlex
import site
import subprocess
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
import xarray as xr
from click.testing import Result

import mosaic
from mosaic_cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = {path.relative_to(ROOT / "docs").with_suffix("").as_posix(): path for path in (ROOT / "docs").rglob("*.md")}
PAGES["README"] = README
RUN = "from mosaic_cli.main import cli; cli()"

# Other data, networks or measurements that take long, other processes, the reader's plugin, 3 GB of images.
ELSEWHERE = (
    "mnist",
    "cifar10",
    "mosaic reproduce",
    "reproduction/",
    "mosaic bench",
    "--scheduler",
    "tcp://",
    "nearest-mean",
    "million.npy",
)
PREDICTED = "how-to/predict-a-network"
QUICK = ("README",)


def blocks(page: str) -> list[tuple[str, str]]:
    """The languages and texts of a page's blocks, in their order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGES[page].read_text(), flags=re.DOTALL | re.MULTILINE)


def lines_of(text: str) -> list[str]:
    """The `mosaic` commands in a block, also those of code cells."""
    return re.findall(r"^(?:!|pip install \. && )?(mosaic .*?)(?:  +#.*)?$", text, flags=re.MULTILINE)


def commands(page: str) -> list[str]:
    """All `mosaic` commands of a page."""
    cells = re.findall(r"^!mosaic .*$", PAGES[page].read_text(), flags=re.MULTILINE)
    shown = [text for language, text in blocks(page) if language == "sh"]
    return lines_of("\n".join([*shown, *cells]))


def continued(page: str) -> str | None:
    """The page after which a page is run."""
    found = re.match(r"---\ncontinues: (\S+)\n---\n", PAGES[page].read_text())
    return found and found[1]


def steps(page: str) -> Iterator[tuple[str, str]]:
    """What of a page runs here: `mosaic` commands, line by line, and Python, block by block."""
    for language, text in blocks(page):
        lines = [text] if language == "python" else lines_of(text)
        if language in ("sh", "python"):
            yield from ((language, each) for each in lines if not any(name in each for name in ELSEWHERE))


def run_page(page: str, invoke: Callable[..., Result]) -> None:
    """Run a page, with shorter trainings and smaller leaderboards than it has."""
    shared: dict[str, Any] = {"__name__": "__main__"}
    for language, text in steps(page):
        if language == "python":
            exec(text, shared)
            plt.close("all")
            continue
        epochs = 1 if "resnet-digits-2" in text else 40  # no number of the second network is looked at
        arguments = shlex.split(text.replace("--epochs 200", f"--epochs {epochs}"))[1:]
        if arguments[0] == "leaderboard":
            arguments += ["--scores", "gaussian", "--samples", "2"]
        result = invoke(*arguments)
        assert result.exit_code == 0, (page, text, result.stderr)


def following(page: str) -> list[str]:
    """A page and those that continue it."""
    return [page, *sorted(other for other in PAGES if continued(other) == page)]


RUNNING = sorted(
    page for page in PAGES if continued(page) is None and any(list(steps(each)) for each in following(page))
)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in QUICK else pytest.mark.system)
        for page in RUNNING
        if page not in (PREDICTED, "explanation/engines")  # which have tests of their own
    ],
)
def test_a_page_runs(page: str, invoke: Callable[..., Result]) -> None:
    for each in following(page):
        run_page(each, invoke)


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
@pytest.mark.filterwarnings("ignore:The best scale is")
def test_els_predicts_the_network_of_the_page(invoke: Callable[..., Result]) -> None:
    """With a shorter training than on the page: median pearson_r of ELS above 0.8, and above that of IS."""
    pages = following(PREDICTED)
    assert len(pages) >= 3
    for each in pages:
        run_page(each, invoke)
    with xr.open_dataset("comparison-001.nc") as actual:
        theory, ideal = actual["pearson_r_median"].sel(compared=["run", "baseline"]).values
        assert theory > 0.8
        assert theory > ideal
        assert float(actual["pearson_r_gain_low"]) > 0


def test_the_pages_have_steps_that_run() -> None:
    ran = {text.split()[1] for page in PAGES for language, text in steps(page) if language == "sh"}
    assert {"run", "train", "calibrate", "compare", "leaderboard", "probe", "generalization", "plot", "report"} <= ran
    assert {"README", "explanation/engines", "how-to/samplers-and-flows", "tutorials/your-images"} <= set(RUNNING)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_command_of_a_page_parses(page: str) -> None:
    for line in commands(page):
        name, *arguments = shlex.split(line)[1:]
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None, line
        command.make_context(name, list(arguments))


def test_every_flag_that_pages_name_exists() -> None:
    flags = {
        flag
        for name in COMMANDS
        for parameter in cli.get_command(None, name).params  # type: ignore[arg-type, union-attr]
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    others = {"--help", "--version", "--nthreads", "--port", "--outdir"}
    for page, path in PAGES.items():
        named = set(re.findall(r"`(?:mosaic [\w-]+ )?(--[a-z][\w-]*)", path.read_text()))
        assert named <= flags | others, page


def test_the_engines_give_posteriors_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown: dict[str, Any] = {}
    (text,) = [text for language, text in blocks("explanation/engines") if language == "python"]
    exec(text, shown)
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
    """Every line of the tutorial, in its order, in an environment of its own."""
    environment = environment_below(tmp_path / "env")
    page = PAGES["tutorials/plugin"].read_text()
    output = ""
    for file, code, lines in re.findall(
        r"[Ll]et `(\S+)`\s+be\s+```python\n(.*?)^```|^```sh\n(.*?)^```", page, re.S | re.M
    ):
        if file:
            assert Path(file).exists()
            Path(file).write_text(code)
        for line in lines.splitlines():
            line = line.replace("python -m build", "python -m build --no-isolation")  # there is no index to fetch from
            done = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            output += done.stdout
    assert Path("nearest-mean/mosaic_nearest_mean/__init__.py").read_text().count("\n") < 30
    (entry,) = [text for language, text in blocks("tutorials/plugin") if language == "toml"]
    assert f"\n{entry.strip()}\n" in Path("nearest-mean/pyproject.toml").read_text()
    assert "neighbours" in output
    assert "mosaic-nearest-mean:nearest-mean" in output
    with mosaic.open("nearest.nc") as run:
        assert '"neighbours": 5' in run.attrs["configuration"]


def test_the_configuration_file_runs(invoke: Callable[..., Result], tmp_path: Path) -> None:
    (text,) = [text for language, text in blocks("how-to/resuming") if language == "toml"]
    (tmp_path / "c.toml").write_text(text)
    result = invoke("run", "--config", "c.toml", "--steps", 2)
    assert result.exit_code == 0, result.output
    with mosaic.open("run-001.nc") as run:
        assert run.attrs["dataset_size"] == "500"


def test_the_readme_is_short_and_its_links_are_there() -> None:
    text = README.read_text()
    assert len(text.encode()) <= 8_000
    for target in re.findall(r"\]\((?!https?:)([^)#]*)\)", text):
        assert (README.parent / target).exists(), target
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < 1_000_000
