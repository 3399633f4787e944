"""Local pipelines of the diffusers library as score models."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.footprint import network_memory

__all__ = ["Diffusers"]

INDEX, CONFIGURATION = "model_index.json", "scheduler_config.json"
IN_MEMORY = Path("(in memory)")
# What the library calls predictions, and `mosaic.Convention` does.
PREDICTIONS: dict[str, Literal["eps", "x0", "v"]] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
# Settings that must have this value for a timestep to have the noise level that its betas give it.
BY_BETAS = {"use_flow_sigmas": False, "interpolation_type": "linear"}
LEARNED = ("learned", "learned_range")
# Schedulers that hold the betas of the training, and whose states are a x_0 + s eps up to a factor.
SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        "DDPM",
        "DDIM",
        "PNDM",
        "DEISMultistep",
        "DPMSolverMultistep",
        "DPMSolverSinglestep",
        "EulerAncestralDiscrete",
        "EulerDiscrete",
        "HeunDiscrete",
        "KDPM2Discrete",
        "KDPM2AncestralDiscrete",
        "LMSDiscrete",
        "UniPCMultistep",
    )
)

# The library keeps the squared signal in float32, so the lowest noise level is known to a thousandth only.
ROUNDING = 1e-3


class Pipeline(NamedTuple):
    """What is read from a pipeline's folder.

    Attributes
    ----------
    unet : diffusers.UNet2DModel
    scheduler
        One of `SCHEDULERS`, of the class that the folder names: their defaults differ.
    log_ratios : array (T,), float64
        log(s / a) of each training timestep, rising; without the last one where that has no signal.
    fingerprint : str
        SHA-256 of the network's weights and of the configurations of network and scheduler, as they were loaded.
    """

    unet: Any
    scheduler: Any
    log_ratios: np.ndarray
    fingerprint: str

    def time(self, level: mosaic.Level) -> float:
        """The time that the network is given at a level."""
        config, log_ratio = self.scheduler.config, math.log(level.ratio)
        if config.get("timestep_type") == "continuous" and config.prediction_type == "v_prediction":
            return log_ratio / 4
        return float(np.interp(log_ratio, self.log_ratios, np.arange(len(self.log_ratios))))


class Diffusers(mosaic.ScoreModel):
    """A UNet2DModel of a diffusers pipeline, from a local folder or, in Python, in memory (extra: diffusers).

    A level is evaluated at the training timestep with its noise-to-signal ratio s / a, interpolated in log(s / a), and
    x is scaled to preserve variance. So any schedule works within the ratios that the network was trained on. Settings
    of the scheduler that choose steps have no effect. x0hat is not clipped.

    References: Ho et al. 2020, eq. 15; Salimans & Ho 2022, sec. 4 (v-prediction).

    The paper's: x0hat from what the network predicts.
    The published code's: the network, which diffusers itself evaluates.
    Ours: timesteps between those of the training, by interpolation.
    """

    name = "diffusers"
    path_options = ("pipeline",)

    class Options(mosaic.Options):
        """Where the pipeline is. Nothing is ever downloaded."""

        pipeline: Path = Field(description="Folder of the pipeline, with unet/ and scheduler/ in it.")

    options: Options

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self._given: Any = None
        self._pipeline: Pipeline | None = None

    @classmethod
    def of_object(cls, what: object, dataset: mosaic.DataSet) -> Diffusers | None:
        """Take a pipeline's folder; or one in memory, by its `unet` and `scheduler`: a copy of its network is used."""
        if isinstance(what, Path):
            return cls(cls.Options(pipeline=what), dataset) if (what / INDEX).is_file() else None
        if isinstance(what, torch.nn.Module) or not (hasattr(what, "unet") and hasattr(what, "scheduler")):
            return None
        model = cls(cls.Options(pipeline=IN_MEMORY), dataset)
        model._given = (copy.deepcopy(what.unet), what.scheduler)
        return model

    def load(self) -> Pipeline:
        """Load the network and its noise levels, once."""
        if self._pipeline is None:
            unet, scheduler = self._load_unet(), self._load_scheduler()
            signal = scheduler.alphas_cumprod.double().cpu().numpy()
            if scheduler.betas[-1:].eq(1).any():  # rescaled betas leave no signal at the last timestep
                signal = signal[:-1]
            steps = np.diff(signal, prepend=1.0, append=0.0)  # with NaN, not below 0
            if len(signal) == 0 or not (steps < 0).all():
                raise mosaic.DataError(
                    f"The scheduler in '{self.options.pipeline / 'scheduler'}' has {len(scheduler.betas)} training "
                    f"timesteps with the betas {_ends(scheduler.betas.tolist())}; there must be at least one, and each "
                    "beta must lie between 0 and 1, so that the noise rises."
                )
            log_ratios = (np.log1p(-signal) - np.log(signal)) / 2
            self._pipeline = Pipeline(unet, scheduler, log_ratios, self._fingerprint())
        return self._pipeline

    def _load_unet(self) -> Any:
        """Load the network onto the data set's device; weights are read from safetensors only."""
        library = _diffusers()
        if self._given is not None:
            unet, _ = self._given
            if not isinstance(unet, library.UNet2DModel):
                raise mosaic.DataError(f"The pipeline's unet is a {type(unet).__name__}; it must be a UNet2DModel.")
            return unet.eval().requires_grad_(False).to(self.dataset.images.device)
        folder = self._folder() / "unet"
        try:
            unet = library.UNet2DModel.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
            )
        except Exception as error:  # the library passes on errors of many kinds
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise mosaic.DataError(f"'{folder}' holds no UNet2DModel that can be read: {reason}") from None
        return unet.eval().requires_grad_(False).to(self.dataset.images.device)

    def _load_scheduler(self) -> Any:
        """Load the noise levels of the training timesteps, and what the network predicts."""
        if self._given is not None:
            _, scheduler = self._given
            self._check_scheduler(scheduler, type(scheduler).__name__)
            return scheduler
        folder = self._folder() / "scheduler"
        library = _diffusers()
        try:
            kind = json.loads((folder / CONFIGURATION).read_text())["_class_name"]
            named = kind if kind in SCHEDULERS else "DDPMScheduler"  # refused below
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about settings of samplers, which are not used
                scheduler = getattr(library, named).from_pretrained(folder, local_files_only=True)
        except Exception as error:  # as above
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise mosaic.DataError(f"'{folder}' holds no scheduler that can be read: {reason}") from None
        self._check_scheduler(scheduler, kind)
        return scheduler

    def _check_scheduler(self, scheduler: Any, kind: str) -> None:
        """Refuse a scheduler, of the class `kind`, whose timesteps do not have the noise levels of its betas."""
        where, prediction = self.options.pipeline / "scheduler", scheduler.config.get("prediction_type")
        if kind not in SCHEDULERS or prediction not in PREDICTIONS:
            raise mosaic.DataError(
                f"The scheduler in '{where}' is a {kind} of '{prediction}'; what can be run are "
                f"networks trained on discrete betas (such as DDPMScheduler) to predict {', '.join(PREDICTIONS)}."
            )
        for setting, value in BY_BETAS.items():
            if scheduler.config.get(setting, value) != value:
                raise mosaic.DataError(
                    f"The scheduler in '{where}' has {setting} {scheduler.config[setting]}, with which times are not "
                    f"those of the noise levels of its betas; a network that was trained on these has {value} there."
                )

    def _folder(self) -> Path:
        folder = self.options.pipeline.expanduser()
        if not folder.is_dir():
            raise mosaic.DataError(f"There is no pipeline folder '{folder}'.")
        return folder

    @mosaic.standard_torch()
    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat of x (B, C, H, W); not bounded by the range of the data.

        Raises
        ------
        UsageError
            If the level lies outside those trained, or x or the labels do not fit the network.
        """
        self.check((level,), (), tuple(labels.tolist()) if labels is not None else (-1,))
        size = math.hypot(level.signal, level.noise)
        x, scaled = x / size, mosaic.Level(level.signal / size, level.noise / size)
        pipeline = self.load()
        unet = pipeline.unet
        classes = labels if unet.config.num_class_embeds else None
        unet = unet if unet.dtype == x.dtype else unet.to(x.dtype)

        def predict(given: Tensor, time: float | mosaic.Level) -> Tensor:
            times = given.new_full((len(given),), float(time))  # type: ignore[arg-type]  # networks are told numbers
            predicted: Tensor = unet(given, times, class_labels=classes).sample
            return predicted[:, : given.shape[1]]  # one that learns the variance gives it in further channels

        convention = mosaic.Convention(prediction=PREDICTIONS[pipeline.scheduler.config.prediction_type])
        return convention.denoised(x, scaled, predict, pipeline.time)

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse images, noise levels and labels that the network was not trained for; note if samplers would clip."""
        pipeline, (channels, height, width) = self.load(), self.dataset.shape
        config, low, high = pipeline.unet.config, pipeline.log_ratios[0], pipeline.log_ratios[-1]
        side = config.sample_size
        sides = (side, side) if isinstance(side, int) else tuple(side) if side is not None else (height, width)
        learned = pipeline.scheduler.config.get("variance_type") in LEARNED
        if config.out_channels != config.in_channels and not (
            learned and config.out_channels == 2 * config.in_channels
        ):
            raise mosaic.UsageError(
                f"The network in '{self.options.pipeline}' takes {config.in_channels} channels and gives "
                f"{config.out_channels}; it must give as many, or twice as many if the scheduler's variance_type is "
                f"{' or '.join(LEARNED)}, not {pipeline.scheduler.config.get('variance_type')}."
            )
        if (config.in_channels, *sides) != (channels, height, width):
            raise mosaic.UsageError(
                f"The network in '{self.options.pipeline}' takes images of shape {(config.in_channels, *sides)}, but "
                f"data set '{self.dataset.name}' has shape {self.dataset.shape} (channels, height, width)."
            )
        if config.class_embed_type is not None or config.time_embedding_type not in ("positional", "fourier"):
            raise mosaic.UsageError(
                f"The network in '{self.options.pipeline}' takes its time or class in a way that is not known here "
                f"(time_embedding_type {config.time_embedding_type}, class_embed_type {config.class_embed_type})."
            )
        for level in levels:
            if not low - ROUNDING <= math.log(level.ratio) <= high + ROUNDING:
                raise mosaic.UsageError(
                    f"The network in '{self.options.pipeline}' was trained on noise-to-signal ratios from "
                    f"{math.exp(low):.3g} to {math.exp(high):.3g}; {level} has {level.ratio:.3g}. Use another "
                    f"`schedule`, or fewer `steps`."
                )
        count = config.num_class_embeds or 0
        for label in labels:
            if (count and not 0 <= label < count) or (not count and label != -1):
                allowed = f"classes from 0 to {count - 1}" if count else "no classes (`labels` none)"
                raise mosaic.UsageError(f"The network in '{self.options.pipeline}' takes {allowed}, not {label}.")
        return self._notes(pipeline.scheduler.config)

    def _notes(self, config: Any) -> list[str]:
        """Note a setting by which the pipeline's own sampler would change x0hat."""
        clips = [name for name in ("clip_sample", "thresholding") if config.get(name)]
        return [
            f"The scheduler in '{self.options.pipeline}' has {name}: its own sampler bounds x0hat, mosaic does not."
            for name in clips
        ]

    def _memory(self, batch: int, scale: float, dtype: torch.dtype, labels: tuple[int, ...]) -> mosaic.Memory | None:
        """The weights, and the tensors that are alive at a time when the network evaluates a batch."""
        unet = self.load().unet
        return network_memory(unet, (batch, *self.dataset.shape), dtype, bool(unet.config.num_class_embeds))

    @property
    def traits(self) -> mosaic.Traits:
        """Its fingerprint is that of the files as they were when it was loaded."""
        return mosaic.Traits(fingerprint=lambda: self.load().fingerprint, memory=self._memory)

    def _fingerprint(self) -> str:
        """SHA-256 of the network's weights and of the configurations of network and scheduler."""
        digest = hashlib.sha256()
        if self._given is not None:
            unet, scheduler = self._given
            for name, value in sorted(unet.state_dict().items()):
                digest.update(f"{name} {mosaic.digest_of(value.float())}".encode())  # whatever it was evaluated in
            digest.update(json.dumps([unet.config, scheduler.config], sort_keys=True, default=str).encode())
            return digest.hexdigest()
        folder = self._folder()
        for path in (*sorted((folder / "unet").iterdir()), folder / "scheduler" / CONFIGURATION):
            if path.suffix in (".safetensors", ".json"):
                digest.update(path.read_bytes())
        return digest.hexdigest()


def _ends(values: list[float]) -> str:
    """The first and the last of many numbers."""
    shown = [f"{value:.4g}" for value in values]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]]) or "none"


def _diffusers() -> Any:
    """Import the library, which imports torchvision.

    Raises
    ------
    PluginError
        If it is not installed.
    """
    mosaic.import_torchvision()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what the library itself will change
            import diffusers

            _ = diffusers.UNet2DModel, diffusers.DDPMScheduler
            diffusers.utils.logging.set_verbosity_error()
    except (ImportError, RuntimeError) as error:
        raise mosaic.PluginError(
            f"Score model 'diffusers' needs the diffusers library ({error}); pip install 'mosaic-diffusion[diffusers]'."
        ) from None
    return diffusers


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Diffusers)
