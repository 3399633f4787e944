"""Tensors kept on disk: computed once, and again where a file is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mosaic.disk import facts
from mosaic.storage.tensor_cache import cached_tensor, digest_of


class Counting:
    """Gives a tensor, and counts how often it is computed."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.calls = tensor, 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return self.tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(2, 3), (0, 4), ()])
def test_a_tensor_is_computed_once_and_keeps_type_shape_and_values(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 5).to(dtype)
    compute = Counting(tensor)
    for _ in range(2):
        actual = cached_tensor({"dtype": str(dtype), "shape": shape}, compute)
        assert actual.dtype == dtype
        assert torch.equal(actual, tensor)
    assert compute.calls == 1


def test_the_key_decides_whatever_its_order() -> None:
    compute = Counting(torch.zeros(1))
    for key in ({"a": 1, "b": [2]}, {"b": [2], "a": 1}):
        cached_tensor(key, compute)
    assert compute.calls == 1
    for key in ({"a": 1, "b": [3]}, {"a": "1", "b": [2]}, {"a": 1}):
        cached_tensor(key, compute)
    assert compute.calls == 4


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "truncated": lambda content: content[:-3],
    "a text": lambda content: b"text",
    "a flipped bit": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_computed_and_written_again(damage: Callable[[bytes], bytes]) -> None:
    compute = Counting(torch.arange(6.0))
    cached_tensor({}, compute)
    (path,) = (facts.cache_folder() / "tensors").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert torch.equal(cached_tensor({}, compute), compute.tensor)
    assert torch.equal(cached_tensor({}, compute), compute.tensor)
    assert compute.calls == 2
    assert list((facts.cache_folder() / "tensors").iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path / "file" / "below")
    compute = Counting(torch.ones(2))
    for _ in range(2):
        assert torch.equal(cached_tensor({}, compute), torch.ones(2))
    assert compute.calls == 2


def test_a_digest_follows_type_shape_and_values_but_not_the_layout_in_memory() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    assert digest_of(tensor) == digest_of(tensor.T.contiguous().T) == digest_of(tensor.clone().requires_grad_())
    others = [tensor.double(), tensor.reshape(3, 2), tensor + 1, tensor.T]
    assert len({digest_of(each) for each in [tensor, *others]}) == 5
