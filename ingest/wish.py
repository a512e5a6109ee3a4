"""What a person asks for: checked, each fault with its own code.

Knows what makes a request one that can be accepted, whichever door it came through. Refuses to know
its form (`ingest.forms`), HTTP, sound and rows.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from ingest.forms import JobBody, Pcm, Variant
from ingest.problems import Problem
from ingest.recording import Raw
from schemas.events import AudioFormat, Mode

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII)
_LONGEST_DATA_URL = 200
"""Characters before the base64 itself."""
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Most characters of a text and of an instruction."""

    text: int
    instruct: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A recording that came in parts."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Saved:
    """A voice that was saved before."""

    id: UUID


Source = bytes | Uploaded | Saved
"""Where the recording of a request is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that is in order, its recording not yet looked at.

    Of one with `variants`, each is what it asks for, and its own manner stands for nothing.
    """

    text: str
    mode: Mode
    instruct: str | None
    style: str | None
    speed: float
    seed: int
    format: AudioFormat
    language: str | None
    source: Source
    raw: Raw | None
    label: str | None = None
    variants: tuple[Wish, ...] = ()

    @property
    def each(self) -> Sequence[Wish]:
        """A wish for every job."""
        return self.variants or (self,)

    def content(self, recording: str) -> dict[str, Any]:
        """All that makes this wish the same as another; `recording` is the hash of its sound."""
        several = {"variants": [each.content(recording) for each in self.variants]}
        return {
            **(several if self.variants else {}),
            "text": self.text,
            "mode": self.mode,
            "instruct": self.instruct,
            "style": self.style,
            "speed": self.speed,
            "seed": self.seed,
            "format": self.format,
            "language": self.language,
            "recording": recording,
        }


def wish_of(body: JobBody, sound: bytes | None, limits: Limits) -> Wish:
    """The wish in `body`, with the recording that came with it, if one did.

    `Problem` where a field is not in order.
    """
    source = one_source(sound, body.upload, body.voice)
    if not body.variants:
        return _wish(body, source, limits)
    each = [replace(_wish(_in(body, v), source, limits), label=v.label) for v in body.variants]
    return replace(each[0], label=None, variants=tuple(each))


def raw_of(pcm: Pcm | None) -> Raw | None:
    """What a request declares of a recording without a header."""
    return None if pcm is None else Raw(pcm.sample_rate, pcm.channels)


def one_source(sound: bytes | None, upload: UUID | None, voice: UUID | None = None) -> Source:
    """Where the recording is; `Problem` where it is nowhere, or in two places."""
    given: list[Source] = [] if sound is None else [sound]
    given += [] if upload is None else [Uploaded(upload)]
    given += [] if voice is None else [Saved(voice)]
    if len(given) > 1:
        raise Problem("recording_ambiguous")
    if not given:
        raise Problem("recording_missing")
    return given[0]


def _in(body: JobBody, variant: Variant) -> JobBody:
    """`body` in the manner of `variant`; an instruction has to be one that is followed."""
    own = variant.model_dump(exclude_none=True)
    if variant.instruct and body.mode is Mode.ZERO_SHOT:
        own["mode"] = Mode.INSTRUCT
    return body.model_copy(update=own)


def _wish(body: JobBody, source: Source, limits: Limits) -> Wish:
    text = checked_text(body.text, limits.text)
    instruct = _instruct(body.instruct, limits.instruct)
    style = body.style
    if style is not None and not _printable(style):
        raise Problem("text_control_characters")
    if body.mode is Mode.INSTRUCT and not instruct and not style:
        raise Problem("instruct_missing")
    return Wish(
        text=text,
        mode=body.mode,
        instruct=instruct,
        style=style,
        speed=body.speed,
        seed=body.seed,
        format=body.format,
        language=body.language,
        source=source,
        raw=raw_of(body.pcm),
    )


def checked_text(text: str, limit: int) -> str:
    """`text` without the white space around it; `Problem` where there is nothing or too much."""
    bare = text.strip()
    if len(bare) > limit:  # first of all: what follows looks at every character
        raise Problem("text_too_long", length=len(bare), limit=limit)
    if not any(unicodedata.category(c)[0] in "LNPS" for c in bare):
        if not _printable(bare):
            raise Problem("text_control_characters")
        raise Problem("text_empty")
    if not _printable(bare):
        raise Problem("text_control_characters")
    return bare


def decoded(text: str) -> bytes:
    """The bytes that base64 `text` (or a data URL) spells; `Problem` where it spells none."""
    url = _DATA_URL.match(text[:_LONGEST_DATA_URL])
    bare = text[url.end() :] if url else text
    if not bare.strip():
        raise Problem("recording_empty" if url else "recording_missing")
    try:
        return base64.b64decode(bare.encode("ascii").translate(None, _SPACE), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("recording_not_base64") from None


def _instruct(text: str | None, limit: int) -> str | None:
    bare = (text or "").strip()
    if len(bare) > limit:
        raise Problem("instruct_too_long", length=len(bare), limit=limit)
    if not _printable(bare):
        raise Problem("text_control_characters")
    return bare or None


def _printable(text: str) -> bool:
    """No control character but line feeds and tabs, and nothing that UTF-8 cannot spell."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t" for c in text)
