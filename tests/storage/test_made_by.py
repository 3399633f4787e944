"""What a result was made by: root attributes, read back for what rests on it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import torch

import mosaic
from mosaic.run.config import RunConfig
from mosaic.storage.made_by import IDLE, code_changed, code_digest, core_digest, made_by, record, versions_of
from mosaic.storage.schema import ATTRIBUTES
from mosaic.train.config import TrainConfig


def test_its_attributes_are_in_the_schema() -> None:
    output = made_by(torch.device("cpu"))
    assert set(output) <= set(ATTRIBUTES)
    assert output["torch_version"] == torch.__version__
    assert output["code"] == core_digest()
    assert "mosaic-diffusion" in output["plugins"]


def test_a_record_decodes_json_and_leaves_texts_as_they_are() -> None:
    attributes = {"configuration": '{"steps": 4}', "mosaic_version": "1.0", "code": "12345678", "other": "no matter"}
    assert record(attributes) == {"configuration": {"steps": 4}, "mosaic_version": "1.0", "code": "12345678"}


def test_a_run_made_by_other_code_is_recognised(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("is", tiny, samples=1, steps=1)
    assert not code_changed(run.attrs["code"])
    assert code_changed("0123456789abcdef")


def test_versions_name_the_owners_of_the_plugins_and_digest_foreign_code() -> None:
    for config in (RunConfig(), TrainConfig()):
        assert set(versions_of(config)) == {"mosaic-diffusion", "torch"}


def test_what_is_told_of_a_training_set_is_there_where_it_is_given(tiny: mosaic.DataSet) -> None:
    assert not [name for name in made_by() if name.startswith("dataset")]
    made = made_by(dataset=tiny)
    assert made["dataset_size"] == str(len(tiny))
    assert json.loads(made["dataset_classes"]) == list(tiny.classes)
    assert json.loads(made["dataset_range"]) == list(tiny.range)


def test_what_is_stored_takes_nothing_but_drawing_from_files_that_are_not_digested() -> None:
    core = Path(mosaic.__file__).parent
    assert all((core / place).exists() for place in IDLE)
    taken = set()
    for file in core.rglob("*.py"):
        if not file.relative_to(core).as_posix().startswith(IDLE):
            for node in ast.walk(ast.parse(file.read_text())):
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
                if f"{module.removeprefix('mosaic.').replace('.', '/')}.py".startswith(IDLE):
                    taken |= {alias.name for alias in node.names}
    colours = {"BLUE", "GREEN", "ORANGE", "SKY", "YELLOW"}
    shown = {"Picture", "Plots", "Report", "grid", "line_of", "name_rows", "ranking_of", "report", "save_figure"}
    shown |= {"table_of", *colours}
    assert {name for name in taken if not name.startswith("draw_")} == shown | {"write_figure"}


def test_a_digest_changes_with_the_file_only() -> None:
    machines = mosaic.registry().get("score", "els"), mosaic.registry().get("score", "ls")
    assert code_digest(machines[0]) == code_digest(machines[1])  # one file
    assert code_digest(machines[0]) != code_digest(mosaic.Posterior)
    assert code_digest(type("Made", (), {})) in ("", code_digest(type("Other", (), {})))


@pytest.mark.parametrize("name", ["git_commit", "command_line", "threads"])
def test_what_may_be_empty_is_text(name: str) -> None:
    assert isinstance(made_by()[name], str)


def test_a_command_with_names_that_are_not_utf8_can_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["mosaic", "run", "caf\udce9", "café"])
    command = made_by(torch.device("cpu"))["command_line"]
    assert command.encode()
    assert r"caf\xe9" in command
    assert "café" in command
