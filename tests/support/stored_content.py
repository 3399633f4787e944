"""What a netCDF file holds, as the library stores it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np


def stored_in(path: Path) -> list[Any]:
    """All that a netCDF file holds, as it is stored: values, attributes, order, filters and chunks."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        variables = [
            (
                name,
                variable.dimensions,
                str(variable.dtype),
                [(key, repr(variable.getncattr(key))) for key in variable.ncattrs()],
                variable.chunking(),
                variable.filters(),
                variable[...].tolist() if variable.dtype is str else np.asarray(variable[...]).tobytes(),
            )
            for name, variable in file.variables.items()
        ]
        sizes = {name: len(size) for name, size in file.dimensions.items()}
        return [sizes, variables, [(key, file.getncattr(key)) for key in file.ncattrs()]]
