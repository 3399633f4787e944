"""What `gaussian` computes of a row, as jobs: agreement along the network's flow, and images with a theory first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import xarray as xr

from mosaic.registry.loading import registry
from mosaic.reproduction.gaussian.agreement import THEORIES, agreement_batch, agreement_steps
from mosaic.reproduction.gaussian.switching import FIRSTS, SHARES, SKIPPED, edm_sigmas, evaluations, switched_batch
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.network_time import network_seconds
from mosaic.reproduction.study.rows import NETWORK_STEPS
from mosaic.reproduction.study.steps import calibration_steps, run_step, training_step
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by, record
from mosaic.storage.schema import REPRODUCTION_SCHEMA

__all__ = ["GaussianRow"]

AGREEMENT, SWITCHED = "gaussian-agreement", "gaussian-switched"  # steps and files


class GaussianRow:
    """A row of `gaussian`.

    Parameters
    ----------
    experiment : Experiment
        The row's network, with its data.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def _plan(self, score: str, **settings: Any) -> Plan:
        experiment = self.experiment
        config = experiment.calibrated_config(score).model_copy(update=settings)
        return experiment.study.prepare(config, experiment.load_dataset())

    def _job(self, stem: str, network: Plan, content: Mapping[str, Any], parts: list[Part], unit: str) -> FileJob:
        """Give a job that rests on the network's run, which must be there, and on `content`."""
        place = self.experiment.folder / f"{stem}.nc"
        own = job_of(network, place).identity
        shared = {key: own[key] for key in ("configuration", "dataset_fingerprint", "versions", "engine")}
        return FileJob(
            place=place,
            identity={**shared, "network_fingerprint": own["score_fingerprint"], "job": dict(content)},
            schema=REPRODUCTION_SCHEMA,
            what="a step of `gaussian`",
            parts=parts,
            unit=unit,
            attributes=lambda: {
                **made_by(network.device, network.dataset),
                "title": f"the Gaussian first, and then {self.experiment.row.title}",
            },
            free=("configuration.score_options.checkpoint",),  # a path; the weights are in the identity
        )

    def agreement_job(self) -> FileJob:
        """Give the job of the agreement by time; the network's run and ELS's scales must be there."""
        network, steps = self._plan(NETWORK), self.experiment.sizes.network_steps
        # Nothing is stored of these runs: only x0hat at the network's states is computed.
        plans = {name: self._plan(name, steps=steps, save="none") for name in THEORIES}
        content = {name: _described(plan) for name, plan in plans.items()}
        file, chosen = self.experiment.folder / f"{NETWORK}.nc", agreement_steps(network.times)
        parts = [
            Part(
                sum(plan.work(batch)[step] for plan in plans.values() for step in chosen),
                partial(agreement_batch, plans, file, batch),
            )
            for batch in network.batches
        ]
        return self._job(AGREEMENT, network, {**content, "steps": chosen}, parts, plans["els"].unit)

    def switched_job(self) -> FileJob:
        """Give the job of the images; the runs of the network and of ELS must be there."""
        network, els = self._plan(NETWORK), self._plan("els")
        gaussian = registry().make("score", FIRSTS[0], {}, network.dataset)
        file = self.experiment.folder / "els.nc"
        content = {"els": _described(els), "shares": list(SHARES), "sigmas": edm_sigmas(), "skipped": list(SKIPPED)}
        parts = [
            Part(evaluations(network.times) * len(batch), partial(switched_batch, network, gaussian, file, batch))
            for batch in network.batches
        ]
        return self._job(SWITCHED, network, content, parts, "evaluation")

    def steps(self) -> list[Step]:
        """Give training, calibration, the runs of network and ELS, and what is made of them."""
        experiment = self.experiment
        network, els = run_step(experiment, NETWORK), run_step(experiment, "els")
        needed = [training_step(experiment), *calibration_steps(experiment), network, els]
        steps = {step.name: step for step in needed}
        agreement = Step(experiment.step(AGREEMENT), self.agreement_job, els, self._agreement_seconds)
        switched = Step(experiment.step(SWITCHED), self.switched_job, els, self._switched_seconds)
        return [*steps.values(), agreement, switched]

    def _agreement_seconds(self) -> float:
        """Seconds of as many evaluations as the runs of the theories have."""
        experiment = self.experiment
        els, ideal = run_step(experiment, "els").seconds(), run_step(experiment, "is").seconds()
        return (els or 0.0) + (ideal or 0.0)

    def _switched_seconds(self) -> float:
        times = [i / NETWORK_STEPS for i in range(NETWORK_STEPS, 0, -1)]
        return network_seconds(self.experiment, evaluations(times) * self.experiment.samples)

    def run(self) -> tuple[xr.Dataset, xr.Dataset]:
        """Compute agreement and images, as far as that has not been done."""
        for score in (NETWORK, "els"):
            self.experiment.run(score).close()
        made = []
        for stem, job in ((AGREEMENT, self.agreement_job), (SWITCHED, self.switched_job)):
            step, study = self.experiment.step(stem), self.experiment.study
            with study.execute(step, job()) as stored:
                study.records[step] = record(stored.attrs)
                made.append(stored.load())
        return made[0], made[1]


def _described(plan: Plan) -> dict[str, Any]:
    """What decides a theory's numbers beside the data, JSON-serialisable."""
    traits, options = plan.model.traits, plan.model.options.model_dump(mode="json")
    return {"options": options, "scales": list(plan.scales), "engine": traits.engine(plan.dtype)}
