"""Options of theories, chosen by the networks on noise that the board does not use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from mosaic.errors import UsageError, did_you_mean
from mosaic.evaluate.leaderboard.agreement import Values, evaluated, with_interval
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry
from mosaic.interfaces.metric import Metric
from mosaic.registry.loading import registry
from mosaic.storage.trajectory import check_same_start, open_trajectory

__all__ = ["Candidate", "Tuning", "combinations_of", "tuning_config"]


@dataclass(frozen=True)
class Candidate:
    """One choice of a theory's options.

    Attributes
    ----------
    theory : str
        Name of the theory.
    options : mapping
        The options that are chosen, as they are given.
    trial : LeaderboardEntry
        Its run on the noise that options are chosen on.
    entry : LeaderboardEntry
        What it is on the board, if it is chosen.
    """

    theory: str
    options: Mapping[str, Any]
    trial: LeaderboardEntry
    entry: LeaderboardEntry

    @property
    def text(self) -> str:
        """Write it as `pca-locality.threshold=0.02`; of several options with blanks between."""
        return " ".join(f"{self.theory}.{option}={value}" for option, value in self.options.items())


@dataclass(frozen=True)
class Tuning:
    """The choice of options.

    Attributes
    ----------
    networks : mapping
        Runs of the networks on other noise, by their names on the board.
    candidates : tuple of Candidate
        What is chosen from, theory by theory.
    """

    networks: Mapping[str, LeaderboardEntry]
    candidates: tuple[Candidate, ...]

    @property
    def theories(self) -> tuple[str, ...]:
        """Names of the theories whose options are chosen."""
        return tuple(dict.fromkeys(candidate.theory for candidate in self.candidates))

    def of(self, theory: str) -> list[Candidate]:
        """The candidates of a theory."""
        return [candidate for candidate in self.candidates if candidate.theory == theory]

    def compare(self, metrics: Mapping[str, Metric], failed: Mapping[str, str]) -> xr.Dataset:
        """Compare final images of the candidates with those of each network; NaN for those that `failed` names.

        Returns
        -------
        xarray.Dataset
            `tuning_METRIC` (candidate, training, tuning_sample), with median and interval.
        """
        references = []
        for network in self.networks.values():
            with open_trajectory(network.out) as run:
                references.append(run.drop_vars(["denoised", "state"]).load())
                first = run[["state", "label", "step", "time", "noise", "image"]].isel(step=[0]).load()
        samples = references[0].sizes["sample"]
        shape = len(self.candidates), len(references), samples
        values: dict[str, Values] = {name: np.full(shape, np.nan) for name in metrics}
        for place, candidate in enumerate(self.candidates):
            if candidate.text in failed:
                continue
            with open_trajectory(candidate.trial.out) as run:
                check_same_start(run, first, "reference")
                image = run["image"].values
            for name, metric in metrics.items():
                for training, reference in enumerate(references):
                    values[name][place, training] = evaluated(metric, image, reference["image"].values)
        table = xr.Dataset(coords={"candidate": [candidate.text for candidate in self.candidates]})
        table = table.assign_coords(tuning_seed=("tuning_sample", references[0]["seed"].values))
        for name in metrics:
            table = table.assign(
                with_interval(f"tuning_{name}", ("candidate", "training", "tuning_sample"), values[name])
            )
        return table

    def choose(self, compared: xr.Dataset, ranking: str, higher_is_better: bool) -> dict[str, Candidate]:
        """Give the candidate of each theory whose median of the metric `ranking` is best, of equals the first.

        A theory all of whose candidates failed has none.
        """
        medians = compared[f"tuning_{ranking}_median"]
        chosen: dict[str, Candidate] = {}
        for theory in self.theories:
            known = [each for each in self.of(theory) if not np.isnan(medians.sel(candidate=each.text))]
            order = sorted(known, key=lambda each: float(medians.sel(candidate=each.text)), reverse=higher_is_better)
            if order:  # sorted keeps the order of equals, also in reverse
                chosen[theory] = order[0]
        return chosen


def combinations_of(config: LeaderboardConfig, theories: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Give all combinations of values of `tune`, by theory.

    Raises
    ------
    UsageError, PluginError
        If a theory takes no part, an option is not one, is set already, or has fewer than two values.
    """
    tried: dict[str, list[dict[str, Any]]] = {}
    for theory, values in config.tune.items():
        registry().get("score", theory)
        if theory not in theories:
            raise UsageError(f"`tune` names '{theory}', which takes no part.{did_you_mean(theory, theories)}")
        for option, listed in values.items():
            if len(set(map(str, listed))) < max(2, len(listed)):
                raise UsageError(
                    f"`tune` has {len(listed)} values of '{theory}.{option}' ({', '.join(map(str, listed))}); give at "
                    "least two, each once."
                )
            if option in config.score_options.get(theory, {}):
                raise UsageError(f"`tune` chooses '{theory}.{option}', which is set, too; leave one of the two out.")
        tried[theory] = [
            _parsed(config, theory, dict(zip(values, combination, strict=True)))
            for combination in product(*values.values())
        ]
    return tried


def _parsed(config: LeaderboardConfig, theory: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Values of options as the score model takes them, which the command line gives as texts."""
    parsed = registry().parse("score", theory, {**config.score_options.get(theory, {}), **options})
    values = parsed.model_dump(mode="json")
    return {option: values[option] for option in options}


def tuning_config(config: LeaderboardConfig) -> LeaderboardConfig:
    """Give the configuration of the runs that options are chosen on: other noise, and random labels for a list."""
    labels = "random" if "," in (config.labels or "") else config.labels
    changed = {"samples": config.tuning_samples, "seed": config.seed_of_tuning, "labels": labels}
    return config.model_copy(update=changed)
