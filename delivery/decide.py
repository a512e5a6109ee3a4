"""How a speech leaves the house: container, codec, rate of bits, and what it says of itself.

Pure: values in, a plan out. Refuses to know samples, stores and events' topics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.events import AudioFormat, Label

TITLE = "AI合成语音 · AI-generated speech"
NOTICE = "本音频由人工智能合成。This recording is synthetic speech, made by AI."


@dataclass(frozen=True, slots=True)
class Encoding:
    """A kind of file: names as FFmpeg spells them, `bit_rate` in bits per second or None."""

    container: str
    codec: str
    sample_format: str
    bit_rate: int | None
    content_type: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write: the kind of file, its tags, and the label that the event repeats."""

    encoding: Encoding
    tags: Mapping[str, str]
    label: Label


def plan(format_: AudioFormat, job: str, producer: str, kbps: int) -> Plan:
    """The plan for one job's file."""
    label = Label(aigc=aigc(producer, job), producer=producer, produce_id=job)
    tags = {"title": TITLE, "comment": NOTICE, "AIGC": label.aigc}
    return Plan(encoding(format_, kbps), tags, label)


def encoding(format_: AudioFormat, kbps: int) -> Encoding:
    """How files of this format are written; WAV ignores `kbps`."""
    match format_:
        case AudioFormat.WAV:
            return Encoding("wav", "pcm_s16le", "s16", None, "audio/wav", {})
        case AudioFormat.MP3:
            # ID3 2.3 is what Windows and older phones read.
            options = {"id3v2_version": "3"}
            return Encoding("mp3", "libmp3lame", "s16p", kbps * 1000, "audio/mpeg", options)
        case AudioFormat.M4A:
            # Only so are tags of our own kept.
            options = {"movflags": "use_metadata_tags"}
            return Encoding("ipod", "aac", "fltp", kbps * 1000, "audio/mp4", options)


def aigc(producer: str, job: str) -> str:
    """The implicit label of Chinese practice (GB 45438): synthetic, by whom, under which number."""
    return json.dumps(
        {
            "Label": "1",
            "ContentProducer": producer,
            "ProduceID": job,
            "ReservedCode1": "",
            "ContentPropagator": "",
            "PropagateID": "",
            "ReservedCode2": "",
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
