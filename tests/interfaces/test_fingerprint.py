"""Fingerprints: what decides numbers changes them, and nothing else does; what shows nothing has none."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mosaic.interfaces.fingerprint import fingerprint_of

STRENGTH = 2.0


class Network(nn.Module):
    def __init__(self, seed: int = 0, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.inner, self.strength = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 3)), 1.0

    def forward(self, x: Tensor, t: Tensor) -> Any:
        return self.inner(x) * self.strength


class Other(Network):
    def forward(self, x: Tensor, t: Tensor) -> Any:
        return self.inner(x) + self.strength


def test_a_network_is_its_weights_settings_and_code() -> None:
    same = fingerprint_of(Network())
    assert same is not None
    assert fingerprint_of(Network()) == same
    assert fingerprint_of(Network().eval().requires_grad_(False)) == same
    changed = Network()
    with torch.no_grad():
        changed.inner[0].bias[0] += 1e-6
    stronger = Network()
    stronger.strength = 2.0
    hooked = Network()
    hooked.register_forward_hook(lambda module, inputs, output: output * 2)
    others = [changed, stronger, hooked, Network(1), Network(width=5), Network().double(), Other(), Network().inner]
    assert len({fingerprint_of(each) for each in others} | {same, None}) == len(others) + 2


def scaled(strength: float) -> Callable[[float], float]:
    return lambda x: strength * x


def shifted(strength: float) -> Callable[[float], float]:
    return lambda x: strength + x


def with_global(x: float) -> float:
    return STRENGTH * x


def test_a_function_is_its_code_with_what_it_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = [scaled(1.0), scaled(2.0), shifted(1.0), with_global, functools.partial(with_global, 1.0), math.sin]
    prints = [fingerprint_of(function) for function in functions]
    assert len({*prints, None}) == len(prints) + 1
    assert fingerprint_of(scaled(1.0)) == prints[0]
    monkeypatch.setitem(globals(), "STRENGTH", 3.0)
    assert fingerprint_of(with_global) not in prints


class Slotted:
    __slots__ = ("factor",)


class Scaled(Slotted):
    def __init__(self, factor: float) -> None:
        self.factor, self.name = factor, "scaled"


def test_attributes_in_slots_count() -> None:
    prints = [fingerprint_of(Scaled(factor)) for factor in (1.0, 2.0)]
    assert None not in prints
    assert prints[0] != prints[1]


def test_what_a_function_of_a_library_encloses_counts() -> None:
    wrapped = [scaled(1.0), scaled(2.0), shifted(1.0)]
    for function in wrapped:
        function.__module__ = "torch"  # as a library's wrapper of a function of one's own
        function.__qualname__ = "wrapper"
    first, second, third = map(fingerprint_of, wrapped)
    assert first != second
    assert first == third  # its own code is known by the library's version


def test_code_in_a_module_that_is_not_installed_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    own = types.ModuleType("own_layers")
    exec("def f(x):\n    return 2 * x\n", vars(own))
    monkeypatch.setitem(sys.modules, "own_layers", own)
    assert fingerprint_of(lambda x: own.f(x)) is None
    assert fingerprint_of(lambda x: math.sin(x) + np.cos(x)) is not None


def test_bound_methods_defaults_arrays_and_constants_count() -> None:
    def default(x: float, y: float = 1.0) -> float:
        return x * y

    def keyword(x: float, *, y: float = 2.0) -> float:
        return x * y

    array = np.arange(3.0)
    things = [Network().forward, Network(1).forward, default, keyword, lambda: array, lambda: array.sum() + 1]
    prints = [fingerprint_of(thing) for thing in things]
    assert len({*prints, None}) == len(prints) + 1
    array[0] = 1.0
    assert fingerprint_of(things[4]) != prints[4]


def test_what_refers_to_itself_ends() -> None:
    def recursive(n: int) -> int:
        return n and recursive(n - 1)

    ring: list[Any] = []
    ring.append(ring)
    assert fingerprint_of(recursive) is not None
    assert fingerprint_of(ring) is not None


@pytest.mark.parametrize(
    "thing", [threading.Lock(), np.random.default_rng(0), (n for n in range(3)), torch.zeros(2).to_sparse()]
)
def test_what_shows_neither_values_nor_code_has_none(thing: Any) -> None:
    assert fingerprint_of(lambda: thing) is None


SCRIPT = """
import torch
from torch import nn
from mosaic.interfaces.fingerprint import fingerprint_of

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.names = nn.Linear(2, 2), {"b", "a", "c"}

    def forward(self, x, t):
        return self.layer(x) * STRENGTH

STRENGTH = 2.0
print(fingerprint_of(Net()))
"""


@pytest.mark.system
def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in "12"
    ]
    first, second = (process.communicate(timeout=60)[0] for process in running)
    assert first == second != "None\n"
