"""What can be known of a recording: how loud it is, and what was heard in it.

Knows values and the `Ear` port. Refuses to know models, files and rules.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Samples = NDArray[np.float32]
"""Mono samples at 16 kHz, shape (n,), within [-1, 1]."""

SAMPLE_RATE = 16_000
LONGEST_SECONDS = 30.0
"""What lies beyond is not heard: an ear's window is this long, and so is the longest prompt."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sound(_Value):
    """Measures of a recording that need no model; levels in dB of full scale, at least -120."""

    seconds: float
    level: float
    """RMS of its loud frames (95th percentile): how loud somebody speaks."""
    floor: float
    """RMS of its quiet frames (5th percentile): how loud the room is."""
    clipped: float
    """Share of samples at full scale, 0 to 1."""

    @property
    def range(self) -> float:
        """dB between loud and quiet frames; speech has pauses, steady noise has none."""
        return self.level - self.floor


class Hearing(_Value):
    """What an ear made of a recording.

    `language` is an ISO 639 code as openai-whisper spells it, given or detected, and
    `language_probability` how likely the ear found it. `avg_logprob` is per token;
    `compression_ratio` above about 2.4 means the same words over and over.
    """

    text: str
    language: str
    language_probability: float
    no_speech_prob: float
    avg_logprob: float
    compression_ratio: float
    seconds: float


class Heard(_Value):
    """All that is known of a recording; `hearing` is None where nobody had to listen."""

    sound: Sound
    hearing: Hearing | None = None


class Ear(Protocol):
    """Hears recordings; equal recordings, languages and `digest` are one and the same question."""

    @property
    def model(self) -> str:
        """Name of the model, for people."""

    @property
    def digest(self) -> str:
        """What decides its answers: weights and the way they are used."""

    async def hear(self, audio: Samples, language: str | None) -> Hearing:
        """What is said in `audio`; `language` is a BCP 47 tag, None means detect it.

        May be called many times at once. Raises `Unavailable` while the device is full, and
        `Lost` where a fault left it out of this process's reach.
        """
