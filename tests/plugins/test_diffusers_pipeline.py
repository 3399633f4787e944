"""Pipelines of the diffusers library as score models, with a tiny one made here."""

from __future__ import annotations

import inspect
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import mosaic
import mosaic.testing
from mosaic_plugins.diffusers_pipeline import SCHEDULERS, Diffusers


def library() -> Any:
    mosaic.import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers = pytest.importorskip("diffusers")
        assert diffusers.UNet2DModel, diffusers.DDPMPipeline
    return diffusers


@pytest.fixture
def data() -> mosaic.DataSet:
    images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return mosaic.DataSet("tiny", images, torch.arange(10) % 3)


def pipeline(folder: Path, prediction: str = "epsilon", **options: Any) -> Any:
    """Save a tiny pipeline; give its network."""
    diffusers = library()
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        **{"out_channels": 1, **options},
    )
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(prediction_type=prediction)).save_pretrained(folder)
    return unet.eval()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A pipeline's folder, of which tests replace the scheduler, and its network."""
    folder = tmp_path_factory.mktemp("shared") / "p"
    return folder, pipeline(folder)


# Schedulers whose states are x_0 + sigma eps; the others' preserve variance.
EXPLODING = ("Euler", "EulerAncestral", "Heun", "KDPM2", "KDPM2Ancestral", "LMS")
WITHOUT_SAMPLE = ("EulerAncestral", "KDPM2", "PNDM")  # they refuse networks that predict x_0
# Settings apart from the default that are accepted, and how much their own rounding of times moves x0hat.
SETTINGS: list[tuple[str, dict[str, Any], float]] = [
    ("EulerDiscrete", {"timestep_type": "continuous", "prediction_type": "v_prediction"}, 1e-5),
    ("EulerDiscrete", {"timestep_type": "continuous"}, 1e-5),
    ("EulerDiscrete", {"timestep_spacing": "trailing", "steps_offset": 1}, 1e-5),
    ("EulerDiscrete", {"use_karras_sigmas": True}, 1e-5),
    ("EulerDiscrete", {"use_exponential_sigmas": True, "sigma_min": 0.1, "sigma_max": 20.0}, 1e-5),
    ("EulerDiscrete", {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, 1e-5),
    ("HeunDiscrete", {"use_karras_sigmas": True}, 1e-5),
    ("DDPM", {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "clip_sample": False}, 1e-5),
    ("DDIM", {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "clip_sample": False}, 1e-5),
    ("DDIM", {"trained_betas": [1e-4 * (1 + n) for n in range(500)], "num_train_timesteps": 500}, 1e-5),
    ("DDIM", {"beta_schedule": "squaredcos_cap_v2"}, 1e-5),
    ("DPMSolverMultistep", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}, 1e-5),
    ("DPMSolverMultistep", {"use_karras_sigmas": True}, 1e-2),
    ("DPMSolverMultistep", {"use_lu_lambdas": True}, 1e-2),
    ("UniPCMultistep", {"predict_x0": False}, 1e-5),
    ("UniPCMultistep", {"use_exponential_sigmas": True}, 1e-2),
]


def own_denoised(scheduler: Any, x: torch.Tensor, t: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """x0hat by the scheduler's own formulas, which are kept in a step's result or in convert_model_output."""
    if hasattr(scheduler, "convert_model_output"):
        own = scheduler.convert_model_output(output, sample=x)
        signal, noise = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[scheduler.step_index])
        of_noise = scheduler.config.get("algorithm_type") in ("dpmsolver", "deis")
        return (x - noise * own) / signal if of_noise or scheduler.config.get("predict_x0") is False else own
    if not hasattr(scheduler, "_get_prev_sample"):
        return scheduler.step(output, t, x).pred_original_sample
    a, before = (float(scheduler.alphas_cumprod[time]) for time in (int(t), int(t) // 2))  # PNDM: x' = a' x0 + s' eps
    kept = math.sqrt((1 - before) / (1 - a))
    following = scheduler._get_prev_sample(x, int(t), int(t) // 2, output)
    return (following - kept * x) / (math.sqrt(before) - kept * math.sqrt(a))


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize(
    ("name", "settings", "tolerance"),
    [
        (name, {"prediction_type": kind}, 1e-4)
        for name in SCHEDULERS
        for kind in ("epsilon", "v_prediction", "sample")
        if kind != "sample" or not name.startswith(WITHOUT_SAMPLE)
    ]
    + [(f"{name}Scheduler", settings, tolerance) for name, settings, tolerance in SETTINGS],
)
def test_it_is_the_x0_of_the_schedulers_own_step(
    name: str,
    settings: dict[str, Any],
    tolerance: float,
    shared: tuple[Path, Any],
    data: mosaic.DataSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, unet = shared
    kind = getattr(library(), name)
    unclipped = {"clip_sample": False} if "clip_sample" in inspect.signature(kind).parameters else {}
    kind(**{**unclipped, **settings}).save_pretrained(folder / "scheduler")
    scheduler = kind.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(10)
    x, t = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)), scheduler.timesteps[6]
    if hasattr(scheduler, "_init_step_index"):
        scheduler._init_step_index(t)
    if name.startswith(EXPLODING):
        level = mosaic.Level(1.0, float(scheduler.sigmas[scheduler.step_index]))
        x = x * math.hypot(1, level.noise)
    elif hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
        sigma = scheduler.sigmas[scheduler.step_index]
        level = mosaic.Level(*map(float, scheduler._sigma_to_alpha_sigma_t(sigma)))
    else:
        a = float(scheduler.alphas_cumprod[int(t)])
        level = mosaic.Level(math.sqrt(a), math.sqrt(1 - a))
    with torch.no_grad():
        output = unet(scheduler.scale_model_input(x, t), t).sample
    expected = own_denoised(scheduler, x, t, output)
    monkeypatch.setattr(Diffusers, "_load_unet", lambda self: unet)  # read once
    actual = model(folder, data).denoise(x, level)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("DPMSolverMultistep", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
        ("UniPCMultistep", {"use_flow_sigmas": True, "prediction_type": "epsilon"}),
        ("EulerDiscrete", {"interpolation_type": "log_linear"}),
        ("EDMEuler", {}),
        ("EDMDPMSolverMultistep", {}),
        ("ScoreSdeVe", {}),
        ("CMStochasticIterative", {}),
        ("FlowMatchEulerDiscrete", {}),
    ],
)
def test_what_would_change_times_or_the_forward_process_is_refused(
    name: str, settings: dict[str, Any], shared: tuple[Path, Any], data: mosaic.DataSet
) -> None:
    getattr(library(), f"{name}Scheduler")(**settings).save_pretrained(shared[0] / "scheduler")
    with pytest.raises(mosaic.DataError, match="use_flow_sigmas|flow_prediction|log_linear|" + name):
        model(shared[0], data).check((), (), (-1,))


def test_that_x0hat_is_not_clipped_is_noted(shared: tuple[Path, Any], data: mosaic.DataSet) -> None:
    notes = []
    for clips in (True, False):
        library().DDPMScheduler(clip_sample=clips).save_pretrained(shared[0] / "scheduler")
        notes.append([note for note in model(shared[0], data).check((), (), (-1,)) if "clip_sample" in note])
    assert [len(note) for note in notes] == [1, 0]


def test_a_network_that_learns_the_variance_is_run_by_its_first_channels(tmp_path: Path, data: mosaic.DataSet) -> None:
    unet = pipeline(tmp_path / "p", out_channels=2)
    with pytest.raises(mosaic.UsageError, match=r"\b1\b.*\b2\b.*learned.*fixed_small"):
        model(tmp_path / "p", data).check((), (), (-1,))
    scheduler = library().DDPMScheduler(variance_type="learned_range", clip_sample=False)
    scheduler.save_pretrained(tmp_path / "p" / "scheduler")
    x, a = torch.randn(2, 1, 8, 8), signal_of(500)
    with torch.no_grad():
        expected = scheduler.step(unet(x, 500).sample, 500, x).pred_original_sample
    actual = model(tmp_path / "p", data).denoise(x, mosaic.Level(a, math.sqrt(1 - a**2)))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def model(folder: Path, data: mosaic.DataSet) -> Diffusers:
    return Diffusers(Diffusers.Options(pipeline=folder), data)


def signal_of(timestep: int) -> float:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    return math.sqrt(float((1 - betas).cumprod(0)[timestep]))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("timestep", [0, 500, 999])
def test_at_a_training_timestep_it_is_the_network_there(
    tmp_path: Path, data: mosaic.DataSet, prediction: str, timestep: int
) -> None:
    unet = pipeline(tmp_path / "p", prediction)
    a = signal_of(timestep)
    s = math.sqrt(1 - a**2)
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        output = unet(x, timestep).sample
    expected = {"epsilon": (x - s * output) / a, "sample": output, "v_prediction": a * x - s * output}[prediction]
    actual = model(tmp_path / "p", data).denoise(x, mosaic.Level(a, s))
    assert torch.allclose(actual, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_it_conforms(tmp_path: Path, data: mosaic.DataSet) -> None:
    """But for levels below and above those it was trained for, which it refuses."""
    pipeline(tmp_path / "pipe")
    actual = mosaic.testing.check_score(Diffusers, options={"pipeline": str(tmp_path / "pipe")}, dataset=data)
    assert actual["x0hat_is_finite_at_every_level"] == "passed"
    assert actual["x0hat_at_infinite_noise_is_the_mean"] == "does not apply"
    assert actual["an_unknown_label_is_refused"] == "passed"


def test_only_the_ratio_of_a_level_counts(tmp_path: Path, data: mosaic.DataSet) -> None:
    pipeline(tmp_path / "p")
    machine, x = model(tmp_path / "p", data), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    preserving = machine.denoise(x, mosaic.Level(0.8, 0.6))
    exploding = machine.denoise(x / 0.8, mosaic.Level(1.0, 0.75))
    assert torch.allclose(preserving, exploding, atol=1e-9)
    assert preserving.dtype == torch.float64


def test_it_runs_by_name_and_is_stored_like_any_machine(tmp_path: Path) -> None:
    pipeline(tmp_path / "p")
    with pytest.warns(mosaic.MosaicWarning, match="clip_sample"):
        run = mosaic.run(
            "diffusers", "digits", score_options={"pipeline": str(tmp_path / "p")}, samples=2, steps=4, out="run.nc"
        )
    assert run["state"].shape == (2, 4, 1, 8, 8)
    assert len(json.loads(run.attrs["score_fingerprint"])) == 64


def test_classes_reach_the_network_and_must_be_its_own(tmp_path: Path, data: mosaic.DataSet) -> None:
    pipeline(tmp_path / "p", num_class_embeds=3)
    machine, x = model(tmp_path / "p", data), torch.randn(1, 1, 8, 8).expand(2, -1, -1, -1)
    actual = machine.denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([0, 2]))
    assert (actual[0] - actual[1]).abs().max() > 1e-4
    with pytest.raises(mosaic.UsageError, match=r"\b0\b.*\b2\b.*-1"):
        machine.denoise(x, mosaic.Level(0.8, 0.6))
    pipeline(tmp_path / "q")
    with pytest.raises(mosaic.UsageError, match=r"`labels`.*\b1\b"):
        model(tmp_path / "q", data).denoise(x, mosaic.Level(0.8, 0.6), torch.tensor([1, 1]))


def test_levels_and_images_that_it_was_not_trained_for_are_refused(tmp_path: Path, data: mosaic.DataSet) -> None:
    pipeline(tmp_path / "p")
    machine = model(tmp_path / "p", data)
    with pytest.raises(mosaic.UsageError, match=r"\b0\.01\b.*\b157\b"):
        machine.check((mosaic.Level(1.0, 0.002),), (), (-1,))
    larger = mosaic.DataSet("large", torch.zeros(2, 1, 16, 16))
    with pytest.raises(mosaic.UsageError, match=r"\(1, 8, 8\)"):
        model(tmp_path / "p", larger).check((), (), ())


@pytest.mark.parametrize(
    ("key", "value"), [("_class_name", "FlowMatchEulerDiscreteScheduler"), ("prediction_type", "flow")]
)
def test_a_network_of_another_forward_process_is_refused(
    tmp_path: Path, data: mosaic.DataSet, key: str, value: str
) -> None:
    pipeline(tmp_path / "p")
    path = tmp_path / "p" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(mosaic.DataError):
        model(tmp_path / "p", data).denoise(torch.zeros(1, 1, 8, 8), mosaic.Level(0.8, 0.6))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_train_timesteps": 0},
        {"beta_start": 0.0, "beta_end": 0.0},
        {"beta_start": -1e-4},
        {"beta_end": 2.0},
        {"trained_betas": [0.1, math.nan, 0.3]},
        {"trained_betas": [0.1, 0.0, 0.3]},
        {"trained_betas": [0.1, 1.0, 0.3]},
        {"trained_betas": [0.1, -0.2, 0.3]},
        {"trained_betas": []},
    ],
)
def test_betas_by_which_the_noise_does_not_rise_are_refused(
    shared: tuple[Path, Any], data: mosaic.DataSet, settings: dict[str, Any]
) -> None:
    library().DDPMScheduler().save_pretrained(shared[0] / "scheduler")
    path = shared[0] / "scheduler" / "scheduler_config.json"
    count = {"num_train_timesteps": len(settings["trained_betas"])} if "trained_betas" in settings else {}
    path.write_text(json.dumps({**json.loads(path.read_text()), **count, **settings}))
    with pytest.raises(mosaic.DataError, match=r"'.*scheduler'"):
        model(shared[0], data).check((mosaic.Level(0.8, 0.6),), (), (-1,))


def test_embeddings_that_are_not_known_are_refused_and_all_that_matters_is_in_the_fingerprint(
    tmp_path: Path, data: mosaic.DataSet
) -> None:
    pipeline(tmp_path / "p", time_embedding_type="learned", num_train_timesteps=1000)
    with pytest.raises(mosaic.UsageError, match="time_embedding_type learned"):
        model(tmp_path / "p", data).check((), (), (-1,))
    before = model(tmp_path / "p", data).traits.fingerprint()
    path = tmp_path / "p" / "unet" / "config.json"
    path.write_text(path.read_text().replace('"silu"', '"mish"'))
    assert model(tmp_path / "p", data).traits.fingerprint() != before


def test_the_fingerprint_is_that_of_what_was_loaded(tmp_path: Path, data: mosaic.DataSet) -> None:
    pipeline(tmp_path / "p")
    used = model(tmp_path / "p", data)
    used.load()
    before = model(tmp_path / "p", data).traits.fingerprint()
    pipeline(tmp_path / "p", act_fn="mish")
    assert used.traits.fingerprint() == before != model(tmp_path / "p", data).traits.fingerprint()


def test_a_folder_without_pipeline_or_with_pickled_weights_is_refused(tmp_path: Path, data: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.DataError):
        model(tmp_path / "p", data).check((), (), ())
    unet = pipeline(tmp_path / "p")
    (tmp_path / "p" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(unet.state_dict(), tmp_path / "p" / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(mosaic.DataError, match="UNet2DModel"):
        model(tmp_path / "p", data).check((), (), ())


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, data: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p").mkdir()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(mosaic.PluginError, match=r"pip install 'mosaic-diffusion\[diffusers\]'"):
        model(tmp_path / "p", data).check((), (), ())


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_a_pipeline_in_memory_is_the_one_in_its_folder(data: mosaic.DataSet, tmp_path: Path) -> None:
    pipeline(tmp_path / "p", "v_prediction")
    given = library().DDPMPipeline.from_pretrained(tmp_path / "p")
    training = given.unet.train().training
    own, x = mosaic.score(given, data), torch.randn(2, 1, 8, 8)
    assert torch.equal(own.denoise(x, 0.5), mosaic.score(tmp_path / "p", data).denoise(x, 0.5))
    assert mosaic.score(str(tmp_path / "p"), data).model.options.pipeline == tmp_path / "p"
    with pytest.raises(mosaic.UsageError, match=r"`prediction`.*'diffusers'"):
        mosaic.score(tmp_path / "p", data, prediction="x0")
    assert own.denoise(x.double(), 0.5).dtype == torch.float64
    assert (given.unet.training, given.unet.dtype) == (training, torch.float32)  # the caller's is left as it was
    assert all(weight.requires_grad for weight in given.unet.parameters())
    given.scheduler = library().DDPMScheduler(prediction_type="v_prediction", clip_sample=False)
    own = mosaic.score(given, data)
    settings: dict[str, Any] = {"steps": 2, "samples": 1, "schedule": "ddpm-linear"}
    mosaic.run(own, out="a.nc", **settings).close()
    mosaic.run(mosaic.score(given, data), out="a.nc", resume=True, **settings).close()
    next(given.unet.parameters()).data.mul_(2)
    with pytest.raises(mosaic.UsageError, match="score_fingerprint"):
        mosaic.run(mosaic.score(given, data), out="a.nc", resume=True, **settings)
    with pytest.raises(mosaic.UsageError, match="`prediction`"):
        mosaic.score(given, data, prediction="x0")
    given.scheduler = library().FlowMatchEulerDiscreteScheduler()
    with pytest.raises(mosaic.DataError, match="FlowMatch"):
        mosaic.score(given, data).denoise(x, 0.5)


def test_the_folder_of_a_pipeline_is_a_network_to_calibrate_and_to_rank_by(data: mosaic.DataSet) -> None:
    pipeline(Path("p"))
    settings: dict[str, Any] = {"samples": 2, "steps": 2, "progress": False}
    with pytest.warns(mosaic.MosaicWarning, match="clip_sample"):
        table = mosaic.calibrate("p", dataset=data, sizes="3", **settings)
    assert table["scale"].values.tolist() == [3, 3]
