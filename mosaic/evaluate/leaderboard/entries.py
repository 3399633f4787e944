"""The entries of a leaderboard: what each computes, on what it rests, and where it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entry import Along, LeaderboardEntry
from mosaic.evaluate.leaderboard.networks import ending, network_names
from mosaic.evaluate.leaderboard.participants import (
    OWN,
    STEPS,
    has_scale,
    run_of_network,
    run_of_theory,
    scales_at,
)
from mosaic.evaluate.leaderboard.tuned import how_tuned, origin_of, parameters_of
from mosaic.evaluate.leaderboard.tuning import Candidate, Tuning, tuning_config
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.options import chosen_on
from mosaic.interfaces.sampler import levels_at
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan
from mosaic.run.score import is_registered
from mosaic.storage.made_by import command_line, versions_of
from mosaic.train.runs import NetworkRuns

__all__ = ["Entries"]

TUNING = "tuning"  # name of the folder of runs that options are chosen on


@dataclass(frozen=True)
class Entries:
    """Makes the entries of a board.

    Attributes
    ----------
    config, out, access, memory
        As of `prepare_leaderboard`.
    plans : sequence of Plan
        Of the networks' runs.
    objects : mapping
        Score models that are objects, by the names of their entries.
    """

    config: LeaderboardConfig
    out: Path
    access: DataAccess
    memory: str | float | None
    plans: Sequence[Plan]
    objects: Mapping[str, ScoreModel]

    @property
    def names(self) -> list[str]:
        """Names of the networks."""
        return network_names(len(self.plans))

    def networks(self, runs_of: Sequence[NetworkRuns]) -> dict[str, LeaderboardEntry]:
        """The networks, with single steps along their own flow."""
        runs = [run_of_network(self.config, each) for each in runs_of]
        return {
            name: self._entry(name, run, [self._along_network(name, run, place)])
            for place, (name, run) in enumerate(zip(self.names, runs, strict=True))
        }

    def theory(self, name: str, run: RunConfig) -> LeaderboardEntry:
        """A theory, with single steps along the flow of each network."""
        return self._entry(name, run, [self._along_network(name, run, place) for place in range(len(self.plans))])

    def across(
        self, networks: Mapping[str, LeaderboardEntry], theories: Collection[str]
    ) -> dict[str, LeaderboardEntry]:
        """The networks, with single steps along the flows of the other networks and of the theories."""
        across: dict[str, LeaderboardEntry] = {}
        for place, (name, entry) in enumerate(networks.items()):
            others = [self._along_network(name, entry.run, other) for other in range(len(networks)) if other != place]
            facts = self._facts(name, entry.run, place)
            own = [
                Along(
                    run=self._file(theory),
                    moments=self.config.steps,
                    steps=self._file(theory, f"{OWN}{ending(place)}"),
                    facts=facts,
                )
                for theory in theories
            ]
            across[f"{name} along other flows"] = entry.model_copy(update={"along": (*others, *own)})
        return across

    def tuning(
        self, runs_of: Sequence[NetworkRuns], combinations: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> Tuning | None:
        """The choice of options that `combinations` leave open, by theory."""
        if not combinations:
            return None
        elsewhere, dataset = tuning_config(self.config), self.plans[0].dataset
        networks = {
            name: self._entry(name, run_of_network(elsewhere, each), [], TUNING)
            for name, each in zip(self.names, runs_of, strict=True)
        }
        candidates = [
            Candidate(
                theory=name,
                options=options,
                trial=self._entry(
                    name, run_of_theory(elsewhere, runs_of[0], name, dataset, options), [], TUNING, _stem(name, options)
                ),
                entry=self.theory(name, run_of_theory(self.config, runs_of[0], name, dataset, options)),
            )
            for name, tried in combinations.items()
            for options in tried
        ]
        return Tuning(networks, tuple(candidates))

    def how_tuned(self, name: str, run: RunConfig, chosen: Collection[str]) -> str:
        """Say how the parameters of a theory were chosen; `chosen` are its options that networks choose."""
        model = self.objects.get(name)
        if model is not None and not is_registered(model):
            return "not known"
        options = registry().parse("score", run.score, run.score_options) if model is None else model.options
        unused = options.unused()
        return how_tuned(
            run.score,
            [each for each in parameters_of(type(options)) if each not in unused],
            has_scale=has_scale(run, self.plans[0].dataset, model),
            origin=origin_of(run.scales),
            seeds=self.plans[0].seeds,
            by_hand=model.options.model_fields_set if model is not None else self.config.score_options.get(name, {}),
            chosen=chosen,
            defaults=chosen_on(type(options)),
        )

    def _entry(
        self, name: str, run: RunConfig, along: Sequence[Along], folder: str = "", stem: str = ""
    ) -> LeaderboardEntry:
        """An entry whose options of the data set are those of the data that were read."""
        options = {"dataset_options": self.plans[0].config.dataset_options}
        return LeaderboardEntry(
            name=name,
            run=run.model_copy(update=options),
            out=self.out / folder / self._file(stem or name).name,
            along=tuple(along),
            data_dir=self.access.root,
            memory=self.memory,
            command_line=command_line(),
        )

    def _along_network(self, name: str, run: RunConfig, place: int) -> Along:
        """Single steps of an entry along the flow of the network at this place."""
        return Along(
            run=self._file(self.names[place]),
            moments=self.config.steps,
            steps=self._file(name, f"{STEPS}{ending(place)}"),
            facts=self._facts(name, run, place),
        )

    def _facts(self, name: str, run: RunConfig, place: int) -> dict[str, Any]:
        """What an entry's numbers rest on beside its configuration; the network at this place is concerned."""
        plan, model = self.plans[place], self.objects.get(name)
        levels = levels_at(plan.schedule, plan.sampler.times(plan.schedule, self.config.steps))[::-1]
        if model is None and name in self.names and name != self.names[place]:
            model = self.plans[self.names.index(name)].model
        return {
            "checkpoint": plan.model.traits.fingerprint(),
            "dataset": plan.dataset.fingerprint(),
            "versions": versions_of(run, plan.model.traits.plugins() if name in self.names else ()),
            "scales": scales_at(run, levels, plan.dataset, model),
            **({} if model is None else {"score": model.traits.fingerprint()}),
        }

    def _file(self, name: str, end: str = "") -> Path:
        return self.out / f"{name.replace(':', '-')}{end}.nc"  # as in names of plugins


def _stem(name: str, options: Mapping[str, Any]) -> str:
    """Name of a candidate's file, the same whatever other candidates there are."""
    return f"{name}-{hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]}"
