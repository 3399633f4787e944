"""The notebook runs, and is stored as it runs: `python tests/system/test_notebook.py` writes it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "own_network.ipynb"
PLACE = re.compile(r"/\S*/ipykernel_\d+/\d+\.py")  # of a cell, in warnings


def executed(folder: Path, notebook: Any) -> Any:
    """A notebook, executed in a folder."""
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def kinds(notebook: Any) -> list[list[str]]:
    """What each cell of code shows: kinds of data, without bars that have vanished."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [[output for output in cell.outputs if output.output_type in SHOWN] for cell in cells]
    return [sorted({kind for output in outputs for kind, value in output.data.items() if value}) for outputs in shown]


SHOWN = ("execute_result", "display_data")


@pytest.mark.system
@pytest.mark.filterwarnings("ignore")  # of the libraries that run it
def test_the_notebook_runs_and_shows_what_is_stored(tmp_path: Path) -> None:
    """With fewer steps of its training and of its runs."""
    shorter = nbformat.read(NOTEBOOK, 4)
    for long, short in {"steps = Net(), 600": "steps = Net(), 60", "steps=200": "steps=40"}.items():
        (cell,) = (cell for cell in shorter.cells if long in cell.source)
        cell.source = cell.source.replace(long, short)
    assert kinds(executed(tmp_path, shorter)) == kinds(nbformat.read(NOTEBOOK, 4))


def test_the_notebook_is_stored_with_its_results_and_is_small() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert sum("image/png" in kinds for kinds in kinds(notebook)) >= 6
    assert NOTEBOOK.stat().st_size < 600_000
    assert not PLACE.search(NOTEBOOK.read_text())
    assert tempfile.gettempdir() not in NOTEBOOK.read_text()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        whole = executed(Path(made), nbformat.read(NOTEBOOK, 4))
    for cell in whole.cells:
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = PLACE.sub("notebook", output.text)
    text = nbformat.writes(whole).replace(f"{Path(made).resolve()}/", "")
    NOTEBOOK.write_text(text + "\n", encoding="utf-8")
