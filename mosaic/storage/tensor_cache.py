"""Tensors cached on disk: costly to compute, and determined by a description alone."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic.disk import facts
from mosaic.disk.atomic import replacing
from mosaic.errors import MosaicError
from mosaic.interfaces.images import Images

__all__ = ["cached_tensor", "digest_of"]


def digest_of(tensor: Images) -> str:
    """SHA-256 of the type, shape and values of a tensor, or of images that are read in pieces."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    if isinstance(tensor, Tensor):
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    else:
        tensor.update(digest)
    return digest.hexdigest()


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
        Of the same type and shape. A damaged file is computed again. A folder that cannot be written is not an error.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = facts.cache_folder() / "tensors"
    for path in sorted(folder.glob(f"{name}-*.npy")):
        with suppress(OSError, ValueError, EOFError):
            content = path.read_bytes()
            if path.name == _file_name(name, content):
                return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
        with suppress(OSError):
            path.unlink()
    tensor = compute()
    stream = io.BytesIO()
    np.save(stream, tensor.numpy(), allow_pickle=False)
    with suppress(OSError, MosaicError):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / _file_name(name, stream.getvalue())) as temporary:
            temporary.write_bytes(stream.getvalue())
    return tensor


def _file_name(name: str, content: bytes) -> str:
    """Name of a file with this content: a damaged file does not have its name."""
    return f"{name}-{hashlib.sha256(content).hexdigest()}.npy"
