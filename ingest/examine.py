"""What a recording is, judged by its content: bytes in, mono FLAC or a refusal's code out.

Knows containers, codecs and samples. Refuses to know users and sentences, and to open anything but
the bytes it was given (no playlist can make it fetch). Whoever calls it may not survive: see
`ingest.probe`.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

MAX_RATE = 48_000
MIN_RATE = 6_000
MAX_CHANNELS = 8
MAX_TAG = 1_024

_CONTAINERS = (
    "wav,w64,aiff,mp3,aac,amr,amrnb,amrwb,flac,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,"
    # Only so that a film is told from noise:
    "avi,flv,mpeg,mpegts,asf"
)
_CODECS = (
    *("mp3", "mp2", "aac", "amrnb", "amrwb", "flac", "opus", "vorbis", "alac"),
    *("mp3float", "mp2float", "amr_nb", "amr_wb", "libopencore_amrnb", "libopencore_amrwb"),
    *("libopus", "libvorbis", "adpcm_ima_wav", "adpcm_ms"),
)
_MAGIC = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"#!AMR", b"\x1aE\xdf\xa3", b"FORM")

Samples = NDArray[np.int16]


class Refused(Exception):
    """The recording is not taken; `code` says why, `facts` fill the sentence."""

    def __init__(self, code: str, **facts: float | str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds of sound that are taken, and the peak (of 1.0) below which it is silence."""

    shortest: float
    longest: float
    silence: float


@dataclass(frozen=True, slots=True)
class Raw:
    """What the sender declares headerless 16-bit little-endian samples to be."""

    rate: int
    channels: int


def examine(data: bytes, raw: Raw | None, bounds: Bounds) -> tuple[dict[str, Any], bytes]:
    """Facts about the recording, and it as mono FLAC at its own rate (at most 48 kHz).

    `Refused` with one of the codes `recording_*`.
    """
    if not data:
        raise Refused("recording_empty")
    opened = data if raw is None else _with_header(data, raw)
    blocks: list[Samples] = []
    try:
        facts = _read(opened, bounds, blocks)
    except (av.error.FFmpegError, ValueError, OverflowError, LookupError) as wrong:
        if isinstance(wrong, MemoryError):
            raise
        sound = bool(blocks) or _claims_sound(data)
        raise Refused("recording_broken" if sound else "recording_not_audio") from None
    samples = np.concatenate(blocks)
    _check(samples, facts, bounds)
    if raw is not None:
        facts |= {"container": "raw", "codec": "pcm_s16le"}
    return facts, _flac(samples, facts["sample_rate"])


def _with_header(data: bytes, raw: Raw) -> bytes:
    frame = 2 * raw.channels
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(raw.channels)
        file.setsampwidth(2)
        file.setframerate(raw.rate)
        file.writeframes(data[: len(data) // frame * frame])
    return held.getvalue()


def _read(data: bytes, bounds: Bounds, blocks: list[Samples]) -> dict[str, Any]:
    """Fill `blocks` with mono samples as far as the file goes, and tell what the file was."""
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": ""}
    with av.open(io.BytesIO(data), options=options, metadata_errors="replace") as container:
        stream = _sound_of(container)
        rate = min(_sane(stream.codec_context), MAX_RATE)
        length = 0
        for block in _mono(container, stream):
            rate = block.sample_rate
            blocks.append(block.to_ndarray()[0])
            length += block.samples
            if length > bounds.longest * rate:
                raise Refused("recording_too_long", longest=bounds.longest)
        if not blocks:
            raise Refused("recording_broken")
        seconds = length / rate
        if _promised(data, container, stream) > seconds + max(0.5, seconds / 10):
            raise Refused("recording_broken")
        return {
            "seconds": seconds,
            "sample_rate": rate,
            "container": container.format.name.split(",")[0],
            "codec": stream.codec_context.name,
            "aigc": _aigc(container.metadata, stream.metadata),
        }


def _sound_of(container: Any) -> Any:
    """The one stream of sound; a picture on the sleeve of an MP3 is no film."""
    picture = av.stream.Disposition.attached_pic
    if any(not s.disposition & picture for s in container.streams.video):
        raise Refused("recording_is_video")
    if not container.streams.audio:
        raise Refused("recording_not_audio")
    stream = container.streams.audio[0]
    name = stream.codec_context.name if stream.codec_context else ""
    if name not in _CODECS and not name.startswith("pcm_"):
        raise Refused("recording_codec_unknown")
    stream.codec_context.thread_count = 1
    return stream


def _sane(sound: Any) -> int:
    """The rate of a context or frame, once rate and channels are what a voice is recorded with."""
    if sound.layout.nb_channels > MAX_CHANNELS:
        raise Refused("recording_channels", channels=sound.layout.nb_channels)
    if not MIN_RATE <= sound.sample_rate <= 192_000:
        raise Refused("recording_rate", rate=sound.sample_rate)
    return int(sound.sample_rate)


def _mono(container: Any, stream: Any) -> Iterator[Any]:
    """Mono 16-bit frames at one rate: the first frame's, at most 48 kHz.

    A stream that changes its own form on the way is followed with another converter.
    """
    form: tuple[str, str, int] | None = None
    convert: av.AudioResampler | None = None
    rate = 0
    for frame in container.decode(stream):
        found = (frame.format.name, frame.layout.name, _sane(frame))
        if convert is None or found != form:
            if convert is not None:
                yield from convert.resample(None)
            rate = rate or min(found[2], MAX_RATE)
            form = found
            convert = av.AudioResampler(format="s16p", layout="mono", rate=rate)
        frame.pts = None
        yield from convert.resample(frame)
    if convert is not None:
        yield from convert.resample(None)


def _promised(data: bytes, container: Any, stream: Any) -> float:
    """Seconds the file says it holds; 0 where it does not say."""
    if container.format.name == "wav":
        return _promised_by_riff(data, stream.codec_context)
    if container.format.name.startswith("matroska"):
        return (container.duration or 0) / av.time_base
    if container.format.name in ("flac", "ogg", "aiff") or container.format.name.startswith("mov"):
        return float((stream.duration or 0) * (stream.time_base or Fraction(0)))
    return 0.0


def _promised_by_riff(data: bytes, context: Any) -> float:
    """FFmpeg cuts what a header promises to what is there, so the header is read once more."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            streamed = size in (0, 0xFFFFFFFF) or size >= 0x7FFFF000
            each = context.sample_rate * context.layout.nb_channels * _bytes_each(context)
            return 0.0 if streamed or not each else size / each
        at += 8 + size + size % 2
    return 0.0


def _bytes_each(context: Any) -> int:
    return {"pcm_u8": 1, "pcm_s16le": 2, "pcm_s24le": 3, "pcm_s32le": 4, "pcm_f32le": 4}.get(
        context.name, 0
    )


def _check(samples: Samples, facts: dict[str, Any], bounds: Bounds) -> None:
    if facts["seconds"] < bounds.shortest:
        raise Refused(
            "recording_too_short", shortest=bounds.shortest, seconds=round(facts["seconds"], 2)
        )
    if np.abs(samples.astype(np.int32)).max() < bounds.silence * 32768:
        raise Refused("recording_silent")


def _aigc(*tags: dict[str, str]) -> str | None:
    """The mark of synthetic sound that a file bears: a tag `AIGC`, or one within a comment."""
    for name, value in (pair for each in tags for pair in each.items()):
        if name.upper() == "AIGC" or '"AIGC"' in value:
            return "".join(c for c in value if c.isprintable())[:MAX_TAG]
    return None


def _claims_sound(data: bytes) -> bool:
    return data.startswith(_MAGIC) or data[4:8] == b"ftyp"


def _flac(samples: Samples, rate: int) -> bytes:
    """Equal samples give equal bytes: no date and no encoder's name are written."""
    held = io.BytesIO()
    with av.open(held, "w", format="flac", options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream("flac", rate=rate, layout="mono", options={"flags": "+bitexact"})
        stream.codec_context.thread_count = 1
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        fifo.write(frame)
        for piece in fifo.read_many(4096, partial=True):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return held.getvalue()
