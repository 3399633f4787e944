"""Real distributions in a folder of their own, and the command line and pytest with that folder on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLI = ["-c", "from mosaic_cli.main import cli; cli(prog_name='mosaic')"]
MOSAIC = [sys.executable, *CLI]


def install(source: Path, site: Path, wheels: Path) -> None:
    """Build a wheel of a distribution and unpack it into a folder, without what it depends on."""
    build = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)


def call_mosaic(site: Path, *arguments: object, disable: str = "") -> subprocess.CompletedProcess[str]:
    """Call the command line with a folder of distributions on the path."""
    environment = {**os.environ, "PYTHONPATH": str(site), "MOSAIC_DISABLE_PLUGINS": disable}
    command = [sys.executable, *CLI, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def run_tests(site: Path, *folders: Path) -> str:
    """Run the tests of distributions as their authors would; gives what pytest prints."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [*command, *map(str, folders)], env=environment, cwd=folders[0], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
