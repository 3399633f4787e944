"""What the variables of reproductions are, in words and units."""

from __future__ import annotations

import xarray as xr

__all__ = ["described"]

NAMES = {
    "R2": "1 - SSE / SST against the network's final image",
    "agreement": "consistent images among those whose parts are whole",
    "alpha": "weight of attention",
    "attends": "machine or network that attends",
    "between_training": "median L2 distance of 200 training images from the next",
    "beyond_chance": "agreement minus chance",
    "boundary": "boundary of ELS",
    "chance": "agreement if whole parts kept their frequencies but were independent",
    "consistency": "consistent images among all",
    "copy": "whether the image is a copy of a training image",
    "cover": "training images that together hold all nearest windows",
    "done": "whether the row has been run",
    "end": "value, or end of its interval",
    "excess": "limbs beyond the mean of the training images of the class",
    "factor": "factor on the calibrated scales",
    "field": "mean |d score(centre) / d x|",
    "forward_std": "standard deviation of noisy data",
    "gain": "pearson_r of ELS minus that of IS: median over samples",
    "image": "final image",
    "in_majority": "whether the pixel has the colour of most of its window",
    "k": "locality scale",
    "label": "class, -1 for none",
    "limbs": "most separate bright runs in any row",
    "machine": "scales of ELS",
    "maker": "network or theory that made the image",
    "moment_time": "time t",
    "n_eff": "effective number of candidates: exp of the mean entropy of the pixels' posteriors",
    "network": "network",
    "new": "consistent images that are no copies, among all",
    "nearest_train": "L2 distance to the nearest training image",
    "paper": "the paper's value",
    "part": "part of the image that the rule speaks of",
    "pearson_r": "Pearson correlation with the network's final image",
    "pixel": "pixel that attends",
    "r2": "squared Pearson correlation with the network's final image",
    "role": "what made the image",
    "row": "row of table 2",
    "sample": "sample",
    "saved": "limbs at calibrated minus those at doubled scales: mean",
    "scale": "locality scale, calibrated",
    "scale_q25": "locality scale: lower quartile over samples",
    "scale_q75": "locality scale: upper quartile over samples",
    "share": "share of the pixels that come from the training image that most come from",
    "share_by_sign": "the same, pixels that are still grey by their sign",
    "share_untied": "the same among pixels whose source window is the only one of its kind",
    "shown": "what the part shows",
    "state_std": "standard deviation of the states",
    "step": "step of the reverse flow",
    "steps": "number of steps",
    "theory": "score machine",
    "tied": "share of the pixels whose source window has equals",
    "time": "time t",
    "title": "row as printed",
    "verdict": "what the image is judged by the data set's rule",
    "width": "side of the square about the centre that holds 95 % of the squared field beside the centre",
}
UNITS = dict.fromkeys(("k", "scale", "scale_q25", "scale_q75", "width"), "pixel")
ENDS = {
    "_median": "median over samples",
    "_mean": "mean over samples",
    "_share": "share of samples",
    "_low": "its interval's lower end",
    "_high": "its interval's upper end",
}


def described(found: xr.Dataset) -> xr.Dataset:
    """Give every variable and coordinate a long_name and units, where it has none.

    Raises
    ------
    KeyError
        If there is a variable that nothing is known of.
    """
    for key, variable in found.variables.items():
        name = str(key)
        tail = next((tail for tail in ENDS if name.endswith(tail)), "")
        stem = name.removesuffix(tail)
        words = NAMES[stem] + (f": {ENDS[tail]}" if tail else "")
        variable.attrs = {"long_name": words, "units": UNITS.get(stem, "1"), **variable.attrs}
    return found
