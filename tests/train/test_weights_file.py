"""Files of weights: what is read of them, and what is refused without running it."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import mosaic
from mosaic.train.weights_file import read_weights

FILE = Path("weights.pt")


def weights() -> dict[str, Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


def saved(content: Any) -> Path:
    torch.save(content, FILE)
    return FILE


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in weights().items()}


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (weights(), ""),
        (OrderedDict({name: nn.Parameter(value) for name, value in weights().items()}), ""),
        (prefixed("module."), ""),
        (prefixed("module.backbone."), ""),
        ({"n_averaged": torch.tensor(7), **prefixed("module.")}, ""),
        ({"state_dict": prefixed("model."), "init_kwargs": {"side": 32}, "epoch": 3}, "state_dict"),
        ({"model": {"epoch": 3}, "ema": weights()}, "ema"),
        ({"model": {"state_dict": weights()}}, "model.state_dict"),
        ({"ema": {"decay": 0.9}, "model": weights()}, "model"),
        ({"ema": {"decay": torch.tensor(0.9)}, "model": weights()}, "model"),
        ({"model": weights(), "step": torch.tensor(5)}, "model"),
        ({"net_model": {"c": torch.ones(1)}, "ema_model": weights(), "optim": {"state": {}}}, "ema_model"),
        ({"net_model": prefixed("module."), "x_T": torch.ones(2)}, "net_model"),
    ],
)
def test_tensors_are_found_by_name(content: Any, entry: str) -> None:
    actual, found = read_weights(saved(content))
    assert (set(actual), found) == (set(weights()), entry)
    assert all(torch.equal(actual[name], value) for name, value in weights().items())


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(prefixed("model."), tmp_path / "weights.safetensors")
    assert set(read_weights(tmp_path / "weights.safetensors")[0]) == set(weights())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:-3])
    with pytest.raises(mosaic.DataError, match="cut"):
        read_weights(tmp_path / "cut.safetensors")


class Code:
    """What a pickle runs when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was-run"),)


def test_code_in_a_file_is_never_run() -> None:
    with FILE.open("wb") as stream:
        pickle.dump(Code(), stream)
    for make in (lambda: FILE, lambda: saved({"a": Code()}), lambda: saved(nn.Linear(2, 2))):
        with pytest.raises(mosaic.DataError, match=r"weights\.pt.*state_dict"):
            read_weights(make())
    assert not Path("was-run").exists()
    function, arguments = Code().__reduce__()
    function(*arguments)  # what loading it would have done
    assert Path("was-run").exists()


class Arguments(dict[str, Any]):
    """A dictionary with a class of its own, as EDM keeps the arguments of a constructor."""


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_weights_are_refused_and_named_where_torch_can_say_so(zipped: bool) -> None:
    content = {"init_kwargs": Arguments(side=32), "state_dict": weights()}
    torch.save(content, FILE, _use_new_zipfile_serialization=zipped)
    named = rf"weights\.pt.*{f'{__name__}.Arguments' * zipped}.*state_dict"
    with pytest.raises(mosaic.DataError, match=named):
        read_weights(FILE)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04rubbish", b"\x80\x02]q\x00."])
def test_what_is_no_file_of_weights_is_refused(content: bytes) -> None:
    FILE.write_bytes(content)
    with pytest.raises(mosaic.DataError, match=r"weights\.pt"):
        read_weights(FILE)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(share: float) -> None:
    whole = saved({"a": torch.randn(400)}).read_bytes()
    FILE.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(mosaic.DataError, match=r"weights\.pt.*truncated"):
        read_weights(FILE)


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(2)],
        {"epoch": 3},
        {},
        {"a": torch.ones(2), "epoch": 3},
        torch.ones(2),
        {"n_averaged": torch.tensor(7)},
        {"n_averaged": torch.ones(2)},
        {"model": {}},
    ],
)
def test_what_is_not_tensors_by_name_is_refused(content: Any) -> None:
    with pytest.raises(mosaic.DataError, match=r"weights\.pt.*state_dict"):
        read_weights(saved(content))


def test_a_file_that_holds_itself_is_refused() -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    with pytest.raises(mosaic.DataError, match=r"weights\.pt.*state_dict"):
        read_weights(saved(content))


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(mosaic.DataError, match="nowhere"):
        read_weights(Path("nowhere.pt"))
