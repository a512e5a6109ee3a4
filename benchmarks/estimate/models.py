"""Stand-in models with the cost of real ones: it grows with the text, and is never twice the same.

Knows that only so many are spoken at once. Refuses to know what is measured.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from moderation.hearing import Hearing, Samples
from synth.voice import Speech, SpeechRequest
from tests.audit.relay import Tone
from tests.faults.stage import StandInEar


@dataclass(frozen=True)
class Cost:
    """Seconds, on the average, and how far one differs from the next (of the logarithm)."""

    hearing: float = 0.3
    base: float = 0.4
    per_byte: float = 0.02
    noise: float = 0.2

    def spoken(self, text: str) -> float:
        """What this text takes on the average."""
        return self.base + self.per_byte * len(text.encode())

    def drawn(self, seconds: float, draw: random.Random) -> float:
        """What it takes this time."""
        return seconds * draw.lognormvariate(0.0, self.noise)


class Ear(StandInEar):
    """Hears every recording in about the same time."""

    def __init__(self, cost: Cost, draw: random.Random) -> None:
        self._cost, self._draw = cost, draw

    async def hear(self, samples: Samples, language: str | None) -> Hearing:
        """The stand-in's words, after a while."""
        await asyncio.sleep(self._cost.drawn(self._cost.hearing, self._draw))
        return await StandInEar.hear(self, samples, language)


class Voice(Tone):
    """Speaks `slots` texts at once."""

    def __init__(self, cost: Cost, slots: int, draw: random.Random) -> None:
        self._cost, self._draw = cost, draw
        self._slots = asyncio.Semaphore(slots)

    async def speak(self, request: SpeechRequest) -> Speech:
        """A tone, after a while."""
        async with self._slots:
            seconds = self._cost.spoken(request.text)
            await asyncio.sleep(self._cost.drawn(seconds, self._draw))
        return await Tone.speak(self, request)
