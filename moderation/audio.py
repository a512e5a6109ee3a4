"""Stored recordings as an ear wants them, and what can be measured of them without a model.

Knows the resampler and levels. Refuses to judge.
"""

from __future__ import annotations

import numpy as np
import soxr

from moderation.hearing import SAMPLE_RATE, Samples, Sound
from relay import flac
from relay.errors import BadRecord

_FRAME = SAMPLE_RATE * 30 // 1000
_SILENCE_DB = -120.0
_FULL_SCALE = 0.999


def read(data: bytes) -> Samples:
    """The stored recording at 16 kHz; `BadRecord` `sound_unreadable` where it is no audio."""
    sound = flac.read_flac(data)
    if not len(sound.samples):
        raise BadRecord("sound_unreadable", "The recording is empty. Please record it again.")
    heard: Samples = soxr.resample(sound.samples, sound.rate, SAMPLE_RATE).astype(np.float32)
    return heard


def measure(audio: Samples) -> Sound:
    """Levels and clipping of `audio`, by frames of 30 ms."""
    frames = audio[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = np.square(frames, dtype=np.float64).mean(axis=1) if len(frames) else np.zeros(1)
    return Sound(
        seconds=round(len(audio) / SAMPLE_RATE, 3),
        level=_decibels(float(np.percentile(power, 95))),
        floor=_decibels(float(np.percentile(power, 5))),
        clipped=round(float(np.mean(np.abs(audio) >= _FULL_SCALE)), 6) if len(audio) else 0.0,
    )


def _decibels(power: float) -> float:
    return round(max(10 * float(np.log10(power)), _SILENCE_DB), 2) if power > 0 else _SILENCE_DB
