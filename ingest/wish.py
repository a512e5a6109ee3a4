"""What a person asks for: checked field by field, each fault with its own code.

Knows the form of a request, whichever door it came through. Refuses to know HTTP, sound and rows.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any

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


class _Fields(BaseModel):
    """A part of a request, refused whole where its fields are countless."""

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > _MOST_FIELDS:
            raise PydanticCustomError("fields_countless", "There are too many fields")
        return value


class Pcm(_Fields):
    """Declares the recording to be headerless samples: 16 bit, little endian, interleaved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate: int = Field(ge=8_000, le=48_000)
    channels: int = Field(default=1, ge=1, le=2)


class JobBody(_Fields):
    """What `POST /v1/jobs` takes beside the recording."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    text: str = Field(description="What is to be spoken.")
    mode: Mode = Field(default=Mode.ZERO_SHOT, description="How the voice is asked to speak.")
    instruct: str | None = Field(
        default=None, description="The manner in words; mode instruct needs this or a style."
    )
    style: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="A preset manner."
    )
    speed: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    format: AudioFormat = Field(default=AudioFormat.MP3, description="Of the delivered file.")
    language: Annotated[str, StringConstraints(pattern=_LANGUAGE)] | None = Field(
        default=None, description="BCP 47 language of the recording; detected if not given."
    )
    pcm: Pcm | None = Field(
        default=None, description="Only for a recording without a header of its own."
    )


class JobJson(JobBody):
    """The body of `POST /v1/jobs` as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    recording: str = Field(description="The recording in base64 (a data URL will do).")


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
class Wish:
    """A request that is in order, its recording not yet looked at."""

    text: str
    mode: Mode
    instruct: str | None
    style: str | None
    speed: float
    seed: int
    format: AudioFormat
    language: str | None
    upload: bytes
    raw: Raw | None

    def content(self, recording: str) -> dict[str, Any]:
        """All that makes this wish the same as another; `recording` is the hash of its sound."""
        return {
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


def wish_of(body: JobBody, upload: bytes, limits: Limits) -> Wish:
    """The wish in `body`; `Problem` where a field is not in order."""
    text = checked_text(body.text, limits.text)
    instruct = _instruct(body.instruct, limits.instruct)
    style = body.style
    if style is not None and not _printable(style):
        raise Problem("text_control_characters")
    if body.mode is Mode.INSTRUCT and not instruct and not style:
        raise Problem("instruct_missing")
    raw = Raw(body.pcm.sample_rate, body.pcm.channels) if body.pcm else None
    return Wish(
        text=text,
        mode=body.mode,
        instruct=instruct,
        style=style,
        speed=body.speed,
        seed=body.seed,
        format=body.format,
        language=body.language,
        upload=upload,
        raw=raw,
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
    ("recording", "missing"): "recording_missing",
    ("mode", "enum"): "mode_unknown",
}


def _where(location: tuple[int | str, ...]) -> str:
    """Where a field is; a name that only the sender knows is not repeated."""
    known = {**JobJson.model_fields, **TtsJson.model_fields, **Pcm.model_fields}
    return ".".join(part if part in known else "(unknown)" for part in map(str, location)) or "body"


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
