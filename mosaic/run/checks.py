"""What a run requires of every score model and sampler at every step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from mosaic.errors import MosaicError, no_exit
from mosaic.interfaces.images import Images
from mosaic.interfaces.sampler import Step

__all__ = ["check_result", "check_steps", "guarded"]


@contextmanager
def guarded(name: str, held: Mapping[str, Images]) -> Iterator[None]:
    """Refuse a score model that writes into the tensors it is given, or ends the program; tensors count their changes.

    Those made in inference mode do not count them. Outside of it torch itself refuses to write into them.
    Nothing can be written to images that are read in pieces.

    Raises
    ------
    MosaicError
        When the block ends, if it wrote into one.
    PluginError
        If it calls sys.exit.
    """
    tensors = {what: each for what, each in held.items() if isinstance(each, Tensor)}
    before = {what: tensor._version for what, tensor in tensors.items() if not tensor.is_inference()}
    with no_exit(f"Score model '{name}'"):
        yield
    for what, version in before.items():
        if tensors[what]._version != version:
            raise MosaicError(f"Score model '{name}' changed {what}; it must work on a copy (x.clone()).")


def check_result(name: str, x: Tensor, denoised: object, where: str) -> None:
    """Refuse an x0hat that is not a tensor of x's shape and dtype, or not finite.

    Parameters
    ----------
    name : str
        The score model, for the message.
    x, denoised : Tensor (B, C, H, W)
        What the model was given, and what it gave.
    where : str
        Step and level, for the message.

    Raises
    ------
    MosaicError
        With what it is.
    """
    if not isinstance(denoised, Tensor):
        raise MosaicError(f"Score model '{name}' gave a {type(denoised).__name__}, not a tensor.")
    if denoised.shape != x.shape or denoised.dtype != x.dtype:
        raise MosaicError(
            f"Score model '{name}' gave {denoised.dtype} of shape {tuple(denoised.shape)} for x of {x.dtype} and "
            f"shape {tuple(x.shape)}."
        )
    if not bool(torch.isfinite(denoised).all()):
        raise MosaicError(f"Score model '{name}' gave NaN or infinity at {where}.")


def check_steps(name: str, flow: Iterable[Step], count: int) -> Iterator[Step]:
    """Pass on the steps of a sampler; refuse others than 0 to count - 1, and states that are not finite.

    Raises
    ------
    MosaicError
        With the sampler's name.
    """
    expected = 0
    for step in flow:
        if step.index != expected or expected == count:
            raise MosaicError(f"Sampler '{name}' gave step {step.index} after {expected} of {count} steps.")
        x, state = step.state, step.following
        if (state.shape, state.dtype) != (x.shape, x.dtype):
            raise MosaicError(
                f"Sampler '{name}' goes from {x.dtype} of shape {tuple(x.shape)} to {state.dtype} of shape "
                f"{tuple(state.shape)} at step {expected}."
            )
        if not bool(torch.isfinite(state).all()):
            raise MosaicError(f"Sampler '{name}' gave NaN or infinity after step {expected}.")
        yield step
        expected += 1
    if expected != count:
        raise MosaicError(f"Sampler '{name}' stopped after {expected} of {count} steps.")
