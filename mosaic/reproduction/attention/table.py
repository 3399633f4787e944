"""What attention does to consistency: images whose two halves must agree, though no window sees both.

The claim to test is that of Finn, Keller, Theodosis & Ba (2025, arXiv 2506.17324): a layer of attention makes distant
parts of an image agree (seed 004 of the project, line 193: "attention is enforcing some kind of consistency
constraint"). Data and experiment are our own; theirs are not available.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from mosaic.evaluate.statistics import crossed_interval
from mosaic.interfaces.rule import VERDICTS, verdicts_of
from mosaic.registry.loading import registry
from mosaic.reproduction.attention.consistency import (
    DIFFERENCES,
    SHARES,
    consistency_differences,
    consistency_shares,
    copies_among,
    rule_of,
)
from mosaic.reproduction.attention.maps import machine_maps, network_maps
from mosaic.reproduction.attention.picture import draw_attention
from mosaic.reproduction.attention.theories import (
    ATTENTIVE,
    CONTRASTS,
    NETWORKS,
    THEORIES,
    TRAININGS,
    notes_on,
    run_theory,
    stem_of,
    theory_step,
)
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.steps import run_step, training_step
from mosaic.reproduction.study.target import Target
from mosaic.storage.files import as_attribute
from mosaic.storage.trajectory import levels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AttentionTable", "interval_text"]

MAPPED = ("compose softmax", "compose-score softmax", "compose-window softmax")
MAPPED_NETWORK = "resnet-attention softmax"


class AttentionTable(Target):
    """Consistency of images with two halves that must agree: ELS, ELS with attention, networks with and without."""

    name = "attention"
    most_rows = 0
    takes_trainings = True

    def experiments(self) -> dict[str, list[Experiment]]:
        """Experiments of `NETWORKS` by name, one for each training; nothing is read or trained yet."""
        count = self.study.config.trainings or TRAININGS
        return {
            name: [Experiment(row, self.study, number) for number in range(count)] for name, row in NETWORKS.items()
        }

    def notes(self) -> list[str]:
        """Say if a window of the ResNet sees both halves."""
        return notes_on(self.experiments()["resnet"][0])

    def steps(self) -> list[Step]:
        """Train and run each network; then run each theory, its windows the receptive field of the ResNet."""
        experiments = self.experiments()
        every = [each for trainings in experiments.values() for each in trainings]
        trained = [step for each in every for step in (training_step(each), run_step(each, NETWORK))]
        base = experiments["resnet"][0]
        return trained + [theory_step(base, f"attention: {name}", name, stem_of(name)) for name in THEORIES]

    def measure(self) -> xr.Dataset:
        """Train the networks, run them and the theories from the same noise, and judge the images.

        Returns
        -------
        xarray.Dataset
            Along (maker, training, sample), of which a theory has only the first training: `image`, NaN where there is
            none; `verdict`, an index into its attribute `verdicts`, or -1; `copy`, whether it is a copy of a training
            image; with `part`, `shown`, the kind (named in its attribute) or -1, -2. Along maker, `trainings`, how many
            it has, and what `consistency_shares` gives. Along contrast, what `consistency_differences` gives of two
            networks. `pearson_r` (theory, network, training, sample), its `_median`, `_low` and `_high`.
            `state_std` (theory, step), standard deviation of the states over samples and pixels, beside that of noisy
            data, `forward_std` (step), at `time` (step). `alpha` (attends, moment, pixel, height, width), what two
            pixels of the first sample attend to along its flow, by three theories and a network; `moment_time`.
        """
        experiments = self.experiments()
        dataset = experiments["resnet"][0].load_dataset()
        rule = rule_of(dataset)
        images, deviations = self._run(experiments)
        # Of each maker, by training and sample.
        shown = {name: _judged(finals, rule.shows) for name, finals in images.items()}
        copies = {
            name: _judged(finals, lambda each: torch.from_numpy(copies_among(each, dataset)))
            for name, finals in images.items()
        }
        verdicts = [
            verdicts_of(torch.from_numpy(parts).flatten(0, 1)).numpy().reshape(parts.shape[:2])
            for parts in shown.values()
        ]
        shares = [consistency_shares(shown[name], copies[name], len(rule.kinds)) for name in images]
        made = ("maker", "training", "sample")
        measured = xr.Dataset(
            {
                "image": ((*made, "channel", "height", "width"), _filled(images.values(), np.nan)),
                "shown": ((*made, "part"), _filled(shown.values(), rule.UNKNOWN), {"kinds": as_attribute(rule.kinds)}),
                "verdict": (made, _filled(verdicts, -1), {"verdicts": as_attribute(VERDICTS)}),
                "copy": (made, _filled(copies.values(), False)),
                "trainings": ("maker", [len(finals) for finals in images.values()]),
                **{name: ("maker", [each[name] for each in shares]) for name in shares[0]},
            },
            {"maker": list(images), "theory": list(THEORIES), "network": list(NETWORKS)},
            {"dataset_range": as_attribute(dataset.range)},
        )
        differences = _differences(shown, copies, len(rule.kinds))
        return (
            measured.assign(self._likeness(images)).merge(differences).merge(deviations).merge(self._maps(experiments))
        )

    def _run(self, experiments: dict[str, list[Experiment]]) -> tuple[dict[str, np.ndarray], xr.Dataset]:
        """Run networks and theories: final images (trainings, samples, C, H, W) by maker; deviations of states."""
        base = experiments["resnet"][0]
        variance = base.load_dataset().images[:].var()
        images, deviations = {}, {}
        for name, trainings in experiments.items():
            finals = []
            for experiment in trainings:
                with experiment.run(NETWORK) as run:
                    finals.append(run["image"].values)
            images[name] = np.stack(finals)
        for name in THEORIES:
            with run_theory(base, name) as run:
                images[name] = run["image"].values[None]
                deviations[name] = run["state"].std(["sample", "channel", "height", "width"]).values
                noisy = [level.signal**2 * variance + level.noise**2 for level in levels_of(run)]
                times = run["time"].values
        spread = {
            "state_std": (("theory", "step"), np.stack(list(deviations.values()))),
            "forward_std": ("step", np.sqrt(noisy)),
        }
        return images, xr.Dataset(spread, {"time": ("step", times)})

    def _maps(self, experiments: dict[str, list[Experiment]]) -> xr.Dataset:
        """What three theories and the first training of a network attend to."""
        base, attentive = experiments["resnet"][0], experiments[MAPPED_NETWORK][0]
        maps = {}
        for name in MAPPED:
            boundary = base.network_runs().boundary_for("els-attention")
            machine = registry().make("score", "els-attention", {**ATTENTIVE[name], **boundary}, base.load_dataset())
            with run_theory(base, name) as run:
                maps[name] = machine_maps(machine, run)
        with attentive.run(NETWORK) as run:
            maps[MAPPED_NETWORK] = network_maps(attentive.train().load(), run, maps[name]["moment_time"].values)
        return xr.concat(maps.values(), dim="attends").assign_coords(attends=list(maps))

    def _likeness(self, images: dict[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
        """Correlation of every theory with every training of every network."""
        pearson = registry().make("metric", "pearson_r", {})
        values = np.array(
            [
                [
                    [pearson(*map(torch.from_numpy, (images[theory][0], finals))).numpy() for finals in images[network]]
                    for network in NETWORKS
                ]
                for theory in THEORIES
            ]
        )
        ends = np.array([[crossed_interval(r, "median") for r in row] for row in values])
        names = ("pearson_r_median", "pearson_r_low", "pearson_r_high")
        return {
            "pearson_r": (("theory", "network", "training", "sample"), values),
            **{name: (("theory", "network"), ends[..., place]) for place, name in enumerate(names)},
        }

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say the consistency of each maker, differences of networks, and how alike theories and networks are."""
        lines = []
        for maker in measured["maker"].values.tolist():
            shares = measured.sel(maker=maker)
            every, fresh, complete, parts = (interval_text(shares, name, "_share") for name in SHARES)
            count = int(shares["trainings"])
            name = f"{maker}, {count} trainings" if count > 1 else maker
            lines.append(
                f"{name}: consistent {every}, and no copies {fresh}; whole {complete}; agreement of whole parts "
                f"{parts}, by chance {float(shares['chance']):.2f}, beyond it "
                f"{interval_text(shares, 'beyond_chance', '')}"
            )
        for contrast in measured["contrast"].values.tolist():
            differences = measured.sel(contrast=contrast)
            every, fresh, complete, beyond = (
                interval_text(differences, f"{name}_difference", "") for name in DIFFERENCES
            )
            lines.append(
                f"{contrast}: consistent {every}, and no copies {fresh}; whole {complete}; agreement beyond chance "
                f"{beyond}"
            )
        for theory in THEORIES:
            likeness = (
                f"{name} {interval_text(measured.sel(theory=theory, network=name), 'pearson_r', '_median')}"
                for name in NETWORKS
            )
            lines.append(f"{theory}: median pearson_r with {', '.join(likeness)}")
        for which, step in (("states after one step", 1), ("last states", -1)):
            states = measured.isel(step=step)
            spread = ", ".join(f"{theory} {float(states['state_std'].sel(theory=theory)):.2f}" for theory in THEORIES)
            noisy = float(states["forward_std"])
            lines.append(f"standard deviation of the {which}: {spread}; of noisy data {noisy:.2f}")
        return lines

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw samples, the shares of verdicts, and the maps."""
        return draw_attention(measured)


def interval_text(shares: xr.Dataset, name: str, tail: str) -> str:
    """Write a value, `name` + `tail`, and its interval."""
    value, low, high = (float(shares[f"{name}{end}"]) for end in (tail, "_low", "_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _judged(finals: np.ndarray, judge: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """Judge images (trainings, samples, C, H, W); gives (trainings, samples, ...)."""
    judged = judge(torch.from_numpy(finals).flatten(0, 1)).numpy()
    return judged.reshape(*finals.shape[:2], *judged.shape[1:])


def _filled(makers: Iterable[np.ndarray], fill: float) -> np.ndarray:
    """Stack arrays (trainings, ...) of makers, some of which have fewer trainings; the others are filled."""
    arrays = list(makers)
    most = max(len(each) for each in arrays)
    stacked = np.full((len(arrays), most, *arrays[0].shape[1:]), fill, dtype=arrays[0].dtype)
    for place, each in enumerate(arrays):
        stacked[place, : len(each)] = each
    return stacked


def _differences(shown: dict[str, np.ndarray], copies: dict[str, np.ndarray], kinds: int) -> xr.Dataset:
    """Differences of the networks of `CONTRASTS`, with their intervals."""
    differences = [
        consistency_differences(
            np.stack([shown[name] for name in pair]), np.stack([copies[name] for name in pair]), kinds
        )
        for pair in CONTRASTS
    ]
    variables = {
        f"{name}_difference{end}": ("contrast", [each[name][place] for each in differences])
        for name in DIFFERENCES
        for place, end in enumerate(("", "_low", "_high"))
    }
    return xr.Dataset(variables, {"contrast": [" minus ".join(pair) for pair in CONTRASTS]})
