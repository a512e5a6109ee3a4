"""A recording of the voice to speak in: samples, their rate, and what is said in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from .errors import Refused

Samples = NDArray[np.float32]
MIN_SECONDS = 1.0
MAX_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Recording:
    """Mono samples (n,) within [-1, 1] at ``rate`` hertz; ``transcript`` may be empty."""

    samples: Samples
    rate: int
    transcript: str = ""

    @classmethod
    def read(cls, path: str | Path, transcript: str = "") -> Recording:
        """A recording from an audio file of any format that FFmpeg knows, mixed to mono."""
        try:
            with av.open(str(path)) as file:
                stream = file.streams.audio[0]
                planes = av.AudioResampler(format="fltp")
                frames = [f for frame in file.decode(stream) for f in planes.resample(frame)]
                frames += planes.resample(None)
        except (av.error.FFmpegError, IndexError) as err:
            raise Refused("prompt_unusable", f"{Path(path).name} holds no readable audio") from err
        if not frames:
            raise Refused("prompt_unusable", f"{Path(path).name} holds no sound")
        joined = np.concatenate([frame.to_ndarray().mean(0) for frame in frames])
        return cls(joined.astype(np.float32), frames[0].sample_rate, transcript)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.samples) / self.rate

    @property
    def key(self) -> str:
        """SHA-256 over samples and rate; the transcript is no part of it."""
        exact = np.ascontiguousarray(self.samples, np.float32).tobytes()
        return hashlib.sha256(exact + self.rate.to_bytes(4, "little")).hexdigest()

    def check(self) -> None:
        """Refused if nobody's voice could be taken from it."""
        if self.seconds < MIN_SECONDS:
            raise Refused("prompt_too_short", "the recording is shorter than 1 second")
        if self.seconds > MAX_SECONDS:
            raise Refused("prompt_too_long", "the recording is longer than 30 seconds")
        if self.samples.ndim != 1 or not np.isfinite(self.samples).all():
            raise Refused("prompt_unusable", "the recording is not finite mono sound")
        if float(np.abs(self.samples).max()) < 1e-4:
            raise Refused("prompt_unusable", "the recording is silent")

    def at(self, rate: int) -> Samples:
        """The samples at another rate."""
        if rate == self.rate:
            return self.samples
        out: Samples = soxr.resample(self.samples, self.rate, rate).astype(np.float32)
        return out
