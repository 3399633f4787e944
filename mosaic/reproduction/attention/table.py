"""What attention does to consistency: images whose two halves must agree, though no window sees both.

The claim to test is that of Finn, Keller, Theodosis & Ba (2025, arXiv 2506.17324): a layer of attention makes distant
parts of an image agree (seed 004 of the project, line 193: "attention is enforcing some kind of consistency
constraint"). Data and experiment are our own; theirs are not available.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from mosaic.evaluate.statistics import interval_of
from mosaic.interfaces.rule import VERDICTS, verdicts_of
from mosaic.registry.loading import registry
from mosaic.reproduction.attention.consistency import SHARES, consistency_shares, copies_among, rule_of
from mosaic.reproduction.attention.maps import machine_maps, network_maps
from mosaic.reproduction.attention.picture import draw_attention
from mosaic.reproduction.attention.theories import (
    ATTENTIVE,
    NETWORKS,
    THEORIES,
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

    def experiments(self) -> dict[str, Experiment]:
        """Experiments of `NETWORKS` by name, the ResNet without attention first; nothing is read or trained yet."""
        return {name: Experiment(row, self.study) for name, row in NETWORKS.items()}

    def steps(self) -> list[Step]:
        """Train and run each network; then run each theory, its windows the receptive field of the ResNet."""
        experiments = self.experiments()
        base = experiments["resnet"]
        trained = [step for each in experiments.values() for step in (training_step(each), run_step(each, NETWORK))]
        return trained + [theory_step(base, f"attention: {name}", name, stem_of(name)) for name in THEORIES]

    def measure(self) -> xr.Dataset:
        """Train the networks, run them and the theories from the same noise, and judge the images.

        Returns
        -------
        xarray.Dataset
            Along (maker, sample): `image`; `verdict`, an index into its attribute `verdicts`; `copy`, whether it is a
            copy of a training image; with `part`, `shown`, the kind (named in its attribute) or -1, -2. Along maker,
            what `consistency_shares` gives. `pearson_r` (theory, network, sample), its `_median`, `_low` and `_high`.
            `state_std` (theory, step), standard deviation of the states over samples and pixels, beside that of noisy
            data, `forward_std` (step), at `time` (step). `alpha` (attends, moment, pixel, height, width), what two
            pixels of the first sample attend to along its flow, by three theories and a network; `moment_time`.
        """
        experiments = self.experiments()
        base = experiments["resnet"]
        rule, dataset = rule_of(base.load_dataset()), base.load_dataset()
        images, deviations = self._run(experiments)
        shown = np.stack([rule.shows(torch.from_numpy(finals)).numpy() for finals in images.values()])
        copies = np.stack([copies_among(torch.from_numpy(finals), dataset) for finals in images.values()])
        verdicts = np.stack([verdicts_of(torch.from_numpy(parts)).numpy() for parts in shown])
        shares = consistency_shares(shown, copies, len(rule.kinds))
        measured = xr.Dataset(
            {
                "image": (("maker", "sample", "channel", "height", "width"), np.stack(list(images.values()))),
                "shown": (("maker", "sample", "part"), shown, {"kinds": as_attribute(rule.kinds)}),
                "verdict": (("maker", "sample"), verdicts, {"verdicts": as_attribute(VERDICTS)}),
                "copy": (("maker", "sample"), copies),
                **{name: ("maker", values) for name, values in shares.items()},
            },
            {"maker": list(images), "theory": list(THEORIES), "network": list(NETWORKS)},
            {"dataset_range": as_attribute(dataset.range)},
        )
        return measured.assign(self._likeness(images)).merge(deviations).merge(self._maps(experiments))

    def _run(self, experiments: dict[str, Experiment]) -> tuple[dict[str, np.ndarray], xr.Dataset]:
        """Run networks and theories: final images by maker, and the standard deviations of the theories' states."""
        base = experiments["resnet"]
        variance = base.load_dataset().images.var()
        images, deviations = {}, {}
        for name, experiment in experiments.items():
            with experiment.run(NETWORK) as run:
                images[name] = run["image"].values
        for name in THEORIES:
            with run_theory(base, name) as run:
                images[name] = run["image"].values
                deviations[name] = run["state"].std(["sample", "channel", "height", "width"]).values
                noisy = [level.signal**2 * variance + level.noise**2 for level in levels_of(run)]
                times = run["time"].values
        spread = {
            "state_std": (("theory", "step"), np.stack(list(deviations.values()))),
            "forward_std": ("step", np.sqrt(noisy)),
        }
        return images, xr.Dataset(spread, {"time": ("step", times)})

    def _maps(self, experiments: dict[str, Experiment]) -> xr.Dataset:
        """What three theories and a network attend to."""
        base, attentive = experiments["resnet"], experiments[MAPPED_NETWORK]
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
        """Correlation of every theory with every network."""
        pearson = registry().make("metric", "pearson_r", {})
        pairs = [[(torch.from_numpy(images[t]), torch.from_numpy(images[n])) for n in NETWORKS] for t in THEORIES]
        values = np.array([[pearson(*pair).numpy() for pair in row] for row in pairs])
        ends = np.array([[interval_of(r, "median") for r in row] for row in values])
        names = ("pearson_r_median", "pearson_r_low", "pearson_r_high")
        return {
            "pearson_r": (("theory", "network", "sample"), values),
            **{name: (("theory", "network"), ends[..., place]) for place, name in enumerate(names)},
        }

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say the consistency of each maker, and how alike theories and networks are."""
        lines = []
        for maker in measured["maker"].values.tolist():
            shares = measured.sel(maker=maker)
            every, fresh, parts = (interval_text(shares, name, "_share") for name in SHARES)
            lines.append(
                f"{maker}: consistent {every}, and no copies {fresh}; agreement of whole parts {parts}, by chance "
                f"{float(shares['chance']):.2f}, beyond it {interval_text(shares, 'beyond_chance', '')}"
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
