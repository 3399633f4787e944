"""Trained networks as score models: the formula, and what a checkpoint refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mosaic
from mosaic.interfaces.sampler import levels_at, uniform_times
from mosaic.registry.plugin import Plugin
from mosaic.storage.made_by import code_digest
from mosaic_plugins.trained import TrainedNetwork


@pytest.fixture
def folder(tiny: mosaic.DataSet) -> Path:
    return trained(tiny, "net")


def trained(tiny: mosaic.DataSet, out: str, conditional: bool = False, **settings: Any) -> Path:
    options = {"channels": 4, "blocks": 1, "class_conditional": conditional}
    settings = {"batch_size": 4, "precision": "float32", "epochs": 2, "learning_rate": 0.01, **settings}
    return mosaic.train("resnet", tiny, out=out, network_options=options, **settings).folder


def model(data: mosaic.DataSet, folder: Path) -> TrainedNetwork:
    return TrainedNetwork(TrainedNetwork.Options(checkpoint=folder), data)


def cosine(**options: Any) -> mosaic.NoiseSchedule:
    kind: type[mosaic.NoiseSchedule] = mosaic.registry().get("schedule", "cosine")
    return kind()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [0.05, 0.5, 1.0])
def test_x0hat_is_what_eps_leaves_of_x(tiny: mosaic.DataSet, folder: Path, t: float, dtype: torch.dtype) -> None:
    level = cosine().level(t)
    x = torch.randn(3, 1, 6, 5, dtype=dtype)
    module = mosaic.load_checkpoint(folder).load().to(dtype)
    eps = module(x, torch.full((3,), t, dtype=dtype), None)
    actual = model(tiny, folder).denoise(x, level)
    assert actual.dtype == dtype
    assert torch.allclose(actual, (x - level.noise * eps) / level.signal, rtol=1e-4, atol=1e-4)


def test_a_run_is_ddim_with_the_network(tiny: mosaic.DataSet, folder: Path) -> None:
    run = mosaic.run(model(tiny, folder), samples=2, steps=5)
    module, levels = mosaic.load_checkpoint(folder).load(), levels_at(cosine(), uniform_times(5))
    x = torch.from_numpy(run["state"].isel(step=0).values)
    for step, level in enumerate(levels):
        assert torch.allclose(x, torch.from_numpy(run["state"].isel(step=step).values), rtol=1e-4, atol=1e-4)
        eps = module(x, torch.full((2,), 1 - step / 5), None)
        denoised = (x - level.noise * eps) / level.signal
        if step < 4:
            x = levels[step + 1].signal * denoised + levels[step + 1].noise * eps
    assert torch.allclose(denoised, torch.from_numpy(run["image"].values), rtol=1e-4, atol=1e-4)


def test_heun_with_churn_asks_the_network_at_times_between_the_steps(tiny: mosaic.DataSet, folder: Path) -> None:
    options = {"s_churn": 4, "s_noise": 1.003}
    run = mosaic.run(model(tiny, folder), samples=2, steps=5, sampler="heun", sampler_options=options, dtype="float64")
    module = mosaic.load_checkpoint(folder).load().double()

    def eps(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        between.append(float(t[0]) not in uniform_times(5))
        return module(x, t, None)

    between: list[bool] = []
    same = mosaic.run(eps, tiny, samples=2, steps=5, sampler="heun", sampler_options=options, dtype="float64")
    assert (len(between), sum(between)) == (9, 4)  # the first step adds no noise; the last is Euler's
    assert abs(run["image"].values - same["image"].values).max() < 1e-5
    with pytest.raises(mosaic.UsageError, match="'cosine'"):  # more noise than at t = 1
        mosaic.run(model(tiny, folder), sampler="heun", sampler_options={"s_churn": 4, "s_tmax": 1e4}, steps=5)
    with pytest.raises(mosaic.UsageError, match="'cosine'"):
        mosaic.run(eps, tiny, sampler="euler", sampler_options={"s_churn": 4, "s_tmax": 1e4}, steps=5)


def test_by_name_it_stores_the_same_run_and_the_digest_of_the_weights(
    tiny: mosaic.DataSet, tiny_file: Path, folder: Path
) -> None:
    options = {"dataset": "file", "dataset_options": {"path": str(tiny_file)}, "samples": 2, "steps": 3}
    run = mosaic.run("network", **options, score_options={"checkpoint": str(folder)}, out="run.nc")
    assert run.attrs["score_fingerprint"] == f'"{mosaic.load_checkpoint(folder).fingerprint()}"'
    direct = mosaic.run(model(tiny, folder), samples=2, steps=3)
    assert (run["image"].values == direct["image"].values).all()
    trained(tiny, "net", epochs=3, resume=True)
    with pytest.raises(mosaic.UsageError, match="score_fingerprint"):
        mosaic.run("network", **options, score_options={"checkpoint": str(folder)}, out="run.nc", resume=True)


def test_the_fingerprint_is_that_of_the_weights_that_are_used(tiny: mosaic.DataSet, folder: Path) -> None:
    first = mosaic.load_checkpoint(folder).fingerprint()
    used = model(tiny, folder)
    before = mosaic.run(used, samples=2, steps=3)
    trained(tiny, "net", epochs=3, resume=True)
    after = mosaic.run(used, samples=2, steps=3)
    assert (before["image"].values == after["image"].values).all()
    assert before.attrs["score_fingerprint"] == after.attrs["score_fingerprint"] == f'"{first}"'
    again = mosaic.run(model(tiny, folder), samples=2, steps=3)
    assert again.attrs["score_fingerprint"] == f'"{mosaic.load_checkpoint(folder).fingerprint()}"' != f'"{first}"'


def test_weights_and_their_fingerprint_are_read_at_once(
    tiny: mosaic.DataSet, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, checkpoint = sys.modules["mosaic.train.checkpoint"], mosaic.load_checkpoint(folder)
    reads: list[Path] = []
    read = code.load_tensors

    def counted(path: Path) -> dict[str, torch.Tensor]:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(code, "load_tensors", counted)
    network, fingerprint = checkpoint.load_with_fingerprint()
    assert len(reads) == 1
    assert fingerprint == checkpoint.fingerprint()
    assert all(torch.equal(value, read(reads[0])[name]) for name, value in network.state_dict().items())


def test_denoising_does_not_digest_the_data(
    tiny: mosaic.DataSet, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = model(tiny, folder)
    monkeypatch.setattr(mosaic.DataSet, "fingerprint", None)
    assert used.denoise(torch.zeros(1, 1, 6, 5), cosine().level(0.5)).shape == (1, 1, 6, 5)


def test_the_home_folder_is_found(tiny: mosaic.DataSet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.absolute().parent))
    monkeypatch.setenv("USERPROFILE", str(folder.absolute().parent))
    assert mosaic.load_checkpoint("~/net").folder == folder.absolute()
    assert model(tiny, Path("~/net")).load() is not None


def test_the_plugin_of_its_network_identifies_a_run_and_one_that_was_not_recorded_does_not(
    tiny: mosaic.DataSet, tiny_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"dataset": "file", "dataset_options": {"path": str(tiny_file)}, "samples": 2, "steps": 3}
    options["score_options"] = {"checkpoint": str(folder)}
    mosaic.run("network", **options, out="old.nc").close()
    plugins = mosaic.registry()
    other = Plugin("other:nets", "other", "1.0")
    monkeypatch.setitem(plugins._owners, ("network", "resnet"), "other:nets")
    monkeypatch.setattr(plugins, "plugins", [*plugins.plugins, other])
    assert model(tiny, folder).traits.plugins() == [("network", "resnet")]
    mosaic.run("network", **options, out="old.nc", resume=True).close()
    with mosaic.run("network", **options, out="new.nc") as run:
        versions = json.loads(run.attrs["versions"])
    assert versions["other"] == "1.0"
    assert versions["other network resnet"] == code_digest(plugins.get("network", "resnet"))
    other.version = "2.0"
    with pytest.raises(mosaic.UsageError, match=r"versions\.other.*2\.0"):
        mosaic.run("network", **options, out="new.nc", resume=True)


@pytest.mark.parametrize("schedule", ["flow", "edm", "linear", "exponential", "ddpm-linear", "cosine-nichol"])
def test_another_schedule_is_refused_before_the_run(tiny: mosaic.DataSet, folder: Path, schedule: str) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"'cosine'.*'{schedule}'"):
        mosaic.run(model(tiny, folder), schedule=schedule)


def test_other_options_of_the_schedule_are_refused(tiny: mosaic.DataSet) -> None:
    network = model(tiny, trained(tiny, "stretched", schedule="exponential", schedule_options={"t_max": 2}))
    assert mosaic.run(network, schedule="exponential", schedule_options={"t_max": 2}, samples=1, steps=2)["image"].any()
    with pytest.raises(mosaic.UsageError, match=r"`schedule\.t_max=2"):
        mosaic.run(network, schedule="exponential", samples=1)


def test_a_level_that_was_not_trained_is_refused(tiny: mosaic.DataSet, folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"'cosine'.*Level"):
        model(tiny, folder).denoise(torch.zeros(1, 1, 6, 5), mosaic.Level(1.0, 3.0))


def test_images_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"\(1, 6, 5\).*'digits'.*\(1, 8, 8\)"):
        mosaic.run("network", "digits", score_options={"checkpoint": str(folder)})


def test_the_data_to_use_are_named_with_their_options() -> None:
    options = {"size": 6}
    settings = {"batch_size": 2, "epochs": 1, "network_options": {"channels": 4, "blocks": 1}}
    folder = mosaic.train("resnet", "black-white", out="net", dataset_options=options, **settings).folder
    with pytest.raises(mosaic.UsageError, match=r"`dataset` black-white `dataset\.size=6`"):
        mosaic.run("network", "black-white", score_options={"checkpoint": str(folder)})


def test_labels_must_be_those_trained_with(tiny: mosaic.DataSet, folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"\b1\b.*`labels`"):
        mosaic.run(model(tiny, folder), labels="1", samples=2)
    conditional = model(tiny, trained(tiny, "conditional", conditional=True))
    with pytest.raises(mosaic.UsageError, match=r"\b3\b.*-1"):
        mosaic.run(conditional, samples=2)
    with pytest.raises(mosaic.UsageError, match=r"\b3\b.*-1"):
        conditional.denoise(torch.zeros(1, 1, 6, 5), cosine().level(0.5))
    run = mosaic.run(conditional, samples=3, labels="0,1,2", steps=3)
    again = mosaic.run(conditional, samples=3, labels="0,0,2", steps=3)
    apart = abs(run["image"] - again["image"]).max(["channel", "height", "width"]).values
    assert apart[1] > 1e-3
    assert apart[0] < 1e-5 > apart[2]


def test_classes_of_the_same_number_but_other_names_are_refused(tiny: mosaic.DataSet) -> None:
    folder = trained(tiny, "conditional", conditional=True)
    other = mosaic.DataSet("other", tiny.images, tiny.labels, ("a", "c", "b"))
    with pytest.raises(mosaic.UsageError, match=r"a, b, c.*'other'.*a, c, b"):
        mosaic.run(model(other, folder), samples=1, labels="0")


def notes_of(network: mosaic.ScoreModel) -> list[str]:
    schedule = network.traits.schedule()
    assert schedule is not None
    return list(network.check((schedule.level(0.5),), (0,), (-1,)))


def test_other_data_of_the_same_shape_are_noted(tiny: mosaic.DataSet, folder: Path) -> None:
    assert notes_of(model(tiny, folder)) == []
    (note,) = notes_of(model(tiny.select(torch.arange(6)), folder))
    assert re.search(r"\b12\b.*'tiny'", note)


def test_a_run_is_gone_on_with_where_its_checkpoint_and_scales_have_moved(
    tiny: mosaic.DataSet, tiny_file: Path, folder: Path
) -> None:
    options = {"dataset": "file", "dataset_options": {"path": str(tiny_file)}, "samples": 2, "steps": 3}
    mosaic.run("network", **options, score_options={"checkpoint": str(folder)}, out="run.nc")
    kept = Path("run.nc").stat().st_mtime_ns
    moved = folder.rename("elsewhere")
    mosaic.run("network", **options, score_options={"checkpoint": str(moved)}, out="run.nc", resume=True)
    assert Path("run.nc").stat().st_mtime_ns == kept
    settings = {"batch_size": 4, "sizes": "3,5", "samples": 2, "steps": 3, "out": "scales.nc"}
    mosaic.calibrate(moved, "els", tiny, **settings).close()
    kept = Path("scales.nc").stat().st_mtime_ns
    mosaic.calibrate(moved.rename("again"), "els", tiny, **settings, resume=True).close()
    assert Path("scales.nc").stat().st_mtime_ns == kept
    mosaic.run("els", **options, scales="scales.nc", out="els.nc")
    kept = Path("els.nc").stat().st_mtime_ns
    Path("scales.nc").rename("others.nc")
    mosaic.run("els", **options, scales="others.nc", out="els.nc", resume=True)
    assert Path("els.nc").stat().st_mtime_ns == kept
