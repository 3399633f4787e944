"""mosaic: analytic score machines for diffusion models, run, stored and compared.

The names in `__all__` are the public API. They are imported on first use, so `import mosaic` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosaic.calibration import calibrate
    from mosaic.checkpoint import Checkpoint, load_checkpoint
    from mosaic.compute import Compute
    from mosaic.dataset import DataAccess, DataSet, DataSetOptions, DataSource, balanced_subset
    from mosaic.diagnosis import Diagnosis
    from mosaic.errors import DataError, ExitCode, MosaicError, PluginError, UsageError
    from mosaic.image_candidates import translated_images, whole_images
    from mosaic.machine import AnalyticMachine
    from mosaic.metric import Metric
    from mosaic.nearest import nearest_images
    from mosaic.network import Network
    from mosaic.options import Options
    from mosaic.plugins import Register, Registry, hookimpl, registry
    from mosaic.posterior import Posterior
    from mosaic.ranking.board import leaderboard
    from mosaic.reproduction.reproduce import reproduce
    from mosaic.rule import VERDICTS, Rule
    from mosaic.run_comparison import compare
    from mosaic.runner import RunConfig, run
    from mosaic.scales import ScaleSchedule
    from mosaic.schedule import Level, NoiseSchedule
    from mosaic.score import ScoreModel, eps_from_denoised, score_from_denoised
    from mosaic.tensor_cache import cached_tensor, digest_of
    from mosaic.ties import Source, resolve_image_ties, resolve_window_ties, window_keys
    from mosaic.torchvision_import import import_torchvision
    from mosaic.train_config import TrainConfig
    from mosaic.trainer import train
    from mosaic.trajectory import open_trajectory as open
    from mosaic.window_candidates import aligned_windows, engine_of, equivariant_windows
    from mosaic.windows import window_axis, window_sums

__all__ = [
    "VERDICTS",
    "AnalyticMachine",
    "Checkpoint",
    "Compute",
    "DataAccess",
    "DataError",
    "DataSet",
    "DataSetOptions",
    "DataSource",
    "Diagnosis",
    "ExitCode",
    "Level",
    "Metric",
    "MosaicError",
    "Network",
    "NoiseSchedule",
    "Options",
    "PluginError",
    "Posterior",
    "Register",
    "Registry",
    "Rule",
    "RunConfig",
    "ScaleSchedule",
    "ScoreModel",
    "Source",
    "TrainConfig",
    "UsageError",
    "aligned_windows",
    "balanced_subset",
    "cached_tensor",
    "calibrate",
    "compare",
    "digest_of",
    "engine_of",
    "eps_from_denoised",
    "equivariant_windows",
    "hookimpl",
    "import_torchvision",
    "leaderboard",
    "load_checkpoint",
    "nearest_images",
    "open",
    "registry",
    "reproduce",
    "resolve_image_ties",
    "resolve_window_ties",
    "run",
    "score_from_denoised",
    "train",
    "translated_images",
    "whole_images",
    "window_axis",
    "window_keys",
    "window_sums",
]

_HOMES = {
    "calibration": ("calibrate",),
    "checkpoint": ("Checkpoint", "load_checkpoint"),
    "compute": ("Compute",),
    "diagnosis": ("Diagnosis",),
    "dataset": ("DataAccess", "DataSet", "DataSetOptions", "DataSource", "balanced_subset"),
    "errors": ("DataError", "ExitCode", "MosaicError", "PluginError", "UsageError"),
    "image_candidates": ("translated_images", "whole_images"),
    "machine": ("AnalyticMachine",),
    "metric": ("Metric",),
    "nearest": ("nearest_images",),
    "network": ("Network",),
    "options": ("Options",),
    "plugins": ("Register", "Registry", "hookimpl", "registry"),
    "posterior": ("Posterior",),
    "ranking.board": ("leaderboard",),
    "reproduction.reproduce": ("reproduce",),
    "rule": ("VERDICTS", "Rule"),
    "run_comparison": ("compare",),
    "runner": ("RunConfig", "run"),
    "scales": ("ScaleSchedule",),
    "schedule": ("Level", "NoiseSchedule"),
    "score": ("ScoreModel", "eps_from_denoised", "score_from_denoised"),
    "tensor_cache": ("cached_tensor", "digest_of"),
    "torchvision_import": ("import_torchvision",),
    "train_config": ("TrainConfig",),
    "trainer": ("train",),
    "trajectory": ("open_trajectory",),
    "window_candidates": ("aligned_windows", "engine_of", "equivariant_windows"),
    "ties": ("Source", "resolve_image_ties", "resolve_window_ties", "window_keys"),
    "windows": ("window_axis", "window_sums"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    target = "open_trajectory" if name == "open" else name
    if target not in _HOME_OF:
        raise AttributeError(f"module 'mosaic' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"mosaic.{_HOME_OF[target]}"), target)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
