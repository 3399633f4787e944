"""The commands: what they print, write and promise."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from netCDF4 import Dataset
from PIL import Image

import mosaic
from mosaic.run import estimate, runner
from mosaic_cli.durations import duration
from mosaic_cli.resumption import command_to_resume

Invoke = Callable[..., Result]
MOSAIC = [sys.executable, "-c", "from mosaic_cli.main import cli; cli(prog_name='mosaic')"]


def test_run_prints_the_path_and_writes_the_run_and_its_picture(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("run-001", "run-002"):
        result = invoke("run", "--steps", 3, "--samples", 2)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{name}.nc\n"
        assert "Predicted time" in result.stderr
        with xr.open_dataset(tmp_path / f"{name}.nc") as run:
            assert dict(run.sizes) == {"sample": 2, "step": 3, "channel": 1, "height": 8, "width": 8}
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "run-001.nc",
        "run-001.png",
        "run-002.nc",
        "run-002.png",
    ]


def test_run_agrees_with_the_python_function(invoke: Invoke, tiny_file: Path) -> None:
    arguments = [
        "--dataset",
        "file",
        "-o",
        f"dataset.path={tiny_file}",
        "--labels",
        "0,1,2,0",
        "--scales",
        "5",
    ]
    invoke("run", "--score", "ls", "-o", "score.boundary=circular", *arguments, "--steps", 4, "--out", "a.nc")
    run = mosaic.run(
        score="ls",
        dataset="file",
        score_options={"boundary": "circular"},
        dataset_options={"path": tiny_file},
        labels=[0, 1, 2, 0],
        scales=5,
        steps=4,
    )
    with mosaic.open("a.nc") as stored:
        for name in ("state", "denoised", "image", "seed", "label", "scale"):
            np.testing.assert_array_equal(stored[name], run[name])


def test_a_run_of_a_version_with_other_settings_is_not_resumed(invoke: Invoke) -> None:
    assert invoke("run", "--steps", 2, "--out", "a.nc").exit_code == 0
    with Dataset("a.nc", "a") as stored:
        stored.configuration = json.dumps({**json.loads(stored.configuration), "scales_from": "paper"})
    result = invoke("run", "--resume", "--out", "a.nc")
    assert result.exit_code == 2
    assert "scales_from" in result.stderr


def test_json_is_exactly_one_document(invoke: Invoke, tmp_path: Path) -> None:
    document = json.loads(invoke("run", "--json", "--steps", 2, "--out", "a.nc").stdout)
    assert (document["path"], document["picture"], document["samples"]) == ("a.nc", "a.png", 4)
    dry = json.loads(invoke("run", "--json", "--dry-run", "--steps", 2, "--samples", 3).stdout)
    assert dry["shape"] == [3, 2, 1, 8, 8]
    assert dry["comparisons"] == 1797 * 3 * sum(
        {5: (4 * 4 + 4) ** 2, 3: (6 * 6 + 2) ** 2}[k] for k in dry["configuration"]["scales"]
    )
    assert json.loads(invoke("inspect", "--json", "a.nc").stdout)["configuration"]["steps"] == 2
    assert {row["status"] for row in json.loads(invoke("plugins", "--json").stdout)} == {"active"}
    listed = json.loads(invoke("list", "scores", "--json").stdout)
    names = [row["name"] for row in listed]
    assert names == sorted(names)
    assert {"diffusers", "els", "els-attention", "es", "gaussian", "is", "ls", "network", "switch"} < set(names)
    assert {row["kind"] for row in listed} == {"score"}
    schema = json.loads(invoke("show", "score", "els", "--json").stdout)
    assert schema["properties"]["boundary"]["enum"] == ["zeros", "circular", "valid"]
    assert json.loads(invoke("plot", "a.nc", "--json").stdout) == {"path": "a-flow.png"}


def test_dry_run_writes_nothing(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("run", "--dry-run")
    assert result.exit_code == 0
    for word in (
        "score_options: {'boundary': 'zeros', 'engine': 'auto'}",
        "window comparisons",
        "predicted time",
        "memory",
    ):
        assert word in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_verbose_tells_the_resolved_settings(invoke: Invoke) -> None:
    assert "score_options: {'boundary': 'zeros', 'engine': 'auto'}" in invoke("run", "-v", "--steps", 2).stderr


def test_quiet_says_nothing_but_the_path(invoke: Invoke) -> None:
    result = invoke("run", "-q", "--steps", 2)
    assert result.stderr == ""
    assert result.stdout == "run-001.nc\n"


def test_a_long_run_is_advised_a_smaller_training_set(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "predict_seconds", lambda plan: 121.0)
    assert "2 min 1 s" in (message := invoke("run", "--steps", 2).stderr)
    assert "-o dataset.limit" in message
    monkeypatch.setattr(estimate, "predict_seconds", lambda plan: 119.0)
    assert "dataset.limit" not in invoke("run", "--steps", 2).stderr


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


def test_a_score_without_scale_says_that_scales_are_not_used(invoke: Invoke) -> None:
    result = invoke("run", "--score", "is", "--scales", "5", "--steps", 2)
    assert result.exit_code == 0
    assert "--scales" in result.stderr


def test_resume_starts_with_nothing_there_and_ends_with_all_there(invoke: Invoke, tmp_path: Path) -> None:
    for _ in range(2):
        result = invoke("run", "--steps", 2, "--out", "a.nc", "--resume")
        assert (result.exit_code, result.stdout) == (0, "a.nc\n")
    other = invoke("run", "--steps", 3, "--out", "a.nc", "--resume")
    assert other.exit_code == 2
    assert "steps: 2, now 3" in other.stderr


def test_an_interrupted_overwrite_resumes_and_is_not_taken_for_the_run_it_replaces(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["--steps", 2, "--batch-size", 1, "--out", "a.nc"]
    invoke("run", *settings, "--seed", 1)
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.PartFiles.finish", interrupt)
        assert invoke("run", *settings, "--overwrite").exit_code == 130
    refused = invoke("run", *settings, "--seed", 1, "--resume")
    assert refused.exit_code == 2
    assert "seed: 0, now 1" in refused.stderr
    assert invoke("run", *settings, "--resume").exit_code == 0
    with mosaic.open("a.nc") as run:
        assert json.loads(run.attrs["configuration"])["seed"] == 0


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_two_unnamed_runs_at_once_take_two_names(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter([Path("run-001.nc"), Path("run-002.nc")])
    Path("run-001.nc.parts").mkdir()  # the other run's, made after this one looked for a name
    monkeypatch.setattr(runner, "unused_path", lambda folder: next(names))
    assert invoke("run", "--steps", 2).stdout == "run-002.nc\n"


def test_resume_takes_the_settings_of_the_run_it_goes_on_with(
    invoke: Invoke, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["--score", "ls", "-o", "score.boundary=circular", "--steps", 3, "--labels", "random", "--seed", 3]
    settings += ["--dataset", "file", "-o", f"dataset.path={tiny_file}", "--scales", "3,5,5", "--dtype", "float64"]
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.PartFiles.finish", interrupt)
        assert invoke("run", *settings, "--out", "a.nc").exit_code == 130
    unfinished = invoke("inspect", "a.nc")
    assert unfinished.exit_code == 4
    assert "resume" in unfinished.stderr
    assert invoke("run", "--out", "a.nc", "--resume", "--seed", 4).exit_code == 2
    assert invoke("run", "--out", "a.nc", "--resume").exit_code == 0
    invoke("run", *settings, "--out", "b.nc")
    with mosaic.open("a.nc") as one, mosaic.open("b.nc") as other:
        assert one.attrs["configuration"] == other.attrs["configuration"]
        np.testing.assert_array_equal(one["image"], other["image"])


def test_show_prints_a_preset_that_scales_reads(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(invoke("show", "scales", "paper/fashion-unet-zeros", "--json").stdout)
    runs = [invoke("run", "--dry-run", "--json", "--scales", s).stdout for s in ("s.json", "paper/fashion-unet-zeros")]
    assert json.loads(runs[0])["configuration"]["scales"] == json.loads(runs[1])["configuration"]["scales"]
    assert "Did you mean" in invoke("show", "scales", "paper/fashion-unet").stderr


def test_plot_draws_chosen_samples_and_keeps_what_is_there(invoke: Invoke, tmp_path: Path) -> None:
    invoke("run", "--steps", 3, "--out", "a.nc")
    one, two = (invoke("plot", "a.nc", "--samples", s, "--out", f"{n}.png") for s, n in (("0", "one"), ("1,3", "two")))
    assert one.exit_code == two.exit_code == 0
    with Image.open("one.png") as small, Image.open("two.png") as large:
        assert large.height > 1.5 * small.height
    assert invoke("plot", "a.nc", "--out", "one.png").exit_code == 2
    assert invoke("plot", "a.nc", "--out", "one.png", "--overwrite").exit_code == 0
    assert "0 to 3" in invoke("plot", "a.nc", "--samples", "4").stderr
    assert invoke("plot", "a.nc", "--out", "flow.pdf").exit_code == 0
    assert Path("flow.pdf").read_bytes().startswith(b"%PDF")


def test_list_names_everything_built_in(invoke: Invoke) -> None:
    names = {(row["kind"], row["name"]) for row in json.loads(invoke("list", "--json").stdout)}
    schedules = {"cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm"}
    datasets = {
        "mnist",
        "fashion_mnist",
        "cifar10",
        "celeba",
        "folder",
        "file",
        "digits",
        "black-white",
        "shapes",
    }
    assert {("schedule", name) for name in schedules} <= names
    assert {("dataset", name) for name in datasets} <= names
    assert {("score", name) for name in ("is", "es", "ls", "els")} <= names
    assert sum(kind == "scales" for kind, _ in names) == 10


def test_show_prints_the_option_table(invoke: Invoke) -> None:
    output = invoke("show", "schedule", "exponential").stdout
    for word in ("schedule.t_max", "number", "1.0", "> 0, <= 50", "Diffusion time at t = 1"):
        assert word in output


def test_doctor_checks_the_numbers_and_finds_the_data(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.bench.doctor.self_check.__defaults__", (0.1,))
    report = json.loads(invoke("doctor", "--json").stdout)
    assert report["self_check"]["ok"]
    assert report["self_check"]["largest_error"] < 1e-10
    assert report["datasets"]["digits"] == "ok"
    assert "path" in report["datasets"]["folder"]
    # An engine that is wrong by a little is found out.
    monkeypatch.setattr("mosaic.bench.doctor.naive_els", lambda x, *_: x)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_are_quick_and_load_no_plugin_and_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom mosaic_cli.main import cli\n"
        f"try: cli({arguments!r})\nexcept SystemExit as e: assert e.code == 0\n"
        "loaded = {'torch', 'numpy', 'xarray', 'pydantic', 'rich', 'pluggy', 'mosaic_plugins'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([*MOSAIC, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.3


def test_help_of_run_names_every_setting_without_loading_torch() -> None:
    code = (
        "import sys\nfrom mosaic_cli.main import cli\ntry: cli(['run', '--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for name in mosaic.RunConfig.model_fields:
        if not name.endswith("_options"):
            assert f"--{name.replace('_', '-')}" in output


def test_shell_completion_offers_commands_and_names() -> None:
    for words, expected in (
        ("mosaic ru", "run"),
        ("mosaic run --score e", "els"),
        ("mosaic run --dataset dig", "digits"),
        ("mosaic run --sampler ddp", "ddpm"),
        ("mosaic run --scales paper/ce", "paper/celeba-resnet-zeros"),
    ):
        environment = {
            "_MOSAIC_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        result = subprocess.run(MOSAIC, env=environment, capture_output=True, text=True, check=True)
        assert f"plain,{expected}" in result.stdout


def test_the_resume_command_repeats_the_run_as_it_was_asked_for() -> None:
    asked = ["run", "--out", "a b.nc", "--overwrite", "--steps", "3", "--out=x"]
    assert command_to_resume(asked, Path("a b.nc")) == "mosaic run --steps 3 --out 'a b.nc' --resume"


def test_times_are_said_in_words() -> None:
    assert [duration(s) for s in (0.25, 12, 200, 7500)] == ["0.2 s", "12 s", "3 min 20 s", "2 h 5 min"]
