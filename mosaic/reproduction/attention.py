"""What attention does to consistency: images whose two halves must agree, though no window sees both.

The claim to test is that of Finn, Keller, Theodosis & Ba (2025, arXiv 2506.17324): a layer of attention makes distant
parts of an image agree (seed 004 of the project, line 193: "attention is enforcing some kind of consistency
constraint"). Data and experiment are our own; theirs were not to be had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from mosaic.config import RunConfig
from mosaic.origin import is_of_other_code
from mosaic.plugins import registry
from mosaic.reproduction.agreement import SHARES, agreement_of, copies_among, rule_of
from mosaic.reproduction.attention_maps import machine_maps, network_maps
from mosaic.reproduction.attention_picture import draw_attention
from mosaic.reproduction.duration import Forecast, forecast, machine_seconds
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.rows import Row
from mosaic.reproduction.target import Target
from mosaic.rule import VERDICTS, verdicts_of
from mosaic.statistics import interval_of
from mosaic.store import RunStore
from mosaic.trajectory import levels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ATTENTIVE",
    "NETWORKS",
    "THEORIES",
    "AttentionTable",
    "forecast_theory",
    "interval_text",
    "run_theory",
    "scale_of",
    "stem_of",
]

NONE = (float("nan"),) * 3


def _network(name: str, network: str, **options: Any) -> Row:
    row = f"pairs-{name}"
    return Row(row, name, "pairs", network, "zeros", False, NONE, "pairs-resnet", options)


NETWORKS = {
    "resnet": _network("resnet", "resnet"),
    "resnet-attention softmax": _network("resnet-softmax", "resnet-attention", attention="softmax", embedding=16),
    "resnet-attention top1": _network("resnet-top1", "resnet-attention", attention="top1", embedding=16),
}
FORMS: dict[str, dict[str, Any]] = {
    "compose": {"form": "compose"},
    "compose-score": {"form": "compose", "value": "score"},
    # Without this, each pixel attends to itself nearly alone, which is ELS.
    "compose-window": {"form": "compose", "embedding": "window", "exclude_self": True},
    "mixture": {"form": "mixture"},
}
ATTENTIVE = {
    f"{form} {kind}": {**options, "attention": kind}
    for form, options in FORMS.items()
    for kind in ("softmax", "top1", "identity")
    if kind != "identity" or form in ("compose", "mixture")
}
# When do mixed scores act: at the first step, t = 1, where noise is 80 times the signal, or later, where 11 or less?
MIXED = ATTENTIVE["compose-score softmax"]
THEORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "els": ("els", {}),
    **{name: ("els-attention", options) for name, options in ATTENTIVE.items()},
    "compose-score softmax first": (
        "switch",
        {"at": 20.0, "above": "els-attention", "above_options": MIXED, "below": "els"},
    ),
    "compose-score softmax later": (
        "switch",
        {"at": 20.0, "above": "els", "below": "els-attention", "below_options": MIXED},
    ),
    "is": ("is", {}),
}
MAPPED = ("compose softmax", "compose-score softmax", "compose-window softmax")
MAPPED_NETWORK = "resnet-attention softmax"


class AttentionTable(Target):
    """Consistency of images with two halves that must agree: ELS, ELS with attention, networks with and without."""

    name = "attention"
    most_rows = 0

    def experiments(self) -> dict[str, Experiment]:
        """The experiment of each network."""
        return {name: self.study.experiment_of(row) for name, row in NETWORKS.items()}

    def forecast(self) -> list[Forecast]:
        """Tell the trainings and the runs."""
        experiments = self.experiments()
        base = experiments["resnet"]
        steps = [step for one in experiments.values() for step in forecast(one, ("train", "network"))]
        return steps + [
            forecast_theory(base, "attention", name, {stem_of(name): str(scale_of(base))}) for name in THEORIES
        ]

    def measure(self) -> xr.Dataset:
        """Train the networks, run them and the theories from the same noise, and judge the images.

        Returns
        -------
        xarray.Dataset
            Along (maker, sample): `image`; `verdict`, an index into its attribute `verdicts`; `copy`, whether it is a
            copy of a training image; with `part`, `shown`, the kind (named in its attribute) or -1, -2. Along maker,
            what `agreement_of` gives. `pearson_r` (theory, network, sample) and its `_median`, `_low` and `_high`.
            `state_std` (theory, step), standard deviation of the states over samples and pixels, beside that of noisy
            data, `forward_std` (step), at `time` (step). `alpha` (attends, moment, pixel, height, width), what two
            pixels of the first sample attend to along its flow, by three theories and a network; `moment_time`.
        """
        experiments = self.experiments()
        base = experiments["resnet"]
        rule, dataset = rule_of(base.dataset), base.dataset
        images = {}
        for name, experiment in experiments.items():
            with experiment.run("network") as run:
                images[name] = run["image"].values
        deviations = {}
        for name in THEORIES:
            with run_theory(base, name) as run:
                images[name] = run["image"].values
                deviations[name] = run["state"].std(["sample", "channel", "height", "width"]).values
                noisy = [level.signal**2 * dataset.images.var() + level.noise**2 for level in levels_of(run)]
                times = run["time"].values
        shown = np.stack([rule.shows(torch.from_numpy(one)).numpy() for one in images.values()])
        copies = np.stack([copies_among(torch.from_numpy(one), dataset) for one in images.values()])
        verdicts = np.stack([verdicts_of(torch.from_numpy(one)).numpy() for one in shown])
        shares = agreement_of(shown, copies, len(rule.kinds))
        found = xr.Dataset(
            {
                "image": (("maker", "sample", "channel", "height", "width"), np.stack(list(images.values()))),
                "shown": (("maker", "sample", "part"), shown, {"kinds": json.dumps(rule.kinds)}),
                "verdict": (("maker", "sample"), verdicts, {"verdicts": json.dumps(VERDICTS)}),
                "copy": (("maker", "sample"), copies),
                **{name: ("maker", values) for name, values in shares.items()},
                "state_std": (("theory", "step"), np.stack(list(deviations.values()))),
                "forward_std": ("step", np.sqrt(noisy)),
            },
            {"maker": list(images), "theory": list(THEORIES), "network": list(NETWORKS), "time": ("step", times)},
            {"dataset_range": str(list(dataset.range))},
        )
        return found.assign(self._likeness(images)).merge(self._maps(experiments))

    def _maps(self, experiments: dict[str, Experiment]) -> xr.Dataset:
        """What three theories and a network attend to."""
        base, attentive = experiments["resnet"], experiments[MAPPED_NETWORK]
        kind = registry().get("score", "els-attention")
        maps = {}
        for name in MAPPED:
            options = {**ATTENTIVE[name], "boundary": base.row.padding}
            machine = kind(kind.Options.parse(options, "score.els-attention"), base.dataset)
            with run_theory(base, name) as run:
                maps[name] = machine_maps(machine, run)
        with attentive.run("network") as run:
            maps[MAPPED_NETWORK] = network_maps(attentive.checkpoint.load(), run, maps[name]["moment_time"].values)
        return xr.concat(maps.values(), dim="attends").assign_coords(attends=list(maps))

    def _likeness(self, images: dict[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
        """Correlation of every theory with every network."""
        pearson = registry().get("metric", "pearson_r")()
        pairs = [[(torch.from_numpy(images[t]), torch.from_numpy(images[n])) for n in NETWORKS] for t in THEORIES]
        values = np.array([[pearson(*pair).numpy() for pair in row] for row in pairs])
        ends = np.array([[interval_of(one, "median") for one in row] for row in values])
        names = ("pearson_r_median", "pearson_r_low", "pearson_r_high")
        return {
            "pearson_r": (("theory", "network", "sample"), values),
            **{name: (("theory", "network"), ends[..., place]) for place, name in enumerate(names)},
        }

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the consistency of each maker, and how alike theories and networks are."""
        lines = []
        for maker in found["maker"].values.tolist():
            one = found.sel(maker=maker)
            every, fresh, parts = (interval_text(one, name, "_share") for name in SHARES)
            lines.append(
                f"{maker}: consistent {every}, and no copies {fresh}; agreement of whole parts {parts}, by chance "
                f"{float(one['chance']):.2f}, beyond it {interval_text(one, 'beyond_chance', '')}"
            )
        for theory in THEORIES:
            likeness = (
                f"{name} {interval_text(found.sel(theory=theory, network=name), 'pearson_r', '_median')}"
                for name in NETWORKS
            )
            lines.append(f"{theory}: median pearson_r with {', '.join(likeness)}")
        for words, step in (("states after one step", 1), ("last states", -1)):
            one = found.isel(step=step)
            spread = ", ".join(f"{theory} {float(one['state_std'].sel(theory=theory)):.2f}" for theory in THEORIES)
            lines.append(f"standard deviation of the {words}: {spread}; of noisy data {float(one['forward_std']):.2f}")
        return lines

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw samples, the shares of verdicts, and the maps."""
        return draw_attention(found)


def interval_text(one: xr.Dataset, name: str, tail: str) -> str:
    """Write a value, `name` + `tail`, and its interval."""
    value, low, high = (float(one[f"{name}{end}"]) for end in (tail, "_low", "_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def forecast_theory(base: Experiment, target: str, name: str, runs: Mapping[str, str]) -> Forecast:
    """Tell how long a theory's runs will take, given the scales of each by the name that it is kept under.

    In-degrees of `mixture` are the fields of as many images as there are; averaging whole windows costs about as much
    as comparing them, by the torch engine.
    """
    stores = {stem: RunStore(base.folder / f"{stem}.nc") for stem in runs}
    begun = [stem for stem, store in stores.items() if store.has_begun()]
    kept = [stem for stem in begun if base.has_run(stem, theory_config(base, name, runs[stem]))]
    other = any(is_of_other_code(stores[stem].path) for stem in kept)
    if len(kept) == len(runs):
        return Forecast(f"{target}: {name}", 0.0, True, other)
    score, options = THEORIES[name]
    window = options.get("embedding") == "window"
    scales = None if score == "is" else str(scale_of(base))
    seconds = machine_seconds(base, "is" if score == "is" else "els", "torch" if window else "auto", scales)
    more = 2.0 if window else 1.0
    if options.get("form") == "mixture":
        more += len(base.dataset) / base.samples
    return Forecast(f"{target}: {name}", (len(runs) - len(kept)) * more * seconds, False, other)


def stem_of(name: str) -> str:
    """Name of the file of a theory's run."""
    return name.replace(" ", "-")


def scale_of(base: Experiment) -> int:
    """Give the window of the theories at every step: all that the network without attention can see about a pixel.

    Its optimum is the ELS machine with this window. Scales that agree best with the network as it is trained are
    smaller; at those the machine cannot tell where in the image it is, and hardly makes a whole square.
    """
    side = base.training_plan.network.receptive_field()
    assert side is not None  # it is convolutions only
    return side


def theory_config(base: Experiment, name: str, scales: str) -> RunConfig:
    """Configuration of a theory's run from the noise that the networks start from."""
    score, options = THEORIES[name]
    config = base.run_config("is" if score == "is" else "els", scales)
    return config.model_copy(update={"score": score, "score_options": {**config.score_options, **options}})


def run_theory(base: Experiment, name: str, scales: str | None = None, stem: str | None = None) -> xr.Dataset:
    """Run a theory, with the window of `scale_of` or others; keep it under its own name, or `stem`."""
    return base.execute(stem or stem_of(name), theory_config(base, name, scales or str(scale_of(base))))
