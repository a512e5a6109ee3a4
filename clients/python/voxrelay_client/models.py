"""What a gateway answers, as values. Times are aware; fields we do not know are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ENDED = frozenset({"delivered", "rejected", "failed"})


@dataclass(frozen=True, slots=True)
class Step:
    """A state the job came to, and when."""

    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request was rejected or held."""

    code: str
    message: str
    where: str


@dataclass(frozen=True, slots=True)
class Recording:
    """The recording that was sent; `url` is good until `expires_at`."""

    url: str
    expires_at: datetime
    seconds: float
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Audio:
    """The delivered file; `url` is good until `expires_at`, `sha256` is of its bytes."""

    url: str
    expires_at: datetime
    format: str
    seconds: float
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its person is shown it."""

    job_id: str
    state: str
    ended: bool
    seq: int
    accepted_at: datetime
    text: str | None
    steps: tuple[Step, ...]
    reasons: tuple[Reason, ...]
    language: str | None = None
    code: str | None = None
    message: str | None = None
    recording: Recording | None = None
    audio: Audio | None = None
    variant: str | None = None
    """Which of several manners."""
    variants: tuple[Job, ...] = ()
    """All of them, in the answer to a request for several."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The answer whole."""

    @property
    def why(self) -> str | None:
        """Why it was rejected or held, or failed: a sentence for its user."""
        return self.message or "; ".join(reason.message for reason in self.reasons) or None


@dataclass(frozen=True, slots=True)
class Voice:
    """A saved voice, one's own (`mine`) or shared; `statement` is what was agreed to."""

    id: str
    name: str
    mine: bool
    scopes: tuple[str, ...]
    seconds: float
    created_at: datetime
    revoked_at: datetime | None
    language: str | None
    statement: str
    of: str
    recording_url: str | None


@dataclass(frozen=True, slots=True)
class Share:
    """That somebody may use a voice: `person`, or whoever first shows the `code`."""

    id: str
    person: str | None
    scopes: tuple[str, ...]
    expires_at: datetime | None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A job came to a state. The last one of a job that ended carries the job."""

    job_id: str
    seq: int
    state: str
    at: datetime
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first; `cursor` asks for the next page."""

    jobs: tuple[Job, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Speech:
    """A delivered job and the bytes of its file."""

    job: Job
    data: bytes


def job_of(said: Mapping[str, Any]) -> Job:
    """A job from an answer's JSON."""
    return Job(
        job_id=said["job_id"],
        state=said["state"],
        ended=said["ended"],
        seq=said["seq"],
        accepted_at=_time(said["accepted_at"]),
        text=said.get("text"),
        steps=tuple(Step(step["state"], _time(step["at"])) for step in said["steps"]),
        reasons=tuple(
            Reason(reason["code"], reason["message"], reason["where"])
            for reason in said.get("reasons", ())
        ),
        language=said.get("language"),
        code=said.get("code"),
        message=said.get("message"),
        recording=_recording(said.get("recording")),
        audio=_audio(said.get("audio")),
        variant=said.get("variant"),
        variants=tuple(job_of(each) for each in said.get("variants") or ()),
        raw=said,
    )


def voice_of(said: Mapping[str, Any]) -> Voice:
    """A voice from its JSON."""
    return Voice(
        id=said["id"],
        name=said["name"],
        mine=said["mine"],
        scopes=tuple(said["scopes"]),
        seconds=said["seconds"],
        created_at=_time(said["created_at"]),
        revoked_at=_maybe_time(said.get("revoked_at")),
        language=said.get("language"),
        statement=said["consent"]["statement"],
        of=said["consent"]["of"],
        recording_url=said.get("recording_url"),
    )


def share_of(said: Mapping[str, Any]) -> Share:
    """A share from its JSON."""
    return Share(
        id=said["id"],
        person=said.get("person"),
        scopes=tuple(said["scopes"]),
        expires_at=_maybe_time(said.get("expires_at")),
        code=said.get("code"),
    )


def event_of(said: Mapping[str, Any]) -> Event:
    """An event from its JSON."""
    job = said.get("job")
    return Event(
        job_id=said["job_id"],
        seq=said["seq"],
        state=said["state"],
        at=_time(said["at"]),
        job=None if job is None else job_of(job),
    )


def page_of(said: Mapping[str, Any]) -> Page:
    """A page of a history from its JSON."""
    return Page(tuple(job_of(job) for job in said["jobs"]), said.get("cursor"))


def _recording(said: Mapping[str, Any] | None) -> Recording | None:
    if said is None:
        return None
    return Recording(said["url"], _time(said["expires_at"]), said["seconds"], said["sample_rate"])


def _audio(said: Mapping[str, Any] | None) -> Audio | None:
    if said is None:
        return None
    return Audio(
        url=said["url"],
        expires_at=_time(said["expires_at"]),
        format=said["format"],
        seconds=said["seconds"],
        bytes=said["bytes"],
        sha256=said["sha256"],
    )


def _maybe_time(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
