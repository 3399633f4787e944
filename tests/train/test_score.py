"""Whatever a user has becomes a score: names, objects, functions, networks, checkpoints and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import train
from torch import Tensor, nn

import mosaic


def eps(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Any:
        return self.layer(x) * t[:, None, None, None]


def test_a_name_an_object_a_checkpoint_and_its_folder_are_scores(tiny: mosaic.DataSet) -> None:
    x = torch.randn(2, *tiny.shape)
    kind = mosaic.registry().get("score", "els")
    by_name = mosaic.score("els", tiny, boundary="zeros")
    by_object = mosaic.score(kind(kind.Options(boundary="zeros"), tiny))
    assert torch.equal(by_name.denoise(x, 0.5, k=3), by_object.denoise(x, 0.5, k=3))
    checkpoint = train(tiny, epochs=1)
    scores = [mosaic.score(what, tiny) for what in (checkpoint, checkpoint.folder, str(checkpoint.folder))]
    scores.append(mosaic.score("network", tiny, checkpoint=checkpoint.folder))
    assert {score.denoise(x, 0.5).numpy().tobytes() for score in scores} == {
        scores[0].denoise(x, 0.5).numpy().tobytes()
    }


def test_a_checkpoint_brings_its_training_set_and_schedule() -> None:
    mosaic.train(
        "resnet",
        "digits",
        out="net",
        epochs=1,
        batch_size=64,
        dataset_options={"limit": 64},
        schedule="linear",
        network_options={"channels": 4, "blocks": 1},
    )
    own = mosaic.score("net")
    assert (own.model.dataset.name, len(own.model.dataset), own.schedule.name) == ("digits", 64, "linear")
    run = mosaic.run(own, steps=2, samples=1)
    assert run.mosaic.training_set().fingerprint() == own.model.dataset.fingerprint()


def test_a_run_of_a_score_has_its_data_schedule_and_scales(tiny: mosaic.DataSet) -> None:
    own = mosaic.score("els", tiny, schedule="linear", scales=3, boundary="zeros")
    settings: dict[str, Any] = {"steps": 3, "samples": 2}
    named = mosaic.run("els", tiny, schedule="linear", scales="3", score_options={"boundary": "zeros"}, **settings)
    assert mosaic.run(own, **settings)["image"].equals(named["image"])
    other = mosaic.run("els", tiny, schedule="cosine", scales="5", score_options={"boundary": "zeros"}, **settings)
    assert mosaic.run(own, schedule="cosine", scales="5", **settings)["image"].equals(other["image"])


def test_another_schedule_does_not_get_the_options_of_its_own(tiny: mosaic.DataSet) -> None:
    own = mosaic.score("is", tiny, schedule=mosaic.registry().make("schedule", "edm", {"sigma_max": 40}))
    settings: dict[str, Any] = {"steps": 2, "samples": 2}
    expected = mosaic.run("is", tiny, schedule="edm", schedule_options={"sigma_max": 40}, **settings)
    assert mosaic.run(own, **settings)["image"].equals(expected["image"])
    linear = mosaic.run("is", tiny, schedule="linear", **settings)
    assert mosaic.run(own, schedule="linear", **settings)["image"].equals(linear["image"])


@pytest.mark.parametrize("what", [eps, Network()], ids=["function", "network"])
def test_a_run_of_an_own_function_is_identified_and_resumes(tiny: mosaic.DataSet, what: Any) -> None:
    settings: dict[str, Any] = {"steps": 2, "samples": 2, "out": "a.nc"}
    for score in (mosaic.score(what, tiny, prediction="x0"), mosaic.score(what, tiny, prediction="x0")):
        run = mosaic.run(score, resume=Path("a.nc").exists(), **settings)
        assert len(run.attrs["score_fingerprint"]) == 66
        run.close()
    for changed in (mosaic.score(what, tiny, prediction="eps"), mosaic.score(lambda x, t: x, tiny, prediction="x0")):
        with pytest.raises(mosaic.UsageError, match="score"):
            mosaic.run(changed, resume=True, **settings)


def test_what_cannot_be_identified_runs_and_does_not_resume(tiny: mosaic.DataSet) -> None:
    generator = torch.Generator().manual_seed(0)
    own = mosaic.score(lambda x, t: x + torch.randn(x.shape, generator=generator), tiny)
    mosaic.run(own, steps=1, samples=1, out="a.nc").close()
    with pytest.raises(mosaic.UsageError, match="same"):
        mosaic.run(own, steps=1, samples=1, out="a.nc", resume=True)


@pytest.mark.parametrize(
    ("what", "arguments", "named"),
    [
        ("elz", {}, "'els'"),
        ("els", {"boundry": "zeros"}, "'boundary'"),
        ("els", {"prediction": "x0"}, "'prediction'"),
        (eps, {"boundary": "zeros"}, "'boundary'"),
        (eps, {"prediction": "noise"}, "'noise'"),
        (eps, {"scales": 3}, "`scales`"),
        (eps, {"timesteps": 500}, "`timesteps`"),
        (eps, {"sigma_data": 0.3}, "`sigma_data`"),
        (Path("nothing"), {}, "nothing"),
        (Network, {}, "`what`"),
        (3, {}, "`what`"),
        (eps, {"schedule": 3}, "`schedule`"),
    ],
)
def test_what_is_no_score_is_refused(tiny: mosaic.DataSet, what: Any, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(mosaic.MosaicError, match=named):
        mosaic.score(what, tiny, **arguments)


def test_a_score_model_has_its_own_data_and_options(tiny: mosaic.DataSet) -> None:
    kind = mosaic.registry().get("score", "is")
    model = kind(None, tiny)
    for unused in ({"dataset": "digits"}, {"boundary": "zeros"}, {"download": True}):
        with pytest.raises(mosaic.UsageError):
            mosaic.score(model, **unused)
    assert mosaic.score(model, tiny).model is model


def test_a_folder_is_shown_to_the_score_models_and_refused_if_none_knows_it(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = mosaic.registry().get("score", "is")
    seen: list[object] = []
    monkeypatch.setattr(kind, "of_object", lambda what, dataset: seen.append(what))
    for what in (str(tmp_path), tmp_path, "~"):
        with pytest.raises(mosaic.UsageError, match=r"checkpoint\.json.*diffusers"):
            mosaic.score(what, tiny)
    assert list(dict.fromkeys(seen)) == [tmp_path, Path.home()]  # subclasses are asked, too
    monkeypatch.setattr(kind, "of_object", lambda what, dataset: kind(None, dataset))
    assert isinstance(mosaic.score(str(tmp_path), tiny).model, kind)
