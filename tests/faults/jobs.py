"""What the n-th job of a run sends: its words and its recording. Pure.

Some take long, some no policy and some no voice lets through, and some were sent before.
"""

from __future__ import annotations

from functools import cache

from relay import flac
from tests.faults.stage import UNSPEAKABLE
from tests.journeys.steps import recording

REJECTED = "网上赌场"
"""The policy lets nobody say this."""
_KINDS = {3: "慢2", 5: REJECTED, 8: UNSPEAKABLE, 9: "慢3"}
_SHORTEST = 2


def text(n: int) -> str:
    """What the job wants spoken."""
    n = _original(n)
    return f"第{n}句话。{_KINDS.get(n % 10, '')}"


def sound(n: int) -> bytes:
    """Whose voice it wants: real speech, of every job another stretch of it."""
    whole = _speech()
    samples = whole.samples[: _SHORTEST * whole.rate + 100 + _original(n)]
    return flac.write_flac(flac.Sound(samples, whole.rate))


def _original(n: int) -> int:
    """One in ten asks for what the one before it asked for."""
    return n - 1 if n % 10 == 7 else n


@cache
def _speech() -> flac.Sound:
    return flac.read_flac(recording())
