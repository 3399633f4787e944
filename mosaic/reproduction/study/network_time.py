"""How long a row's network takes, measured without its weights: only its architecture decides that."""

from __future__ import annotations

import time

import torch

from mosaic.device import standard_torch
from mosaic.reproduction.study.experiment import Experiment
from mosaic.run.config import RunConfig

__all__ = ["network_seconds"]

MEASURED = 3


@standard_torch()
@torch.no_grad()
def network_seconds(experiment: Experiment, evaluations: float) -> float:
    """Predict the seconds of so many evaluations of one sample each, from a few of an untrained batch."""
    plan = experiment.load_plan()
    module, device, batch = plan.build().module.eval(), plan.dataset.images.device, RunConfig().batch_size
    x = torch.zeros((batch, *plan.dataset.shape), dtype=torch.float32, device=device)
    t = torch.full((batch,), 0.5, dtype=torch.float32, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device) if plan.is_conditional else None
    module(x, t, labels)  # starts threads, chooses algorithms
    begin = time.perf_counter()
    for _ in range(MEASURED):
        module(x, t, labels)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - begin) / (MEASURED * batch) * evaluations
