"""The form of a request: its fields, and what each may be.

Knows pydantic's models, and which of its faults has a code of its own. Refuses to know what is
asked for, HTTP, and sound.
"""

from __future__ import annotations

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
from schemas.events import AudioFormat, Mode, Whose

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
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]


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


class Consent(Fields):
    """What whoever speaks in the recording has agreed to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        description="The words that were agreed to."
    )
    of: Whose = Field(description="Whose voice it is: one's own, or another's.")


class VoiceBody(Fields):
    """A voice to be saved, beside its recording."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    consent: Consent
    language: Language | None = Field(default=None, description="BCP 47, of the recording.")
    upload: UUID | None = Field(default=None, description="In place of the recording.")
    pcm: Pcm | None = Field(
        default=None, description="Only for a recording without a header of its own."
    )


class VoiceJson(VoiceBody):
    """The same as JSON."""

    recording: str | None = Field(default=None, description="In base64 (a data URL will do).")


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
    name
    for model in (JobJson, TtsJson, Pcm, Variant, VoiceJson, Consent)
    for name in model.model_fields
)


def _where(location: tuple[int | str, ...]) -> str:
    """Where a field is; a name that only the sender knows is not repeated."""
    return (
        ".".join(part if part in _KNOWN else "(unknown)" for part in map(str, location)) or "body"
    )
