"""What harm is done to a file: mutations drawn from a seeded source. Pure.

Knows bytes, and where containers keep their sizes. Refuses to know formats by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytearray, Sequence[bytes]], None]

HEAD = 4_000
"""Bytes in which most containers keep what they promise."""
_CUTS = (1, 2, 4, 8, 64, 512, 4_096, 40_000)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
_NAMED = re.compile(rb"[A-Za-z0-9 ]{4}")


def mutated(draw: Random, base: bytes, others: Sequence[bytes]) -> bytes:
    """`base` after one to six mutations; some take bytes of `others`."""
    data = bytearray(base)
    for _ in range(draw.randint(1, 6)):
        draw.choice(MUTATIONS)(draw, data, others)
    return bytes(data)


def _flip(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _n in range(draw.choice((1, 4, 32, 256))):
        if data:
            data[_place(draw, data)] ^= 1 << draw.randrange(8)


def _scribble(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at, length = _span(draw, data)
    data[at : at + length] = draw.randbytes(length)


def _fill(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at, length = _span(draw, data)
    data[at : at + length] = bytes([draw.choice((0, 0xFF, 0x80))]) * length


def _truncate(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(draw, data) :]


def _behead(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[: _span(draw, data)[1]]


def _drop(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at, length = _span(draw, data)
    del data[at : at + length]


def _repeat(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A chunk again and again: atoms in atoms, clusters of nothing, headers in mid-stream."""
    at, length = _span(draw, data)
    times = draw.choice((1, 2, 16, 200))
    again = bytes(data[at : at + length]) * times
    data[at:at] = again[:500_000]


def _swap(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    (one, length), (two, _n) = _span(draw, data), _span(draw, data)
    here, there = data[one : one + length], data[two : two + length]
    data[one : one + length] = there
    data[two : two + length] = here


def _splice(draw: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """The head of one file on the body of another."""
    other = draw.choice(others)
    data[_place(draw, data) :] = other[draw.randrange(len(other)) :]


def _append(draw: Random, data: bytearray, others: Sequence[bytes]) -> None:
    data += draw.choice(others)


def _insert(draw: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = draw.choice(others)
    start = draw.randrange(len(other))
    at = _place(draw, data)
    data[at:at] = other[start : start + draw.choice(_CUTS)]


def _lie(draw: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A number near a chunk's name says something else: sizes, rates, channels, counts."""
    names = [found.start() for found in _NAMED.finditer(data, 0, HEAD)]
    at = draw.choice(names) if names else _place(draw, data)
    at += draw.choice((-4, 4, 8, 12, 16, 20, 24))
    width = draw.choice((1, 2, 4, 8))
    value = draw.choice(_EXTREMES) & (256**width - 1)
    if 0 <= at <= len(data) - width:
        data[at : at + width] = value.to_bytes(width, draw.choice(("big", "little")))


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _scribble, _fill, _truncate, _behead, _drop, _repeat, _swap, _splice),
    *(_append, _insert, _lie, _lie, _lie),
)


def _place(draw: Random, data: bytearray) -> int:
    """Anywhere, but half of the time in the head."""
    end = min(len(data), HEAD) if draw.random() < 0.5 else len(data)
    return draw.randrange(end) if end else 0


def _span(draw: Random, data: bytearray) -> tuple[int, int]:
    at = _place(draw, data)
    return at, min(draw.choice(_CUTS), len(data) - at)
