"""Mono FLAC, the one form in which sound lies in the object store.

Knows samples, rate and tags. Refuses to know whose sound it is, and any file from outside: those
are judged at the door.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from relay.errors import BadRecord

CONTENT_TYPE = "audio/flac"
_BLOCK = 1 << 16
_UNREADABLE = "sound_unreadable"


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Mono float32 samples within [-1, 1], shape (n,), at `rate` Hz, and the file's tags."""

    samples: NDArray[np.float32]
    rate: int
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of itself in its head."""

    seconds: float
    rate: int
    tags: Mapping[str, str]


def write_flac(sound: Sound) -> bytes:
    """16-bit FLAC; equal sounds give equal bytes."""
    whole = np.clip(np.round(sound.samples * 32767.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format="flac", container_options={"fflags": "+bitexact"}) as container:
        container.metadata.update(sound.tags)
        stream = container.add_stream("flac", rate=sound.rate, layout="mono", format="s16")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for start in range(0, len(whole), _BLOCK):
            block = np.ascontiguousarray(whole[None, start : start + _BLOCK])
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = sound.rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def read_flac(data: bytes) -> Sound:
    """The sound in `data`; `BadRecord` (`sound_unreadable`) where it is no such file."""
    with _opened(data) as container:
        stream = container.streams.audio[0]
        blocks = [_floats(frame) for frame in container.decode(stream)]
        if not blocks:
            raise BadRecord(_UNREADABLE, "A stored sound is empty.")
        return Sound(np.concatenate(blocks), int(stream.rate), _tags(container))


def read_facts(data: bytes) -> Facts:
    """What the head of `data` says, without decoding; errors as in `read_flac`."""
    with _opened(data) as container:
        stream = container.streams.audio[0]
        if stream.duration is None or stream.time_base is None:
            raise BadRecord(_UNREADABLE, "A stored sound does not say how long it is.")
        seconds = float(stream.duration * stream.time_base)
        return Facts(seconds, int(stream.rate), _tags(container))


@contextmanager
def _opened(data: bytes) -> Iterator[InputContainer]:
    try:
        with av.open(io.BytesIO(data), "r", format="flac") as container:
            yield container
    except (FFmpegError, IndexError) as wrong:
        raise BadRecord(_UNREADABLE, "A stored sound is damaged.") from wrong


def _tags(container: InputContainer) -> dict[str, str]:
    return {key.lower(): value for key, value in container.metadata.items()}


def _floats(frame: av.AudioFrame) -> NDArray[np.float32]:
    """One channel of a decoded frame; FLAC decodes to 16 or 32-bit integers."""
    block = frame.to_ndarray()
    channels = block.reshape(-1, len(frame.layout.channels)) if block.shape[0] == 1 else block.T
    full_scale = float(1 << (8 * block.dtype.itemsize - 1))
    mono: NDArray[np.float32] = channels.astype(np.float32).mean(axis=1) / np.float32(full_scale)
    return mono
