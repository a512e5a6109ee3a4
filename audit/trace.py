"""From a file back to its job: by the label that delivery wrote into it, else by how it sounds.

Knows where the label stands in each format that is delivered, and how to ask every delivery for its
fingerprint. Refuses to believe a label: it can be copied into another file, so whether this is the
very file is told by its hash, and whether it is that speech by its sound.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from operator import itemgetter

import av
import numpy as np
from pydantic_core import from_json

from audit.reading import Eyes
from audit.trail import Trail, trail
from relay.fingerprint import Asked, Likeness
from relay.spine import Spine
from schemas.events import SpeechDelivered
from schemas.topics import topic_of

_NAME = "AIGC"
_LABEL_BYTES = 64 * 1024
_RATE = 16_000
_LONGEST = 600 * _RATE
"""Samples of a file that are listened to."""
_MAGIC = {b"fLaC": "flac", b"OggS": "ogg", b"#!AMR": "amr", b"ID3": "mp3"}


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
        return Traced(digest, why="It is neither MP3, WAV, M4A, FLAC, Ogg nor AMR.")
    try:
        # The format is given: no other reader of FFmpeg's may look at a stranger's file.
        with av.open(io.BytesIO(data), format=format_) as container:
            label = _label({**container.metadata, **container.streams.audio[0].metadata})
    except (av.FFmpegError, IndexError, UnicodeDecodeError):
        return Traced(digest, why="It cannot be read as sound.")
    if label is None:
        return Traced(digest, why="It bears no AIGC label: it is not ours, or was encoded again.")
    return Traced(digest, label.get("ContentProducer"), label.get("ProduceID"))


class Untraceable(Exception):
    """Nothing leads from the file to a job; says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """The job that a file came from."""

    file: Traced
    trail: Trail
    likeness: Likeness | None
    """How alike file and delivered speech sound; None where there is none, or too little of it."""
    others: Sequence[str] = ()
    """Further jobs that delivered this sound: who asks for the same again gets the same.

    Where a label names the job and the sound is another's, the jobs that it is of.
    """

    @property
    def exact(self) -> bool:
        """Whether the job delivered these very bytes."""
        audio = (step.seen.fields.get("audio") for step in self.trail.steps)
        return any(each is not None and each["sha256"] == self.file.sha256 for each in audio)

    @property
    def labelled(self) -> bool:
        """Whether the file itself names the job."""
        return self.file.produce_id == self.trail.job


async def find(
    spine: Spine,
    data: bytes,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    opens: bool = True,
) -> Found:
    """The job that `data` came from; raises `Untraceable`.

    Where its label leads nowhere, or to what sounds otherwise, the fingerprint of every delivery
    between `since` and `until` (times of the log) is compared; they are personal, so this needs
    `opens`.
    """
    file, asked = read_label(data), _listen(data) if opens else None
    if file.produce_id is not None:
        if (named := await trail(spine, file.produce_id, opens=opens)) is not None:
            like = _likeness(asked, named)
            if asked is None or not asked.long_enough or (like and like.same):
                return Found(file, named, like)
            return Found(file, named, like, list(await recognise(spine, asked, since, until)))
        why = f"Its label names {file.produce_id} of {file.producer}: never accepted here."
    else:
        why = file.why or "Its label names no job."
    if asked is None:
        raise Untraceable(why)
    if not asked.long_enough:
        raise Untraceable(f"{why} It is too short to be known by its sound.")
    if not (heard := await recognise(spine, asked, since, until)):
        raise Untraceable(f"{why} Nor does it sound like anything that was delivered.")
    job, *others = heard
    if (followed := await trail(spine, job)) is None:
        raise Untraceable(f"{why} It sounds like {job}, of which nothing else is left.")
    return Found(file, followed, heard[job], others)


async def recognise(
    spine: Spine, asked: Asked, since: datetime | None = None, until: datetime | None = None
) -> Mapping[str, Likeness]:
    """The jobs whose speech `asked` sounds like: the most alike first, of equals the eldest."""
    eyes = Eyes(spine.keys)
    found = list[tuple[float, datetime, str, Likeness]]()
    async for record in spine.log.read([topic_of(SpeechDelivered)], since, until=until):
        like = _compared(asked, (await eyes.see(record)).fields.get("fingerprint"))
        if like is not None and like.same:
            found.append((like.errors, record.appended, record.key, like))
    return {job: like for *_, job, like in sorted(found, key=itemgetter(0, 1))}


def _likeness(asked: Asked | None, named: Trail) -> Likeness | None:
    kept = (step.seen.fields.get("fingerprint") for step in named.steps)
    return next((like for each in kept if asked and (like := _compared(asked, each))), None)


def _compared(asked: Asked, kept: object) -> Likeness | None:
    """None where there is no fingerprint: it is older, too short, was erased, or is junk."""
    try:
        like = asked.like(kept) if isinstance(kept, str) else None
    except ValueError:  # no base64, or no whole words: one such delivery hides none of the others
        return None
    return like if like and like.seconds else None


def _listen(data: bytes) -> Asked | None:
    """What a file sounds like; None where that cannot be told."""
    if (format_ := _format(data)) is None:
        return None
    heard, resampler = [np.zeros(0, np.float32)], av.AudioResampler("flt", "mono", _RATE)
    left = _LONGEST
    try:
        with av.open(io.BytesIO(data), "r", format=format_) as container:
            for frame in container.decode(audio=0):
                parts = [part.to_ndarray()[0] for part in resampler.resample(frame)]
                heard += parts
                left -= sum(map(len, parts))
                if left < 0:
                    break
    except (av.FFmpegError, IndexError):
        return None
    return Asked(np.concatenate(heard), _RATE)


def _format(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mp4"
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "mp3"
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)


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
