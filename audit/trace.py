"""From a file back to its job: by the label that delivery wrote into it.

Knows where the label stands in each format that is delivered. Refuses to believe it: a label can be
copied into another file, so whether this is the very file is told by its hash.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import av
from pydantic_core import from_json

from audit.trail import Trail

_NAME = "AIGC"
_LABEL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Traced:
    """What a file says of itself."""

    sha256: str
    producer: str | None = None
    produce_id: str | None = None
    why: str | None = None
    """Why it says nothing."""


def read_label(data: bytes) -> Traced:
    """The label in a delivered file, or why there is none."""
    digest = sha256(data).hexdigest()
    if (format_ := _format(data)) is None:
        return Traced(digest, why="It is neither MP3, WAV nor M4A.")
    try:
        # The format is given: no other reader of FFmpeg's may look at a stranger's file.
        with av.open(io.BytesIO(data), format=format_) as container:
            label = _label({**container.metadata, **container.streams.audio[0].metadata})
    except (av.FFmpegError, IndexError, UnicodeDecodeError):
        return Traced(digest, why="It cannot be read as sound.")
    if label is None:
        return Traced(digest, why="It bears no AIGC label: it is not ours, or was encoded again.")
    return Traced(digest, label.get("ContentProducer"), label.get("ProduceID"))


def is_the_file(traced: Traced, trail: Trail) -> bool:
    """Whether the job delivered these very bytes."""
    audio = (step.seen.fields.get("audio") for step in trail.steps)
    return any(each is not None and each["sha256"] == traced.sha256 for each in audio)


def _format(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mp4"
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return "mp3"
    return None


def _label(tags: Mapping[str, str]) -> Mapping[str, str] | None:
    said = next((value for name, value in tags.items() if name.upper() == _NAME), None)
    if said is None or len(said) > _LABEL_BYTES:
        return None
    try:
        found = from_json(said)  # which refuses what is nested without end
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): value for name, value in found.items() if isinstance(value, str)}
