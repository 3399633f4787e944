"""Tensors cached on disk: costly to compute, and determined by a description alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import platformdirs
import torch
from torch import Tensor

__all__ = ["cached_tensor", "digest_of"]


def digest_of(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and values."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Folder of the cached tensors, below the user's cache folder."""
    return Path(platformdirs.user_cache_dir("mosaic-diffusion")) / "tensors"


def cached_tensor(key: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
    """Give what `compute` gives, from the cache folder where it was computed before.

    Parameters
    ----------
    key : mapping
        Everything that decides the tensor, JSON-serialisable.
    compute : callable
        Gives a tensor on the CPU.

    Returns
    -------
    Tensor
        Of the same type and shape. A file that cannot be read is computed again. A folder that cannot be written is not
        an error.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / f"{name}.npy"
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError):
        tensor = compute()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            try:
                np.save(file, tensor.numpy(), allow_pickle=False)
                temporary.replace(path)  # atomically: others may be reading
            finally:
                temporary.unlink(missing_ok=True)
    return tensor
