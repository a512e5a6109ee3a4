"""What a person asks for: checked field by field, each fault with its own code.

Knows the form of a request, whichever door it came through. Refuses to know HTTP, sound and rows.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ingest.problems import Problem
from ingest.recording import Raw
from schemas.events import AudioFormat, Mode

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII)
_LONGEST_DATA_URL = 200
"""Characters before the base64 itself."""
_SPACE = b" \t\r\n"
_MOST_FIELDS = 32
"""Far more than there are; each one too many would become an error of its own."""
_LANGUAGE = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}$"


class Fields(BaseModel):
    """A part of a request, refused whole where its fields are countless."""

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > _MOST_FIELDS:
            raise PydanticCustomError("fields_countless", "There are too many fields")
        return value


class Pcm(Fields):
    """Declares the recording to be headerless samples: 16 bit, little endian, interleaved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate: int = Field(ge=8_000, le=48_000)
    channels: int = Field(default=1, ge=1, le=2)


_Style = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Language = Annotated[str, StringConstraints(pattern=_LANGUAGE)]
MOST_VARIANTS = 8


class Variant(Fields):
    """One manner of several; what it does not say is as the request says."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    style: _Style | None = None
    instruct: str | None = None
    speed: float | None = Field(default=None, ge=0.5, le=2.0)
    seed: int | None = Field(default=None, ge=0, lt=2**63)

    @property
    def label(self) -> str:
        """What tells it from the others, for whoever reads."""
        pace = None if self.speed is None else f"×{self.speed:g}"
        seed = None if self.seed is None else f"#{self.seed}"
        return ", ".join(filter(None, (self.style, self.instruct, pace, seed)))


class JobBody(Fields):
    """What `POST /v1/jobs` takes beside the recording."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    text: str = Field(description="What is to be spoken.")
    mode: Mode = Field(default=Mode.ZERO_SHOT, description="How the voice is asked to speak.")
    instruct: str | None = Field(
        default=None, description="The manner in words; mode instruct needs this or a style."
    )
    style: _Style | None = Field(default=None, description="A preset manner.")
    speed: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    format: AudioFormat = Field(default=AudioFormat.MP3, description="Of the delivered file.")
    language: Language | None = Field(
        default=None, description="BCP 47 language of the recording; detected if not given."
    )
    pcm: Pcm | None = Field(
        default=None, description="Only for a recording without a header of its own."
    )
    upload: UUID | None = Field(
        default=None, description="An upload in parts, in place of the recording."
    )
    voice: UUID | None = Field(
        default=None, description="A saved voice, in place of the recording."
    )
    variants: list[Variant] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_VARIANTS,
        description="Several manners: a job for each, counted as one request.",
    )


class JobJson(JobBody):
    """The body of `POST /v1/jobs` as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recording: str | None = Field(
        default=None, description="The recording in base64 (a data URL will do)."
    )


class TtsJson(BaseModel):
    """The body of `POST /tts`; what it does not know it passes over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str | None = None
    prompt_audio: str | None = Field(default=None, description="The recording in base64.")
    mode: str | None = None
    instruct: str | None = None


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


def problem_of(wrong: ValidationError) -> Problem:
    """The problem behind pydantic's: a code of its own where a user can be told more."""
    found = wrong.errors(include_url=False, include_context=False, include_input=False)
    if any(error["type"] == "json_invalid" for error in found):
        return Problem("body_not_json")
    for error in found:
        if code := _CODES.get((str(error["loc"][0]) if error["loc"] else "", error["type"])):
            return Problem(code)
    errors = tuple({"where": _where(error["loc"]), "message": error["msg"]} for error in found)
    fields = ", ".join(dict.fromkeys(error["where"] for error in errors))
    return Problem("fields_invalid", errors=errors, fields=fields)


_CODES = {
    ("text", "missing"): "text_missing",
    ("mode", "enum"): "mode_unknown",
}


_KNOWN = frozenset(
    name for model in (JobJson, TtsJson, Pcm, Variant) for name in model.model_fields
) | {"name", "consent", "statement", "of"}


def _where(location: tuple[int | str, ...]) -> str:
    """Where a field is; a name that only the sender knows is not repeated."""
    return (
        ".".join(part if part in _KNOWN else "(unknown)" for part in map(str, location)) or "body"
    )


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
