"""What attention does to consistency: images whose two halves must agree, though no window sees both.

The claim to test is that of Finn, Keller, Theodosis & Ba (2025, arXiv 2506.17324): a layer of attention makes distant
parts of an image agree. Data and experiment are our own; theirs were not to be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from mosaic.dataset import DataSet
from mosaic.errors import UsageError
from mosaic.plugins import registry
from mosaic.reproduction.attention_picture import draw_attention
from mosaic.reproduction.duration import Forecast, forecast, machine_seconds
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.rows import Row
from mosaic.reproduction.target import Target
from mosaic.rule import Rule
from mosaic.statistics import interval_of
from mosaic.trajectory import levels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ATTENTIVE", "NETWORKS", "THEORIES", "AttentionTable"]

NONE = (float("nan"),) * 3


def _network(name: str, network: str, **options: Any) -> Row:
    row = f"pairs-{name}"
    return Row(row, name, "pairs", network, "zeros", False, NONE, "pairs-resnet", options)


NETWORKS = {
    "resnet": _network("resnet", "resnet"),
    "resnet-attention softmax": _network("resnet-softmax", "resnet-attention", attention="softmax", embedding=16),
    "resnet-attention top1": _network("resnet-top1", "resnet-attention", attention="top1", embedding=16),
}
ATTENTIVE = {
    f"{form} {kind}": {"form": form, "attention": kind}
    for form in ("compose", "mixture")
    for kind in ("softmax", "top1", "identity")
}
THEORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "els": ("els", {}),
    **{name: ("els-attention", options) for name, options in ATTENTIVE.items()},
    "is": ("is", {}),
}
ENDS = ("share", "low", "high")


class AttentionTable(Target):
    """Consistency of images with two halves that must agree: ELS, ELS with attention, networks with and without."""

    name = "attention"
    most_rows = 0

    def experiments(self) -> dict[str, Experiment]:
        """The experiment of each network."""
        return {name: self.study.experiment_of(row) for name, row in NETWORKS.items()}

    def forecast(self) -> list[Forecast]:
        """Tell the trainings, the calibration and the runs."""
        experiments = self.experiments()
        base = experiments["resnet"]
        steps = []
        for experiment in experiments.values():
            wanted = (": train", ": calibrate", ": network") if experiment is base else (": train", ": network")
            steps += [step for step in forecast(experiment) if step.step.endswith(wanted)]
        for name in THEORIES:
            done = (base.folder / f"{stem_of(name)}.nc").exists()
            times = 1 + (3 if name.startswith("mixture") else 0)  # in-degrees: as long as 300 samples
            score = "is" if name == "is" else "els"
            steps.append(Forecast(f"attention: {name}", 0.0 if done else times * machine_seconds(base, score), done))
        return steps

    def measure(self) -> xr.Dataset:
        """Train the networks, run them and the theories from the same noise, and judge the images.

        Returns
        -------
        xarray.Dataset
            Along (maker, sample): `image` and `verdict`, an index into its attribute `verdicts`. Along maker, with the
            ends `_low` and `_high` of Wilson intervals: `consistency_share`, of all images, and `agreement_share`, of
            those whose parts are whole. `chance`, what `agreement_share` is where parts are independent. `pearson_r`
            (theory, network, sample) and its `_median`, `_low` and `_high`. `alpha` (time, pixel, height, width): what
            chosen pixels attend to, for compose softmax.
        """
        experiments = self.experiments()
        base = experiments["resnet"]
        rule = rule_of(base.dataset)
        images = {name: experiment.run("network")["image"].values for name, experiment in experiments.items()}
        images |= {name: run_theory(base, name)["image"].values for name in THEORIES}
        verdicts = np.stack([rule.judge(torch.from_numpy(one)).numpy() for one in images.values()])
        found = xr.Dataset(
            {
                "image": (("maker", "sample", "channel", "height", "width"), np.stack(list(images.values()))),
                "verdict": (("maker", "sample"), verdicts, {"verdicts": ", ".join(rule.verdicts)}),
                "chance": ((), rule.chance),
            },
            {"maker": list(images), "theory": list(THEORIES), "network": list(NETWORKS)},
            {"dataset_range": str(list(base.dataset.range))},
        )
        found = found.assign(judged(verdicts, "maker")).assign(self._agreement(images))
        return found.merge(self._maps(base))

    def _agreement(self, images: dict[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
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

    def _maps(self, base: Experiment) -> xr.Dataset:
        """What the pixels in the middle of both edges attend to along a run of compose softmax, in its first sample."""
        kind = registry().get("score", "els-attention")
        options = {**ATTENTIVE["compose softmax"], "boundary": base.row.padding}
        machine = kind(kind.Options.parse(options, "score.els-attention"), base.dataset)
        with run_theory(base, "compose softmax") as run:
            height, width = run.sizes["height"], run.sizes["width"]
            pixels = [(height // 2, 1), (height // 2, width - 2)]
            maps = []
            for step, level in enumerate(levels_of(run)):
                x = torch.from_numpy(run["state"].isel(sample=slice(1), step=step).values)
                _, embedding = machine.field(x, base.dataset.images.cpu(), level, int(run["scale"][step]))
                alpha = machine.weights_of(embedding)[0].reshape(height, width, height, width)
                maps.append(np.stack([alpha[pixel].numpy() for pixel in pixels]))
            coords = {"time": run["time"].values.tolist(), "pixel": [f"row {i}, column {j}" for i, j in pixels]}
        return xr.Dataset({"alpha": (("time", "pixel", "height", "width"), np.stack(maps))}, coords)

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the consistency of each maker."""
        lines = []
        for maker in found["maker"].values.tolist():
            one = found.sel(maker=maker)
            every, whole = (
                "{:.2f} [{:.2f}, {:.2f}]".format(*(float(one[f"{name}_{end}"]) for end in ENDS))
                for name in ("consistency", "agreement")
            )
            lines.append(f"{maker}: consistent {every}; of those with whole parts {whole}")
        return [*lines, f"chance, of those with whole parts: {float(found['chance']):.2f}"]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw samples, the shares of verdicts, and the maps."""
        return draw_attention(found)


def rule_of(dataset: DataSet) -> Rule:
    """The data set's rule.

    Raises
    ------
    UsageError
        If it has none.
    """
    if dataset.rule is None:
        raise UsageError(f"Data set '{dataset.name}' has no rule that images could be judged by; use --dataset pairs.")
    return dataset.rule


def stem_of(name: str) -> str:
    """Name of the file of a theory's run."""
    return name.replace(" ", "-")


def run_theory(base: Experiment, name: str, scales: str | None = None, stem: str | None = None) -> xr.Dataset:
    """Run a theory from the noise that the networks start from, at the calibrated scales or others."""
    score, options = THEORIES[name]
    config = base.run_config("is" if score == "is" else "els", scales or str(base.scales))
    options = {**config.score_options, **options}
    return base.execute(stem or stem_of(name), config.model_copy(update={"score": score, "score_options": options}))


def judged(verdicts: np.ndarray, dim: str) -> dict[str, tuple[Any, ...]]:
    """Shares of consistent images (M, samples), of all and of those whose parts are whole, with their intervals."""
    every = np.array([interval_of((row == 0).astype(float), "share") for row in verdicts])
    whole = np.array([interval_of((row[row <= 1] == 0).astype(float), "share") for row in verdicts])
    return {
        f"{name}_{end}": (dim, values[:, place])
        for name, values in (("consistency", every), ("agreement", whole))
        for place, end in enumerate(ENDS)
    }
