"""Honest recordings to start from: real speech in every container a phone might send."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import av
import numpy as np

from tests.ingest.sounds import Pcm, encoded

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 1.6
RAW_RATE = 16_000

FORMS: tuple[tuple[str, str, str, int], ...] = (
    ("wav", "wav", "pcm_s16le", 16_000),
    ("wav24", "wav", "pcm_s24le", 44_100),
    ("wav-adpcm", "wav", "adpcm_ima_wav", 16_000),
    ("w64", "w64", "pcm_s16le", 16_000),
    ("aiff", "aiff", "pcm_s16be", 22_050),
    ("caf", "caf", "pcm_s16be", 16_000),
    ("mp3", "mp3", "libmp3lame", 16_000),
    ("aac", "adts", "aac", 16_000),
    ("m4a", "ipod", "aac", 44_100),
    ("mp4", "mp4", "aac", 16_000),
    ("mov", "mov", "alac", 16_000),
    ("3gp", "3gp", "libopencore_amrnb", 8_000),
    ("amr", "amr", "libopencore_amrnb", 8_000),
    ("flac", "flac", "flac", 16_000),
    ("ogg", "ogg", "libopus", 48_000),
    ("webm", "webm", "libopus", 48_000),
    ("mkv", "matroska", "pcm_s16le", 16_000),
    ("avi", "avi", "pcm_s16le", 16_000),
    ("mpegts", "mpegts", "aac", 16_000),
    ("asf", "asf", "libmp3lame", 16_000),
    ("flv", "flv", "aac", 44_100),
)
"""Name, container, codec and rate of each."""


@cache
def bases() -> Mapping[str, bytes]:
    """Every base by name; `raw` is headerless samples at `RAW_RATE`."""
    speech = [_speech(path) for path in sorted(EXAMPLES.glob("*.flac"))]
    made = {"raw": _at(speech[0], RAW_RATE).tobytes()}
    for n, (name, container, codec, rate) in enumerate(FORMS):
        made[name] = encoded(_at(speech[n % len(speech)], rate), container, codec, rate)
    return made


def _speech(path: Path) -> av.AudioFrame:
    """The first seconds of an example, as one frame."""
    with av.open(io.BytesIO(path.read_bytes())) as file:
        rate = file.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
    cut = np.ascontiguousarray(sound[:1, : int(SECONDS * rate)])
    frame = av.AudioFrame.from_ndarray(cut, format="s16", layout="mono")
    frame.sample_rate = rate
    return frame


def _at(frame: av.AudioFrame, rate: int) -> Pcm:
    convert = av.AudioResampler("s16", "mono", rate)
    pieces = (*convert.resample(frame), *convert.resample(None))
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces])
