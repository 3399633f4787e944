"""The file format on one page: every variable, coordinate and root attribute that mosaic stores.

Each kind of file has a schema identifier on its root, and a table of its variables: the only place where those are
described, with units and dimensions, and for runs also with types and fill values.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import AfterValidator, FiniteFloat, PositiveInt, TypeAdapter, ValidationError

__all__ = [
    "ATTRIBUTES",
    "CALIBRATION",
    "CHECKPOINT_SCHEMA",
    "COMPARISON",
    "COORDINATES",
    "ENTRY",
    "ESTIMATED",
    "GENERALIZATION",
    "HISTORY",
    "IMAGE",
    "JSON_ATTRIBUTES",
    "LEADERBOARD",
    "NETWORK",
    "PLACES",
    "PROBE",
    "REPRODUCTION",
    "RUN",
    "SAVED",
    "SAVED_WITH_IMAGE",
    "SETTINGS",
    "TABLES",
    "TRAJECTORY_SCHEMA",
    "Variable",
    "check_stored",
    "decoded",
    "described",
    "with_own_axes",
]


@dataclass(frozen=True)
class Variable:
    """A variable or coordinate.

    Attributes
    ----------
    description : str
        Its `long_name`.
    dims : tuple of str
        Its dimensions, in their order; empty for a number, and where they differ from file to file.
    units : str
        "1" for none.
    dtype : type or None
        How it is stored; None for the precision of the computation.
    fill : float
        Value of entries that are not known.
    least, most : float
        What values that are known lie between.
    """

    description: str
    dims: tuple[str, ...] = ()
    units: str = "1"
    dtype: type | None = None
    fill: float = np.nan
    least: float = -np.inf
    most: float = np.inf


TRAJECTORY_SCHEMA = "mosaic-trajectory/1"
CALIBRATION_SCHEMA = "mosaic-calibration/1"
COMPARISON_SCHEMA = "mosaic-comparison/1"
LEADERBOARD_SCHEMA = "mosaic-leaderboard/1"
ENTRY_SCHEMA = "mosaic-single-steps/1"
HISTORY_SCHEMA = "mosaic-training/1"
PROBE_SCHEMA = "mosaic-probe/1"
GENERALIZATION_SCHEMA = "mosaic-generalization/1"
REPRODUCTION_SCHEMA = "mosaic-reproduction/1"
CHECKPOINT_SCHEMA = "mosaic-checkpoint/1"  # of checkpoint.json, beside safetensors

FLOW = ("sample", "step", "channel", "height", "width")
IMAGE = ("sample", "channel", "height", "width")
PIXELS = ("sample", "height", "width")
STEPS = ("sample", "step", "height", "width")
PROBED = ("score", "time", "sample")
LOSSES = ("score", "set", "time", "sample")
BY_TRAINING = ("score", "training", "sample")

# --- a run: mosaic-trajectory -----------------------------------------------------------------------------------------

COORDINATES = {
    "sample": Variable("index of the sample in the run", ("sample",), dtype=np.int64),
    "seed": Variable("seed of the sample's initial noise", ("sample",), dtype=np.int64),
    "label": Variable("class the sample was conditioned on, -1 for none", ("sample",), dtype=np.int64, least=-1),
    "step": Variable("step of the reverse flow, 0 at noise", ("step",), dtype=np.int64, least=0),
    "time": Variable("time t of the schedule, 1 at pure noise", ("step",), dtype=np.float64, least=0, most=1),
    "signal": Variable("signal a of the forward process x_t = a x_0 + s eps", ("step",), dtype=np.float64, least=0),
    "noise": Variable("noise s of the forward process x_t = a x_0 + s eps", ("step",), dtype=np.float64, least=0),
    "scale": Variable(
        "locality scale k, such as a window's side; 0 where the model has none", ("step",), "pixel", np.float64, least=0
    ),
}
# Of pixels: the axes count as plots do, from the lower left pixel, so that `plot.imshow` is the right way up, and are
# described by its labels; `row` and `column` count as arrays, `source_row` and `source_column` do.
PLACES = {
    "height": Variable("height", ("height",), "pixel", np.int64, least=0),
    "width": Variable("width", ("width",), "pixel", np.int64, least=0),
    "row": Variable("row of the pixel, 0 at the top", ("height",), "pixel", np.int64, least=0),
    "column": Variable("column of the pixel, 0 at the left", ("width",), "pixel", np.int64, least=0),
}
RUN = {
    "state": Variable("noisy image x_t where the score was evaluated", FLOW),
    "denoised": Variable("posterior mean x0hat at that state", FLOW),
    "image": Variable("final image at t = 0", IMAGE),
}
# Of a run whose sums over candidates may stop early, so that x0hat is not exact (`score.tolerance`).
ESTIMATED = {
    "compared_share": Variable(
        "share of the comparisons that were made", ("sample", "step"), dtype=np.float64, least=0, most=1
    ),
    "stopped_share": Variable(
        "share of the pixels whose x0hat was estimated from part of the training images",
        ("sample", "step"),
        dtype=np.float64,
        least=0,
        most=1,
    ),
    "estimated_error": Variable(
        "largest estimated standard error of these pixels' x0hat; 0 where there are none",
        ("sample", "step"),
        dtype=np.float64,
        least=0,
    ),
}
# What `save` adds: of final images, where the provenance is kept ...
SAVED_WITH_IMAGE = {
    "source_image": Variable(
        "training image of the window nearest to the pixel's; of equal ones the first",
        PIXELS,
        dtype=np.int32,
        fill=-1,
        least=0,
    ),
    "source_row": Variable("row of its centre in that image", PIXELS, "pixel", np.int16, -1, 0),
    "source_column": Variable("column of its centre in that image", PIXELS, "pixel", np.int16, -1, 0),
    "multiplicity": Variable(
        "number of candidates equal to it, itself included; 0 if not counted", PIXELS, dtype=np.int32, fill=-1, least=0
    ),
}
# ... and of states, by item, at the steps asked for.
SAVED: dict[str, dict[str, Variable]] = {
    "provenance": {
        "candidate_image": Variable(
            "training image of the most probable candidate; of equal ones the first",
            STEPS,
            dtype=np.int32,
            fill=-1,
            least=0,
        ),
        "candidate_row": Variable("row of its centre in that image", STEPS, "pixel", np.int16, -1, 0),
        "candidate_column": Variable("column of its centre in that image", STEPS, "pixel", np.int16, -1, 0),
        "candidate_weight": Variable(
            "posterior probability of that candidate; its equals have as much each", STEPS, dtype=np.float32, least=0
        ),
        "candidate_multiplicity": Variable(
            "number of candidates equal to it, itself included; 0 if not counted",
            STEPS,
            dtype=np.int32,
            fill=-1,
            least=0,
        ),
    },
    "entropy": {"entropy": Variable("entropy of the posterior", STEPS, "nat", np.float32)},
    "n_eff": {
        "n_eff": Variable("effective number of candidates, exp of the entropy", STEPS, dtype=np.float32, least=0)
    },
    "score": {"score": Variable("score, grad log p_t(x_t)", FLOW)},
}

# --- other kinds of files ---------------------------------------------------------------------------------------------

CALIBRATION = {
    "cosine": Variable("cosine similarity of the machine's eps and the network's", ("sample", "step", "k")),
    "distance": Variable("Euclidean distance of the machine's eps and the network's", ("sample", "step", "k")),
    "best": Variable("scale that agrees best, for each sample", ("sample", "step"), "pixel"),
    "scale": Variable("locality scale: median over samples", ("step",), "pixel"),
    "scale_mode": Variable("most frequent scale", ("step",), "pixel"),
    "scale_q25": Variable("lower quartile of the scales", ("step",), "pixel"),
    "scale_q75": Variable("upper quartile of the scales", ("step",), "pixel"),
    "k": Variable("locality scale", ("k",), "pixel"),
}
HISTORY = {
    "loss": Variable("mean squared error of eps", ("step",)),
    "learning_rate": Variable("learning rate", ("step",)),
    "step": Variable("training step", ("step",)),
    "epoch": Variable("passes over the training set", ("step",)),
}
ENTRY = {
    "denoised": Variable("x0hat of the score model at states of a run", FLOW),
    "seconds": Variable("time of the step, of all samples", ("step",), "s"),
}
# METRIC is any metric's name; `described` also knows the tails of ENDS.
COMPARISON = {
    "METRIC": Variable("{metric}"),
    "METRIC_gain": Variable("{metric}, run minus baseline: median over samples, or mean of shares"),
    "METRIC_gain_low": Variable("{metric}, run minus baseline: its interval's lower end"),
    "METRIC_gain_high": Variable("{metric}, run minus baseline: its interval's upper end"),
    "nearest_train_index": Variable("index of the nearest training image", ("role", "sample")),
    "image": Variable("final image", ("role", *IMAGE)),
    "compared": Variable("what is compared with the reference: run, baseline", ("compared",)),
    "role": Variable("run, reference, baseline", ("role",)),
}
NETWORK = "network"  # the network's entry along `score`, for any plugin that runs it
LEADERBOARD = {
    # Of the network's own entry, the other is another training of it, mean over the others.
    "final_METRIC": Variable("{metric} of the theory's final image with the network's", BY_TRAINING),
    "step_METRIC": Variable(
        "{metric} of the theory's x0hat at a state of the network's flow with the network's there",
        ("score", "training", "step", "sample"),
    ),
    "along_METRIC": Variable(
        "{metric} of the theory's x0hat at a state of the network's flow with the network's there, median over steps",
        BY_TRAINING,
    ),
    "own_step_METRIC": Variable(
        "{metric} of the theory's x0hat at a state of its own flow with the network's there",
        ("score", "training", "own_step", "sample"),
    ),
    "own_METRIC": Variable(
        "{metric} of the theory's x0hat at a state of its own flow with the network's there, median over steps",
        BY_TRAINING,
    ),
    "behind": Variable(
        "how far the first metric of final images is behind that of the theory that is best on the other half of the "
        "samples, sample by sample; NaN for a theory that is best on both halves",
        BY_TRAINING,
    ),
    "partial_pearson_r": Variable(
        "Pearson correlation of the theory's final image with the network's, given that of the theory `given`",
        BY_TRAINING,
    ),
    "tuned": Variable("how its parameters were chosen", ("score",)),
    "seconds": Variable("time of a step of one sample", ("score", "step"), "s"),
    "seconds_per_step": Variable("that, mean over steps", ("score",), "s"),
    "peak_bytes": Variable("peak memory, program and data included", ("score",), "byte"),
    "score": Variable("score model", ("score",)),
    "training": Variable("checkpoint of the network", ("training",)),
    "own_step": Variable("step of the theories' own flows, 0 at noise", ("own_step",)),
    "own_time": Variable("time t of the schedule, 1 at pure noise", ("own_step",)),
    "tuning_METRIC": Variable(
        "{metric} of a candidate's final image with the network's, on other noise",
        ("candidate", "training", "tuning_sample"),
    ),
    "candidate": Variable("options of a theory that were tried", ("candidate",)),
    "candidate_score": Variable("theory that they are of", ("candidate",)),
    "chosen": Variable("whether the theory has them on the board", ("candidate",)),
    "tuning_seed": Variable("seed of the noise that options are chosen on", ("tuning_sample",)),
}
PROBE = {
    "state": Variable("noisy image x_t where the scores were probed", ("time", *IMAGE)),
    "field": Variable("mean |d score(centre) / d x| over channels", (*PROBED, "height", "width")),
    "field_width": Variable(
        "side of the square about the centre that holds 95 % of the squared field beside the centre", PROBED, "pixel"
    ),
    "eigenvalue": Variable("largest eigenvalues of the symmetric part of a d x0hat / d x", (*PROBED, "mode")),
    "eigenvector": Variable("their eigenvectors", (*PROBED, "mode", "channel", "height", "width")),
    "trace": Variable("trace of a d x0hat / d x", PROBED),
    "effective_rank": Variable("(sum |l|)^2 / sum l^2 over its eigenvalues l, of the symmetric part", PROBED),
    "curl": Variable("share of it that is antisymmetric: |J - J^T| / 2 |J|, 0 of the gradient of a density", PROBED),
    "equivariance_error": Variable(
        "root mean square of x0hat(shifted x) - shifted x0hat(x), over the standard deviation of the data's pixels",
        PROBED,
    ),
    "equivariance_error_interior": Variable(
        "the same over pixels whose windows do not meet the border, before or after the shift", PROBED
    ),
    "similarity": Variable("cosine of the Jacobian with that of the first score", PROBED),
    "score": Variable("score", ("score",)),
    "method": Variable("how its Jacobian was found", ("score",)),
    "time": Variable("time t of the schedule, 1 at pure noise", ("time",)),
    "signal": Variable("signal a of the noisy images x_t = a x_0 + s eps", ("time",)),
    "noise": Variable("noise s of the noisy images x_t = a x_0 + s eps", ("time",)),
    "scale": Variable("locality scale k, 0 where the score has none", ("score", "time"), "pixel"),
    "sample": Variable("index of the training image x_0", ("sample",)),
    "mode": Variable("number of the eigenvalue, the largest first", ("mode",)),
}
GENERALIZATION = {
    "loss": Variable("mean squared error of x0hat of a noisy image against the image, per value", LOSSES),
    "reference_loss": Variable("the same of what needs no score in place of x0hat", ("reference", *LOSSES[1:])),
    "gap": Variable("mean loss of held-out images minus that of training images", ("score", "time")),
    "score": Variable("score", ("score",)),
    "set": Variable(
        "training: training images; held_out: others; left_out: training images that the score does not have", ("set",)
    ),
    "reference": Variable("x / a: the noisy image; mean image: of the training set", ("reference",)),
    "time": Variable("time t of the schedule, 1 at pure noise", ("time",)),
    "signal": Variable("signal a of the noisy images x_t = a x_0 + s eps", ("time",)),
    "noise": Variable("noise s of the noisy images x_t = a x_0 + s eps", ("time",)),
    "scale": Variable("locality scale k, 0 where the score has none", ("score", "time"), "pixel"),
    "sample": Variable("number of the image among those of its set", ("sample",)),
    "index": Variable("place of the image in its set", ("set", "sample")),
    "seed": Variable("seed of the image's noise", ("set", "sample")),
    "label": Variable("class of the image, -1 for none", ("set", "sample")),
}
REPRODUCTION = {
    "R2": Variable("1 - SSE / SST against the network's final image"),
    "R2_excess": Variable("1 - SSE / SST against ELS minus that against the network: median over samples"),
    "R2_with_els": Variable("1 - SSE / SST against the final image of ELS"),
    "agreement": Variable("consistent images among those whose parts are whole"),
    "alpha": Variable("weight of attention"),
    "attends": Variable("machine or network that attends"),
    "between_training": Variable("median L2 distance of 200 training images from the next"),
    "beyond_chance": Variable("agreement minus chance"),
    "beyond_chance_difference": Variable("beyond_chance of a network minus that of another"),
    "boundary": Variable("boundary of ELS"),
    "calibration_error": Variable(
        "mean squared error of x0hat at the scale tried, mean over samples of the calibration"
    ),
    "channel": Variable("channel"),
    "chance": Variable("agreement if whole parts kept their frequencies, in each training, but were independent"),
    "consistency": Variable("consistent images among all"),
    "consistency_difference": Variable("consistency_share of a network minus that of another"),
    "contrast": Variable("network minus network"),
    "copy": Variable("whether the image is a copy of a training image"),
    "count": Variable("training images of each half"),
    "cover": Variable("training images that together hold all nearest windows"),
    "denoised_error": Variable("squared error of the theory's x0hat over the squared norm of the network's"),
    "done": Variable("whether the row has been run"),
    "edm_R2": Variable("1 - SSE / SST against the network's final image, both on EDM's grid"),
    "edm_image": Variable("final image on EDM's grid, whose first steps the Gaussian's closed-form flow takes"),
    "edm_mse": Variable("mean squared error against the network's final image, both on EDM's grid"),
    "edm_noise_to_signal": Variable("noise over signal where the network goes on, on EDM's grid"),
    "edm_pearson_r": Variable("Pearson correlation with the network's final image, both on EDM's grid"),
    "end": Variable("value, or end of its interval"),
    "eps_cosine": Variable("cosine of the theory's eps and the network's"),
    "eps_error": Variable("squared error of the theory's eps over the squared norm of the network's"),
    "epochs": Variable("passes over the training images"),
    "equivariance_error_interior": Variable(
        "root mean square of eps(shifted x) - shifted eps(x), over pixels whose windows of ELS do not meet the border, "
        "as a share of that of eps"
    ),
    "equivariance_rise": Variable("that of the row's own network minus that of this one: mean over noisy images"),
    "error": Variable("mean squared error of x0hat against the network's, at a state of the network's flow"),
    "excess": Variable("limbs beyond the mean of the training images of the class"),
    "factor": Variable("factor on the calibrated scales"),
    "field_width": Variable(
        "side of the square about the centre that holds 95 % of the squared field beside the centre", units="pixel"
    ),
    "field": Variable("mean |d score(centre) / d x|"),
    "first": Variable("theory that takes the first times of the flow"),
    "forward_std": Variable("standard deviation of noisy data"),
    "gain": Variable("pearson_r of ELS minus that of IS: median over samples"),
    "soft_gain": Variable("pearson_r of soft ELS minus that of ELS: median over samples"),
    "soft_gain_mse": Variable("mean squared error of soft ELS minus that of ELS: median over samples"),
    "half": Variable("half of the data"),
    "halves_r": Variable("Pearson correlation of the final images of the two halves"),
    "height": Variable("row of the pixel, 0 at the top", units="pixel"),
    "held_out": Variable("number of the image, of the other half, whose noisy versions were looked at"),
    "ideal_pearson_r": Variable("Pearson correlation with the final image of exact circular ELS"),
    "ideal_sample": Variable("sample of exact circular ELS"),
    "ideal_scale": Variable("locality scale of boundary valid, calibrated on exact circular ELS", units="pixel"),
    "ideal_scale_q25": Variable("that scale: lower quartile over samples", units="pixel"),
    "ideal_scale_q75": Variable("that scale: upper quartile over samples", units="pixel"),
    "ideal_scales_equal": Variable("number of these scales that equal the paper's"),
    "ideal_valid_gain": Variable("ideal_pearson_r of boundary valid minus that of circular: median over samples"),
    "image": Variable("final image"),
    "images": Variable("training images"),
    "in_majority": Variable("whether the pixel has the colour of most of its window"),
    "k": Variable("locality scale", units="pixel"),
    "label": Variable("class, -1 for none"),
    "largest_share": Variable("largest share of the times up to which the median pearson_r is at least the threshold"),
    "largest_skipped": Variable("most of EDM's steps up to which the median pearson_r is at least the threshold"),
    "limbs": Variable("most separate bright runs in any row"),
    "machine": Variable("scales of ELS"),
    "maker": Variable("network or theory that made the image"),
    "moment_time": Variable("time t"),
    "mse": Variable("mean squared error against the network's final image"),
    "n_eff": Variable("effective number of candidates: exp of the mean entropy of the pixels' posteriors"),
    "n_eff_pixel": Variable("effective number of candidates: exp of the entropy of a pixel's posterior, their median"),
    "network": Variable("network"),
    "new": Variable("consistent images that are not copies, among all"),
    "new_difference": Variable("new_share of a network minus that of another"),
    "nearest_train": Variable("L2 distance to the nearest training image"),
    "noise_to_signal": Variable("noise over signal where the network goes on"),
    "other_distance": Variable("L2 distance to the nearest training image of the other half"),
    "own_distance": Variable("L2 distance to the nearest training image of the half"),
    "noisy_sample": Variable("noisy training image"),
    "paper": Variable("the paper's value"),
    "part": Variable("part of the image that the rule speaks of"),
    "pearson_r": Variable("Pearson correlation with the network's final image"),
    "pearson_r_excess": Variable("Pearson correlation with ELS minus that with the network: median over samples"),
    "pearson_r_with_els": Variable("Pearson correlation with the final image of ELS"),
    "pixel": Variable("pixel that attends"),
    "r2": Variable("squared Pearson correlation with the network's final image"),
    "r2_excess": Variable("squared Pearson correlation with ELS minus that with the network: median over samples"),
    "r2_with_els": Variable("squared Pearson correlation with the final image of ELS"),
    "ratio": Variable("mean error over that of hard windows"),
    "ratio_overall": Variable("geometric mean over times of the mean error over that of hard windows"),
    "inner_error": Variable("mean squared error of x0hat in the middle half of rows and columns"),
    "inner_ratio_overall": Variable("ratio_overall of the errors in the middle half of rows and columns"),
    "chosen": Variable("windows with the least error on the calibration noise"),
    "rise": Variable("pearson_r with the row's own network minus that with this one: median over samples"),
    "role": Variable("what made the image"),
    "row": Variable("row of table 2"),
    "sample": Variable("sample"),
    "saved": Variable("limbs at calibrated minus those at doubled scales: mean"),
    "scale": Variable("locality scale, calibrated", units="pixel"),
    "scale_q25": Variable("locality scale: lower quartile over samples", units="pixel"),
    "scale_q75": Variable("locality scale: upper quartile over samples", units="pixel"),
    "scales_equal": Variable("number of calibrated scales that equal the paper's"),
    "share": Variable("share of the pixels that come from the training image that most come from"),
    "share_by_sign": Variable("the same, pixels that are still grey by their sign"),
    "share_untied": Variable("the same among pixels whose source window is the only one of its kind"),
    "shown": Variable("what the part shows; or number of a sample that is shown"),
    "skipped": Variable("steps of EDM's 18 that the Gaussian takes"),
    "state_std": Variable("standard deviation of the states"),
    "step": Variable("step of the reverse flow"),
    "step_time": Variable("time t of the step"),
    "steps": Variable("number of steps"),
    "switched_image": Variable("final image of a flow whose first times a theory takes, and the network all others"),
    "theory": Variable("score machine"),
    "threshold": Variable("least median pearson_r"),
    "theory_error_interior": Variable("equivariance_error_interior of the theory on the row's images"),
    "tied": Variable("share of the pixels whose source window has equals"),
    "time": Variable("time t"),
    "title": Variable("row as printed"),
    "training": Variable("number of the network's training; its seed is that of the first plus this"),
    "trainings": Variable("number of trainings; a theory has one"),
    "trial": Variable("number of the scale tried, the smallest first"),
    "tried": Variable("locality scale that was tried", units="pixel"),
    "valid_gain": Variable("pearson_r of boundary valid minus that of circular: median over samples"),
    "variant": Variable("choice of windows"),
    "verdict": Variable("what the image is judged by the data set's rule"),
    "width": Variable("column of the pixel, 0 at the left", units="pixel"),
    "whole": Variable("images whose parts are whole, among all"),
    "whole_difference": Variable("whole_share of a network minus that of another"),
}
# What may follow a variable's name.
ENDS = {
    "_median": "median over samples",
    "_mean": "mean over samples",
    "_share": "share of samples",
    "_low": "its interval's lower end",
    "_high": "its interval's upper end",
}
TABLES: dict[str, Mapping[str, Variable]] = {
    TRAJECTORY_SCHEMA: {
        **COORDINATES,
        **PLACES,
        **RUN,
        **ESTIMATED,
        **SAVED_WITH_IMAGE,
        **{name: variable for item in SAVED.values() for name, variable in item.items()},
    },
    CALIBRATION_SCHEMA: {**COORDINATES, **CALIBRATION},
    COMPARISON_SCHEMA: {**COORDINATES, **PLACES, **COMPARISON},
    LEADERBOARD_SCHEMA: {**COORDINATES, **LEADERBOARD},
    ENTRY_SCHEMA: {**COORDINATES, **ENTRY},
    HISTORY_SCHEMA: HISTORY,
    PROBE_SCHEMA: {**{name: COORDINATES[name] for name in ("seed", "label")}, **PLACES, **PROBE},
    GENERALIZATION_SCHEMA: GENERALIZATION,
    REPRODUCTION_SCHEMA: REPRODUCTION,
}

# --- root attributes: text, and JSON where it says so -----------------------------------------------------------------

ATTRIBUTES = {
    "schema": "identifier of the kind of file, and its version",
    "title": "what it is",
    # Of every file: what it was made by (storage/made_by.py).
    "created": "when, UTC",
    "command_line": "the command, or the program, that made it",
    "mosaic_version": "version of mosaic",
    "code": "digest of the code that numbers rest on; of several where it was resumed by another",
    "workers": "engines and processors of the workers, where mixed ones were allowed",
    "git_commit": "commit of the checkout that mosaic was used from",
    "torch_version": "version of torch",
    "python_version": "version of Python",
    "device": "device, and the hardware behind it",
    "threads": "threads of torch",
    "plugins": "plugins and their versions",
    # Of runs, calibrations and single steps: what decides the numbers, the identity that a job is resumed by.
    "configuration": "settings, JSON",
    "scales": "locality scale of each step, from noise to data, JSON",
    "labels": "class of each sample, JSON",
    "versions": "versions of the distributions that the plugins in use come from, JSON",
    "engine": "what computed the numbers, and its build where it was compiled, JSON",
    "init_fingerprint": "SHA-256 of the noise started from, JSON",
    "dataset_fingerprint": "SHA-256 of the training set, JSON",
    "score_fingerprint": "SHA-256 of weights, JSON",
    "network_fingerprint": "SHA-256 of the network's weights, JSON",
    "job": "what a leaderboard entry, or a step of a reproduction, must agree with, JSON",
    # Of runs and calibrations: the training set.
    "dataset_size": "training images",
    "dataset_source": "where the training set came from",
    "dataset_range": "lowest and highest value of a pixel, JSON",
    "dataset_classes": "names of the classes, JSON",
    # Of generalization.
    "held_out_fingerprint": "SHA-256 of the held-out images, JSON",
    "held_out_size": "held-out images",
    "held_out_source": "where they came from",
    # Of runs.
    "traits": "what the score model can do, JSON",
    # Of the losses of a training.
    "description": "checkpoint.json of the training, JSON",
    # Of comparisons and leaderboards.
    "metrics": "names of the metrics, JSON",
    "metric_options": "their options, JSON",
    "interval": "how intervals were made, JSON",
    "runs": "what the runs compared were made by, JSON",
    # Of leaderboards and single steps.
    "best": "theory that is best on the even samples, and on the odd ones, JSON",
    "given": "theory beyond which partial correlations are",
    "failed": "score models that failed, and why, JSON",
    "left_out": "score models that were left out, and why, JSON",
    "peak_bytes": "peak memory of the process",
    # Of reproductions.
    "rows": "rows of table 2, JSON",
    "records": "what each step of a reproduction was made by, JSON",
    "recipes": "what each row of table 2 was made by, JSON",
    "title_of_row": "the row as printed",
}
JSON_ATTRIBUTES = frozenset(name for name, text in ATTRIBUTES.items() if text.endswith(", JSON"))


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] < ends[1]:
        raise ValueError("the lower one comes first")
    return ends


# What attributes hold that are read again to compute or draw.
FORMS: dict[str, Any] = {
    "configuration": dict[str, Any],
    "traits": dict[str, bool],
    "dataset_range": Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_rising)],
    "dataset_classes": tuple[str, ...],
    "dataset_fingerprint": str,
}
# And settings of a run in its configuration.
SETTINGS: dict[str, Any] = {
    "dataset": str,
    "dataset_options": dict[str, Any],
    "score_options": dict[str, Any],
    "sampler": str,
    "sampler_options": dict[str, Any] | None,  # runs of the first schema have none
    "steps": PositiveInt,
}


def decoded(name: str, value: Any) -> Any:
    """Read a root attribute that is JSON.

    Raises
    ------
    ValueError
        If it is not JSON, or not what it must be.
    """
    try:
        content = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"its attribute '{name}' is not JSON") from None
    if name not in FORMS:
        return content
    try:
        return TypeAdapter(FORMS[name]).validate_json(value, strict=True)
    except ValidationError:
        wanted = ATTRIBUTES[name].removesuffix(", JSON")
        raise ValueError(f"its attribute '{name}' is {reprlib.repr(content)}, not what it must be: {wanted}") from None


def described(
    dataset: xr.Dataset, schema: str, metrics: tuple[str, ...] = (), only: Collection[str] | None = None
) -> xr.Dataset:
    """Give every variable and coordinate the `long_name` and `units` of its table, and the root its schema.

    Parameters
    ----------
    metrics : tuple of str
        Names that may stand for METRIC.
    only : collection of str, optional
        The variables that are described; by default all.

    Raises
    ------
    KeyError
        If a variable is in no table.
    ValueError
        If its dimensions are not those of the table.
    """
    table = TABLES[schema]
    labelled = dataset.assign_attrs(schema=schema)
    for key in labelled.variables if only is None else only:
        variable, dims, attrs = _entry(str(key), table, metrics), labelled[key].dims, labelled[key].attrs
        if variable.dims and dims != variable.dims:
            raise ValueError(f"variable '{key}' has dimensions {dims}, not {variable.dims}")
        labelled[key].attrs = {"long_name": variable.description, "units": variable.units, **attrs}
    return labelled


def with_own_axes(dataset: xr.Dataset, table: Mapping[str, Variable]) -> xr.Dataset:
    """Name axes as the table does where xarray's `swap_dims` named one by a coordinate, such as `step` by `time`."""
    axes = {variable.dims[0] for variable in table.values() if len(variable.dims) == 1} - set(dataset.dims)
    swapped = {
        dim: axis
        for dim in dataset.dims
        for axis in axes
        if (dim in table and table[str(dim)].dims == (axis,))
        or (axis in dataset.coords and dataset[axis].dims == (dim,))
    }
    return dataset.swap_dims(swapped) if swapped else dataset


def check_stored(dataset: xr.Dataset) -> None:
    """Check what is read again against the tables: dimensions of variables, and attributes that are JSON.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    table = TABLES[dataset.attrs["schema"]]
    dataset = with_own_axes(dataset, table)
    for key, variable in table.items():
        # Axes go by name, and some may have been selected from.
        if key in dataset.variables and variable.dims and not set(dataset[key].dims) <= set(variable.dims):
            raise ValueError(f"variable '{key}' has dimensions {dataset[key].dims}, not {variable.dims}")
    for name in JSON_ATTRIBUTES & dataset.attrs.keys():
        decoded(name, dataset.attrs[name])


def _entry(name: str, table: Mapping[str, Variable], metrics: tuple[str, ...]) -> Variable:
    """Find a variable by its name, with a metric's name in it, or by what it is without its tail."""
    if name in table:
        return table[name]
    for general, variable in table.items():
        for metric in metrics:
            if "METRIC" in general and general.replace("METRIC", metric) == name:
                return replace(variable, description=variable.description.format(metric=metric))
    for tail, text in ENDS.items():
        if name.endswith(tail):
            stem = _entry(name.removesuffix(tail), table, metrics)
            over = text.replace("samples", "trainings and samples") if "training" in stem.dims else text
            return Variable(f"{stem.description}: {over}", units=stem.units)
    raise KeyError(f"variable '{name}' is in no table of mosaic/storage/schema.py")
