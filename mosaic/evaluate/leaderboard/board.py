"""A leaderboard that is ready to start: its entries, and which of them are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mosaic.errors import MosaicError
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry
from mosaic.evaluate.leaderboard.participants import TABLE
from mosaic.evaluate.leaderboard.protocol import PROTOCOLS
from mosaic.evaluate.leaderboard.tuned import ON_THIS_NOISE
from mosaic.evaluate.leaderboard.tuning import Candidate, Tuning
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, silent
from mosaic.run.estimate import predict_seconds
from mosaic.run.plan import Plan
from mosaic.storage.files import open_stored, reusing
from mosaic.storage.job import ConfigMismatch
from mosaic.storage.made_by import code_changed, stored_code
from mosaic.storage.schema import LEADERBOARD_SCHEMA

__all__ = ["Board", "Plans"]

Plans = Mapping[str, Plan | None]
"""Plans of what is not done, by `Board.work`; None where one fails, which is reported when it is executed."""


@dataclass(frozen=True)
class Board:
    """A leaderboard, resolved and checked.

    Attributes
    ----------
    config : LeaderboardConfig
        As asked for.
    folder : Path
        Where all of it is kept.
    dataset : DataSet
        The networks' training set.
    networks : mapping
        Entries of the networks, by their names, with single steps along their own flow.
    theories : mapping
        Entries of the theories, by their names, with single steps along the flow of each network.
    across : mapping
        The networks again, with single steps along all other flows, by names of the work.
    metrics : mapping
        What they are judged by, by their names; the first one decides the ranks.
    left_out : mapping
        Score models that cannot take part, and why.
    tuned : mapping
        How the parameters of each theory were chosen.
    given : str or None
        Theory beyond which the others are asked what they add.
    tuning : Tuning or None
        Options that are to be chosen; a theory is the first of its candidates until they are.
    objects : mapping
        Score models of the entries that are objects, by their names. They work in this process, and so does every entry
        if a network is one: only here are its data.
    """

    config: LeaderboardConfig
    folder: Path
    dataset: DataSet
    networks: Mapping[str, LeaderboardEntry]
    theories: Mapping[str, LeaderboardEntry]
    across: Mapping[str, LeaderboardEntry]
    metrics: Mapping[str, Metric]
    left_out: Mapping[str, str]
    tuned: Mapping[str, str]
    given: str | None = None
    tuning: Tuning | None = None
    objects: Mapping[str, ScoreModel] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The stored table; there is no such file before the first leaderboard is finished."""
        return self.folder / f"{TABLE}.nc"

    @property
    def entries(self) -> dict[str, LeaderboardEntry]:
        """The entries along `score`, and those of further networks, by their names."""
        return {**self.networks, **self.theories}

    @property
    def phases(self) -> list[dict[str, LeaderboardEntry]]:
        """What is to be done, by names: first what the next needs. Work of a phase adds up, that of two does not."""
        phases = [dict(self.networks), dict(self.theories), dict(self.across)]
        if self.tuning is None:
            return phases
        networks = {f"{name} on other noise": entry for name, entry in self.tuning.networks.items()}
        return [networks, {candidate.text: candidate.trial for candidate in self.tuning.candidates}, *phases]

    @property
    def work(self) -> dict[str, LeaderboardEntry]:
        """All that is to be done, by names."""
        return {name: entry for phase in self.phases for name, entry in phase.items()}

    def dropped(self) -> list[str]:
        """Name the theories that the stored leaderboard ranks but this one does not."""
        if not self.file.exists():
            return []
        with reusing(), open_stored(self.file, (LEADERBOARD_SCHEMA,), "a leaderboard") as stored:
            return [name for name in stored["score"].values.tolist() if name not in self.entries]

    def plan_unfinished(self) -> dict[str, Plan | None]:
        """Plan the runs of the work that is not done; None where that fails, which is reported when it is executed.

        Raises
        ------
        ConfigMismatch
            If what is there was made with other settings.
        """
        plans: dict[str, Plan | None] = {}
        for name, entry in self.work.items():
            candidates = [] if self.tuning is None else self.tuning.of(name)
            if _is_one_done(candidates) or (not candidates and entry.are_steps_done()):
                continue
            try:
                plan = entry.prepare(self.dataset, self.objects.get(entry.name))
            except MosaicError:
                plans[name] = None
            else:
                if candidates or not entry.is_run_done(plan) or entry.along:
                    plans[name] = plan
        return plans

    def made_by_other_code(self) -> list[str]:
        """Name the entries whose stored files were made by other code of mosaic than the code running now."""
        return list(
            dict.fromkeys(
                entry.name
                for entry in self.work.values()
                if any(code_changed(stored_code(file)) for file in entry.files if file.exists())
            )
        )

    def notes(self, plans: Plans) -> list[str]:
        """Say what a user should know before the work: what is left out, or used as it is, and the notes of the runs.

        `plans` are those of `plan_unfinished`. A note that several runs have is given once.
        """
        notes = list(self.dataset.notes)
        if self.config.protocol in PROTOCOLS:
            network = next(iter(self.networks.values()))
            notes += PROTOCOLS[self.config.protocol].remarks(self.config.protocol, network.run)
        if dropped := self.dropped():
            notes.append(f"{self.file.name} in '{self.folder}' will no longer rank {', '.join(dropped)}.")
        notes += [f"{name} is left out: {reason}." for name, reason in self.left_out.items()]
        if self.config.scales is not None and all(entry.run.scales is None for entry in self.entries.values()):
            notes.append("No theory here has a locality scale; `scales` is not used.")
        if same := [name for name, text in self.tuned.items() if ON_THIS_NOISE in text]:
            notes.append(
                f"{', '.join(same)}: the scales were calibrated on noise of this board; use another `seed` here or "
                "there."
            )
        if older := self.made_by_other_code():
            notes.append(f"{', '.join(older)}: what other code of mosaic made is used as it is.")
        planned = {name: plan for name, plan in plans.items() if plan is not None}
        runs = {note: self.work[name].name for name, plan in planned.items() for note in plan.notes}
        return notes + [f"{name}: {note}" for note, name in runs.items() if note not in notes]

    def forecast(self, plans: Plans, progress: Progress = silent) -> dict[str, float | None]:
        """Predict the seconds of each analytic machine; 0 if all is done, None if it cannot be predicted.

        `plans` are those of `plan_unfinished`.
        """
        forecast: dict[str, float | None] = dict.fromkeys(self.work, 0.0)
        for number, (name, plan) in enumerate(plans.items()):
            progress(number, len(plans), "measurement", f"measuring how long {name} will take")
            seconds, entry = None if plan is None else predict_seconds(plan), self.work[name]
            forecast[name] = None if seconds is None else seconds * sum(entry.works()) / entry.run.steps
        return forecast


def _is_one_done(candidates: Sequence[Candidate]) -> bool:
    """Tell whether one of a theory's candidates is on the board already; the choice is made again all the same."""
    for candidate in candidates:
        with suppress(ConfigMismatch):
            if candidate.entry.are_steps_done():
                return True
    return False
