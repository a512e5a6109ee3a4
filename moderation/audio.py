"""Stored recordings as samples, and what can be measured of them without a model.

Knows PyAV, the resampler and levels. Refuses to judge.
"""

from __future__ import annotations

import io

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from moderation.hearing import SAMPLE_RATE, Samples, Sound
from relay.errors import BadRecord

_FRAME = SAMPLE_RATE * 30 // 1000
_SILENCE_DB = -120.0
_FULL_SCALE = 0.999
_LONGEST_SECONDS = 60
"""A stored recording is never this long: whoever put it there did not come through a door."""


def decode(data: bytes) -> Samples:
    """The recording in `data` (any container PyAV reads), mono at 16 kHz.

    `BadRecord` `recording_unreadable` where it is no audio, or unlike what ingest stores.
    """
    try:
        with av.open(io.BytesIO(data), "r") as container:
            if not container.streams.audio:
                raise _unreadable()
            return _read(container)
    except (av.FFmpegError, ValueError, OSError) as wrong:
        raise _unreadable() from wrong


def _read(container: av.container.InputContainer) -> Samples:
    rate = container.streams.audio[0].rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    pieces: list[NDArray[np.float32]] = []
    length = 0
    for frame in container.decode(audio=0):
        for part in resampler.resample(frame):
            piece = part.to_ndarray().reshape(-1).astype(np.float32)
            pieces.append(piece)
            length += len(piece)
        if length > _LONGEST_SECONDS * rate:
            raise _unreadable()
    if not length:
        raise _unreadable()
    whole = np.concatenate(pieces)
    if not np.isfinite(whole).all():
        raise _unreadable()
    heard: Samples = soxr.resample(whole, rate, SAMPLE_RATE).astype(np.float32)
    return heard


def _unreadable() -> BadRecord:
    return BadRecord(
        "recording_unreadable", "The recording cannot be read. Please record or upload it again."
    )


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
