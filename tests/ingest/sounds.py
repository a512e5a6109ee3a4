"""Recordings for tests, good and bad, made here."""

from __future__ import annotations

import io
import wave
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def tone(seconds: float, rate: int = 16_000, channels: int = 1) -> Pcm:
    """A rising tone, interleaved."""
    at = np.arange(int(seconds * rate)) / rate
    sound = (np.sin(2 * np.pi * (200 + 100 * at) * at) * 9_000).astype("<i2")
    return np.repeat(sound, channels)


@cache
def wav(seconds: float = 2.0, rate: int = 16_000, channels: int = 1, silent: bool = False) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone(seconds, rate, channels) * (not silent)).astype("<i2").tobytes())
    return held.getvalue()


@cache
def coded(
    container: str,
    codec: str,
    rate: int = 16_000,
    seconds: float = 2.0,
    tag: str | None = None,
) -> bytes:
    """A tone in `container` by `codec`, with an AIGC tag if one is given."""
    return encoded(tone(seconds, rate), container, codec, rate, tag)


def encoded(
    pcm: Pcm, container: str, codec: str, rate: int, tag: str | None = None, layout: str = "mono"
) -> bytes:
    """Mono `pcm` in `container` by `codec`, spread over the channels of `layout`."""
    held = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if container in ("mp4", "ipod") else {}
    with av.open(held, "w", format=container, options=options) as out:
        if tag is not None:
            out.metadata["AIGC"] = tag
        stream: Any = out.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = rate
        context = stream.codec_context
        convert = av.AudioResampler(
            context.format, layout, rate, frame_size=context.frame_size or 4096
        )
        for piece in (*convert.resample(frame), *convert.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return held.getvalue()


@cache
def video() -> bytes:
    """A short film in MP4, with sound."""
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as out:
        picture: Any = out.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for shade in range(10):
            image = np.full((64, 64, 3), shade * 20, np.uint8)
            out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(picture.encode(None))
    return held.getvalue()


@cache
def silent_hours(hours: float = 2.0, rate: int = 8_000) -> bytes:
    """Hours of nothing: a FLAC of some kilobytes that decodes to a hundred megabytes."""
    held = io.BytesIO()
    with av.open(held, "w", format="flac") as out:
        size = 32_768
        options = {"frame_size": str(size)}
        stream: Any = out.add_stream("flac", rate=rate, layout="mono", options=options)
        nothing = np.zeros((1, size), np.int16)
        for _ in range(int(hours * 3600 * rate / size)):
            frame = av.AudioFrame.from_ndarray(nothing, format="s16", layout="mono")
            frame.sample_rate = rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return held.getvalue()
