"""What befalls a sound on its way through the world.

Knows codecs, scissors and noise. Refuses to know what is made of it afterwards.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import av
import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Harm = Callable[[Samples, int], tuple[Samples, int]]
"""Mono samples, shape (n,), and their rate in Hz, before and after."""


def coded(samples: Samples, rate: int, codec: str, form: str, bits: int) -> bytes:
    """A file of `form` with mono sound at `rate`, `bits` a second."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bits
        context = stream.codec_context
        whole = av.AudioFrame.from_ndarray(samples[None].copy(), format="flt", layout="mono")
        whole.sample_rate = rate
        resampler = av.AudioResampler(context.format, "mono", rate, context.frame_size or 1_024)
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def decoded(file: bytes) -> tuple[Samples, int]:
    """What a file sounds like."""
    with av.open(io.BytesIO(file), "r") as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler("flt", "mono", rate)
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in parts]), rate


def by_telephone(samples: Samples, rate: int, bits: int = 12_200) -> bytes:
    """An AMR file of it, as a voice message of a telephone is."""
    narrow = soxr.resample(samples, rate, 8_000).astype(np.float32)
    return coded(narrow, 8_000, "libopencore_amrnb", "amr", bits)


def noisy(samples: Samples, decibels: float) -> Samples:
    """With white noise so far below it."""
    noise = np.random.default_rng(1).standard_normal(len(samples))
    level = np.sqrt(np.mean(np.square(samples)) / 10 ** (decibels / 10))
    return (samples + noise * level).astype(np.float32)


def trimmed(samples: Samples, rate: int) -> Samples:
    """Without its first 0.713 and its last 0.5 seconds."""
    return samples[int(0.713 * rate) : -int(0.5 * rate)]


def _mp3(bits: int) -> Harm:
    return lambda x, rate: decoded(coded(x, rate, "libmp3lame", "mp3", bits))


HARMS: Mapping[str, Harm] = {
    "none": lambda x, rate: (x, rate),
    "MP3 64 kbit/s": _mp3(64_000),
    "MP3 24 kbit/s": _mp3(24_000),
    "AMR 12.2 kbit/s": lambda x, rate: decoded(by_telephone(x, rate)),
    "AMR 4.75 kbit/s": lambda x, rate: decoded(by_telephone(x, rate, 4_750)),
    "trimmed at both ends": lambda x, rate: (trimmed(x, rate), rate),
    "noise at 20 dB": lambda x, rate: (noisy(x, 20), rate),
    "noise at 10 dB": lambda x, rate: (noisy(x, 10), rate),
    "trimmed, noise at 15 dB, AMR 12.2": lambda x, rate: decoded(
        by_telephone(noisy(trimmed(x, rate), 15), rate)
    ),
    "5 % faster": lambda x, rate: (x, int(rate * 1.05)),
}
