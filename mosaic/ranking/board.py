"""From a trained network to its leaderboard: who takes part, their runs, and what is told of them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from pydantic import Field, ValidationError

from mosaic.checkpoint import Checkpoint, load_checkpoint
from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess, DataSet
from mosaic.entry import core_digest
from mosaic.errors import MosaicError, UsageError
from mosaic.estimate import predict_seconds
from mosaic.options import Options
from mosaic.origin import is_of_other_code
from mosaic.picture import save_figure
from mosaic.plan import prepare
from mosaic.plugins import registry
from mosaic.ranking.agreement import agreement_with
from mosaic.ranking.entrant import NETWORK, Job, check_begun, is_done
from mosaic.ranking.picture import draw_leaderboard
from mosaic.runner import data_access, versions_of
from mosaic.sampler import reverse_levels
from mosaic.scales import resolve_scales
from mosaic.store import BegunOtherwise, write_netcdf

__all__ = [
    "SCHEMA",
    "Board",
    "LeaderboardConfig",
    "execute_leaderboard",
    "leaderboard",
    "prepare_leaderboard",
]

SCHEMA = "mosaic-leaderboard/1"

Report = Callable[[str, float], None]
"""Called as report(score, share): whose work is being done, and how much of it is."""


class LeaderboardConfig(Options):
    """What decides the numbers of a leaderboard."""

    checkpoint: str = Field(description="Folder of the trained network.")
    scores: str = Field("all", description="Score models, a list such as els,is; or all that need no options.")
    samples: int = Field(16, ge=1, description="Samples that all make from the same noise.")
    steps: int = Field(20, ge=1, le=100_000, description="Steps of the theories' reverse flows.")
    network_steps: int = Field(150, ge=1, le=100_000, description="Steps of the network's.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the noise.")
    scales: str | None = Field(
        None, description="Locality scales, as for `mosaic run`: best those of `mosaic calibrate`, a file."
    )
    labels: str | None = Field(
        None, description="Classes, as for `mosaic run`. Default: random if the network has any."
    )
    device: str = Field("auto", description="Torch device.")
    dataset_options: dict[str, Any] = Field({}, description="Options of the network's data set, such as a path.")
    score_options: dict[str, dict[str, Any]] = Field({}, description="Options of score models, by their names.")


@dataclass(frozen=True)
class Board:
    """A leaderboard, resolved and checked.

    Attributes
    ----------
    config : LeaderboardConfig
        As asked for.
    dataset : DataSet
        The network's training set.
    jobs : dict
        What each score model does, by its name; the network first.
    left_out : dict
        Score models that cannot take part, and why.
    """

    config: LeaderboardConfig
    folder: Path
    dataset: DataSet
    jobs: Mapping[str, Job]
    left_out: Mapping[str, str]

    def dropped(self) -> list[str]:
        """Name the theories that the leaderboard which is there ranks, and this one will not."""
        path = self.folder / "leaderboard.nc"
        if not path.exists():
            return []
        with xr.open_dataset(path) as stored:
            return [name for name in stored["score"].values.tolist() if name not in self.jobs]

    def unfinished(self) -> dict[str, Job]:
        """What has still to be done.

        Raises
        ------
        BegunOtherwise
            If what is there was made with other settings.
        """
        found = {name: job for name, job in self.jobs.items() if not is_done(job)}
        for job in found.values():
            try:
                check_begun(job, self.dataset)
            except BegunOtherwise:
                raise
            except MosaicError:
                continue  # told when it is carried out
        return found

    def of_other_code(self) -> list[str]:
        """Name those of whom something is there that other code of mosaic made than runs now."""
        files = {name: [file for file in (job.out, job.steps) if file.exists()] for name, job in self.jobs.items()}
        return [name for name, there in files.items() if any(map(is_of_other_code, there))]

    def forecast(self, access: DataAccess) -> dict[str, float | None]:
        """Predict the seconds of each analytic machine; 0 where all is there, None where it cannot be predicted.

        Raises
        ------
        BegunOtherwise
            If what is there was made with other settings.
        """
        found: dict[str, float | None] = dict.fromkeys(self.jobs, 0.0)
        for name, job in self.unfinished().items():
            try:
                seconds = predict_seconds(prepare(job.run, access, dataset=self.dataset))
            except MosaicError:
                seconds = None  # told when it is carried out
            found[name] = None if seconds is None else 2 * seconds  # the flow, and along the network's
        return found


def prepare_leaderboard(
    layers: list[dict[str, Any]], out: Path, access: DataAccess, memory: str | None = None
) -> Board:
    """Find out who takes part, and how.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    config = layered(LeaderboardConfig, *layers)
    checkpoint = load_checkpoint(Path(config.checkpoint).expanduser())
    names, left_out = _entrants(config)
    runs = {name: _run_config(config, checkpoint, name) for name in (NETWORK, *names)}
    network = prepare(runs[NETWORK], access)
    resolved = {"dataset_options": network.config.dataset_options}
    runs = {name: run.model_copy(update=resolved) for name, run in runs.items()}
    facts = {"checkpoint": checkpoint.fingerprint, "dataset": network.dataset.fingerprint}
    levels = reverse_levels(network.schedule, config.steps)[::-1]
    scales = None if config.scales is None else resolve_scales(config.scales, levels)
    jobs = {}
    for name, run in runs.items():
        stem = name.replace(":", "-")
        files = {"out": out / f"{stem}.nc", "along": out / f"{NETWORK}.nc", "steps": out / f"{stem}-steps.nc"}
        told = [Path(sys.argv[0]).name, *sys.argv[1:]]
        versions = versions_of({kind: getattr(run, kind) for kind in ("score", "dataset", "schedule")})
        known = {
            **facts,
            "versions": versions,
            "scales": None if run.scales is None or scales is None else list(scales),
        }
        jobs[name] = Job(
            run=run, **files, moments=config.steps, data_dir=access.root, memory=memory, command_line=told, facts=known
        )
    return Board(config, out, network.dataset, jobs, left_out)


def _entrants(config: LeaderboardConfig) -> tuple[list[str], dict[str, str]]:
    """Names of the score models that take part, and of those left out, with the reason."""
    names = registry()
    unknown = set(config.score_options) - {NETWORK, *names.names("score")}
    if unknown:
        names.get("score", unknown.pop())
    if config.scores != "all":
        asked = [name.strip() for name in config.scores.split(",") if name.strip() not in ("", NETWORK)]
        if not asked:
            raise UsageError(f"--scores '{config.scores}' names no theory; give a list such as els,is, or all.")
        idle = set(config.score_options) - {NETWORK, *asked}
        if idle:
            raise UsageError(f"-o {idle.pop()}: an option of a score model that --scores leaves out.")
        for name in asked:
            names.get("score", name).Options.parse(config.score_options.get(name, {}), f"score.{name}")
        return list(dict.fromkeys(asked)), {}
    taking, left_out = [], {}
    for name in names.names("score"):
        kind = names.get("score", name)
        if name in config.score_options and name != NETWORK:
            kind.Options.parse(config.score_options[name], f"score.{name}")
        try:
            kind.Options.model_validate(config.score_options.get(name, {}))
        except ValidationError as error:
            needed = ", ".join(f"-o {name}.{entry['loc'][0]}=VALUE" for entry in error.errors() if entry["loc"])
            left_out[name] = f"it needs {needed}"
            continue
        taking.append(name)
    left_out.pop(NETWORK, None)
    return taking, left_out


def _run_config(config: LeaderboardConfig, checkpoint: Checkpoint, name: str) -> RunConfig:
    """The run of a score model, or of the network, on the data and with the schedule of the training."""
    trained, kind = checkpoint.config, registry().get("score", name)
    padding = trained.network_options.get("padding")
    options = {"boundary": padding} if padding and "boundary" in kind.Options.model_fields else {}
    if name == NETWORK:
        options = {"checkpoint": str(checkpoint.folder)}
    return RunConfig(
        score=name,
        score_options={**options, **config.score_options.get(name, {})},
        dataset=trained.dataset,
        dataset_options={**trained.dataset_options, **config.dataset_options},
        schedule=trained.schedule,
        schedule_options=trained.schedule_options,
        scales=config.scales if kind.has_scale else None,
        labels=config.labels or ("random" if checkpoint.is_conditional else "none"),
        steps=config.network_steps if name == NETWORK else config.steps,
        **{field: getattr(config, field) for field in ("samples", "seed", "device")},
    )


def execute_leaderboard(board: Board, report: Report = lambda score, share: None) -> xr.Dataset:
    """Carry out all jobs that are not done, compare, store and draw.

    A score model that fails is told in the attribute `failed`, and has no numbers.
    """
    board.folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    board.unfinished()  # refuses what was begun otherwise before anything is done
    for name, job in board.jobs.items():
        if is_done(job):
            continue
        try:
            _in_own_process(job, lambda share, name=name: report(name, share))  # type: ignore[misc]
        except MosaicError as error:
            if name == NETWORK:
                raise
            failed[name] = str(error)
    report("comparing", 1.0)
    found = agreement_with(board.jobs, [name for name in board.jobs if name not in failed])
    found = found.assign_attrs(_facts(board, failed))
    write_netcdf(found, board.folder / "leaderboard.nc")
    save_figure(draw_leaderboard(found), board.folder / "leaderboard.png")
    return found


def _in_own_process(job: Job, report: Callable[[float], None]) -> None:
    command = [sys.executable, "-m", "mosaic.ranking.entrant", job.model_dump_json()]
    words = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("progress "):
                    report(float(line.split()[1]))
                else:
                    words = line.strip() or words
        except BaseException:  # an interrupt, too, must not leave it at work
            process.kill()
            raise
    if process.returncode:
        raise MosaicError(words or f"its process ended with {process.returncode}")


def _facts(board: Board, failed: Mapping[str, str]) -> dict[str, str]:
    return {
        "schema": SCHEMA,
        "title": f"theories against the network in {board.config.checkpoint}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command_line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        "configuration": json.dumps(board.config.model_dump(mode="json")),
        "runs": json.dumps({name: job.run.model_dump(mode="json") for name, job in board.jobs.items()}),
        "left_out": json.dumps(dict(board.left_out)),
        "failed": json.dumps(dict(failed)),
        "mosaic_version": version("mosaic-diffusion"),
        "code": core_digest(),
        "torch_version": torch.__version__,
        "threads": str(torch.get_num_threads()),
    }


def leaderboard(
    checkpoint: str | PathLike[str],
    *,
    out: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    memory: str | None = None,
    report: Report = lambda score, share: None,
    **settings: Any,
) -> xr.Dataset:
    """Rank theories by how well they predict a trained network, as `mosaic leaderboard` does.

    Parameters
    ----------
    checkpoint : path
        Folder of the network, by `mosaic train`.
    out : path
        Folder of all runs; what is there already is gone on with.
    data_dir, memory
        As for `run`.
    report : callable
        Called as report(score, share) as work goes on.
    **settings
        Any field of `LeaderboardConfig`: scores="els,is", samples=64, score_options={"els": {...}}, ...

    Returns
    -------
    xarray.Dataset
        Along `score`, the network first: `final_METRIC` (score, sample) of final images against the network's, and
        `step_METRIC` (score, step, sample) of x0hat at the network's states against its own, for pearson_r, r2, R2 and
        mse, each with `_median`, `_low` and `_high` over samples, NaN for the network itself; `along_METRIC` (score,
        sample), the median over steps, likewise; `behind` (score, sample), by how much `final_pearson_r` is below that
        of the best theory, likewise; `seconds` (score, step) and `seconds_per_step` (score), of one sample;
        `peak_bytes` (score). `step`, `time`, `noise` and `signal` are those of the network's flow, as many as the
        theories have steps.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    """
    folder = Path(out).expanduser()
    layers = [{"checkpoint": str(checkpoint), **settings}]
    return execute_leaderboard(prepare_leaderboard(layers, folder, data_access(data_dir, False), memory), report)
