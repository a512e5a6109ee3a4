"""Samples in, the bytes of a file out.

Knows PyAV and the one tag that FFmpeg does not write into a WAV. Pure: the same samples, plan and
library give the same bytes. Refuses to know why a file is labelled as it is.
"""

from __future__ import annotations

import io
import struct

import av
import numpy as np
from av.audio import AudioStream
from av.audio.resampler import AudioResampler
from av.codec.context import Flags
from numpy.typing import NDArray

from delivery.decide import Plan

_BLOCK = 1 << 16


def encode(samples: NDArray[np.float32], rate: int, plan: Plan) -> bytes:
    """A whole file of mono `samples` (n,) within [-1, 1] at `rate` Hz, tagged as planned."""
    file, how = io.BytesIO(), plan.encoding
    # Bit-exact: no date and no encoder's version are written.
    options = {"fflags": "+bitexact", **how.options}
    if how.container == "ipod":
        options["moov_size"] = str(_index_bytes(len(samples), plan))
    with av.open(file, "w", format=how.container, container_options=options) as container:
        container.metadata.update(plan.tags)
        stream = container.add_stream(how.codec, rate=rate, layout="mono")
        assert isinstance(stream, AudioStream)
        context = stream.codec_context
        context.format = how.sample_format
        context.flags |= Flags.bitexact
        if how.bit_rate is not None:
            context.bit_rate = how.bit_rate
        for frame in _frames(samples, rate, how.sample_format):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = file.getvalue()
    return _with_info(data, "AIGC", plan.tags["AIGC"]) if how.container == "wav" else data


def _index_bytes(samples: int, plan: Plan) -> int:
    """Room to keep at the front for an M4A's index, so that play can start before the end came."""
    frames = samples // 1024 + 2
    return 4096 + 16 * frames + 2 * sum(len(value.encode()) for value in plan.tags.values())


def _frames(samples: NDArray[np.float32], rate: int, format_: str) -> list[av.AudioFrame]:
    whole = np.clip(np.round(samples * 32767.0), -32768, 32767).astype(np.int16)
    resampler = AudioResampler(format=format_, layout="mono", rate=rate)
    frames = []
    for start in range(0, len(whole), _BLOCK):
        block = np.ascontiguousarray(whole[None, start : start + _BLOCK])
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, start
        frames += resampler.resample(frame)
    return frames


def _with_info(wav: bytes, name: str, value: str) -> bytes:
    """`wav` with one more entry in its INFO list; FFmpeg writes only those it has a name for."""
    text = value.encode() + b"\0"
    entry = name.encode() + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    at = wav.index(b"LIST")
    (size,) = struct.unpack_from("<I", wav, at + 4)
    (riff,) = struct.unpack_from("<I", wav, 4)
    end = at + 8 + size
    return b"".join(
        (
            wav[:4],
            struct.pack("<I", riff + len(entry)),
            wav[8 : at + 4],
            struct.pack("<I", size + len(entry)),
            wav[at + 8 : end],
            entry,
            wav[end:],
        )
    )
