"""Damage to files: what a broken disk, an interrupted copy or somebody's malice makes of them."""

from __future__ import annotations

import random
import struct

__all__ = ["mutated"]

LENGTHS = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)


def mutated(content: bytes, donor: bytes, generator: random.Random) -> bytes:
    """Damage `content` in one to three ways; pieces of `donor`, another file, may be spliced in."""
    damaged = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        damage = generator.choice((_truncate, _flip, _flip, _splice, _cut, _length, _length))
        damage(damaged, donor, generator)
    return bytes(damaged)


def _truncate(content: bytearray, donor: bytes, generator: random.Random) -> None:
    del content[generator.randint(0, len(content)) :]


def _flip(content: bytearray, donor: bytes, generator: random.Random) -> None:
    """Flip up to eight bits, half of the time in the first bytes, where headers are."""
    for _ in range(generator.randint(1, 8) if content else 0):
        end = min(len(content), 200) if generator.random() < 0.5 else len(content)
        content[generator.randrange(end)] ^= 1 << generator.randrange(8)


def _splice(content: bytearray, donor: bytes, generator: random.Random) -> None:
    """Put a piece of the donor, or of the file itself, over or between what is there."""
    piece = donor if generator.random() < 0.5 else bytes(content)
    start = generator.randint(0, len(piece))
    piece = piece[start : start + generator.randint(1, 200)]
    place = generator.randint(0, len(content))
    content[place : place + generator.choice((0, len(piece)))] = piece


def _cut(content: bytearray, donor: bytes, generator: random.Random) -> None:
    start = generator.randint(0, len(content))
    del content[start : start + generator.randint(1, 100)]


def _length(content: bytearray, donor: bytes, generator: random.Random) -> None:
    """Write a number where one may stand: in either byte order, and in decimal digits."""
    value, order = generator.choice(LENGTHS), generator.choice("<>")
    width = generator.choice("HIQ")
    number = struct.pack(order + width, value % 2 ** (8 * struct.calcsize(width)))
    if generator.random() < 0.2:
        number = str(value).encode()
    place = generator.randint(0, min(len(content), 400) if generator.random() < 0.5 else len(content))
    content[place : place + len(number)] = number
