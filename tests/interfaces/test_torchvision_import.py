"""The import of torchvision beside a torch that its operators do not fit: packages of that name, in processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
from mosaic.interfaces.torchvision_import import import_torchvision

UNFIT = """
import torch
for needed in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, needed):
        raise RuntimeError(f"operator torchvision::{needed} does not exist")
"""

PROBE = """
import sys
import mosaic
from mosaic.interfaces.torchvision_import import import_torchvision
try:
    module = import_torchvision()
    print(module.__name__, module.datasets.WHERE, import_torchvision() is module)
except mosaic.DataError as error:
    print(f"DataError: {error}")
"""


def imported(folder: Path, content: str) -> str:
    """What comes of the import where the package named torchvision has this content."""
    package = folder / "packages" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(content)
    (package / "datasets.py").write_text("WHERE = 'here'\n")
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{PROBE}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.system
def test_operators_that_are_missing_are_defined(tmp_path: Path) -> None:
    assert imported(tmp_path, UNFIT) == "torchvision here True"


@pytest.mark.system
def test_what_still_fails_is_refused_with_its_reason(tmp_path: Path) -> None:
    actual = imported(tmp_path, "raise RuntimeError('undefined symbol: _Z5hello')")
    assert actual.startswith("DataError")
    assert "undefined symbol: _Z5hello" in actual


def test_the_package_here_is_imported_once_with_its_data_sets() -> None:
    torchvision = import_torchvision()
    assert torchvision is import_torchvision() is sys.modules["torchvision"]
    assert torchvision.datasets is sys.modules["torchvision.datasets"]


def test_torchvision_that_cannot_be_imported_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ImportError("No module named 'torchvision'")

    monkeypatch.setattr("mosaic.interfaces.torchvision_import._import", refuse)
    with pytest.raises(mosaic.DataError, match="'torchvision'"):
        import_torchvision.__wrapped__()
