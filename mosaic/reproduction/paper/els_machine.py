"""How well theories predict the ELS machine itself, beside how well they predict the network; of runs that are there.

A theory that agrees with the network as with ELS is as far from this network as it is from ELS: what it lacks is what
sets it apart from ELS. One that agrees more with the network than with ELS says something of it that ELS does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from mosaic.evaluate.compare import compare
from mosaic.reproduction.study.agreement import ends_text
from mosaic.reproduction.study.rows import THEORIES

__all__ = ["compare_with_els", "sentence_of"]

ELS = "els"


def compare_with_els(folder: Path, measures: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """Compare the stored runs of a row's theories with its run of ELS, from the same noise, as `mosaic.compare` does.

    Returns
    -------
    dict
        The comparisons by theory, of the runs that are there; empty without the run of ELS.
    """
    machine = folder / f"{ELS}.nc"
    runs = {theory: folder / f"{theory}.nc" for theory in THEORIES if theory != ELS}
    return {
        theory: compare(run, machine, metrics=measures, progress=False).sel(compared="run")
        for theory, run in runs.items()
        if run.is_file() and machine.is_file()
    }


def sentence_of(row: xr.Dataset) -> str:
    """Say what theories reach against ELS and against the network, and the paired difference; "" without runs."""
    against = {
        "against the ELS machine": np.stack([row[f"pearson_r_with_els_{end}"] for end in row["end"].values], 1),
        "against the network": np.stack([row[f"pearson_r_{end}"] for end in row["end"].values], 1),
        "the first minus the second": row["pearson_r_excess"].transpose("theory", "end").values,
    }
    known = [number for number, values in enumerate(row["pearson_r_with_els_median"].values) if not np.isnan(values)]
    labels = [THEORIES[name] for name in row["theory"].values.tolist()]
    parts = {
        name: ", ".join(f"{labels[number]} {ends_text(values[number])}" for number in known)
        for name, values in against.items()
    }
    return "; ".join(f"{name} {numbers}" for name, numbers in parts.items()) if known else ""
