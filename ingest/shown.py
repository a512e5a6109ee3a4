"""A job as its person is shown it, at every door the same.

Knows which facts are for users, and that addresses of sound are minted for the one who asks.
Refuses to show object keys and other persons' jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ingest.client import Client
from ingest.gateway import Gateway
from ingest.jobs import Job, JobEvent
from ingest.person import Caller
from ingest.queue import QUEUED
from ingest.shared_pages import Shared
from ingest.words import words_of
from relay.errors import Unavailable
from relay.sweep import person_of
from schemas.events import AudioFormat, Complaint, Spoken
from schemas.states import TERMINAL, State


class Shown(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class StepShown(Shown):
    """A state the job came to, and when."""

    state: State
    at: datetime


class ReasonShown(Shown):
    """Why a request was rejected or held."""

    code: str
    message: str
    where: str


class RecordingShown(Shown):
    """The recording that was sent, kept as FLAC."""

    url: str
    expires_at: datetime
    seconds: float
    sample_rate: int
    container: str
    codec: str


class AudioShown(Shown):
    """The delivered file; its address is good until `expires_at`."""

    url: str
    expires_at: datetime
    format: AudioFormat
    seconds: float
    bytes: int
    sha256: str


class QueueShown(Shown):
    """Where a job stands that has not ended."""

    place: int = Field(description="Jobs that end before it, as things are.")
    seconds: float | None = Field(description="Until it ends, estimated; null: nobody can tell.")


class ComplaintShown(Shown):
    """A report or an appeal of the caller's, and what came of it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    kind: Literal["report", "appeal"]
    at: datetime
    reason: Complaint | None = Field(description="Of a report.")
    decided_at: datetime | None = Field(description="When a person had looked; null: not yet.")
    upheld: bool | None = Field(description="Whether you were right.")


class ShareShown(Shown):
    """The public page of a job's speech."""

    url: str
    expires_at: datetime


class JobShown(Shown):
    """A job."""

    job_id: UUID
    state: State
    ended: bool = Field(description="Whether the state will change any more.")
    seq: int = Field(description="Of its last event; 0 where accepted only.")
    accepted_at: datetime
    updated_at: datetime
    text: str | None = Field(default=None, description="What was to be spoken.")
    variant: str | None = Field(default=None, description="Which of several manners.")
    steps: Sequence[StepShown]
    language: str | None = None
    reasons: Sequence[ReasonShown] = ()
    code: str | None = Field(default=None, description="Of a job that failed.")
    message: str | None = Field(default=None, description="Of a job that failed; for its user.")
    spoken: Spoken | None = None
    synthetic: bool = Field(default=True, description="What is delivered is synthetic speech.")
    recording: RecordingShown | None = None
    audio: AudioShown | None = None
    queue: QueueShown | None = Field(
        default=None, description="None where it has ended, waits for a person, or is not asked."
    )
    complaints: Sequence[ComplaintShown] | None = Field(
        default=None, description="None where it has not ended, or is not asked."
    )
    share: ShareShown | None = Field(
        default=None, description="None where nothing is shared, or it is not asked."
    )
    events_url: str


class SentShown(JobShown):
    """A job that was accepted; of a request for several, the first, and all of them."""

    variants: Sequence[JobShown] | None = None


class HistoryShown(Shown):
    """Jobs, newest first; `cursor` asks for the next page."""

    jobs: Sequence[JobShown]
    cursor: str | None = None


class EventShown(Shown):
    """One event of a job. The last one of a job that ended carries the job whole."""

    job_id: UUID
    seq: int
    state: State
    at: datetime
    queue: QueueShown | None = None
    job: JobShown | None = None


async def queue_shown(gateway: Gateway, job: UUID, state: State) -> QueueShown | None:
    """Where `job`, in that state, stands, if it stands in a queue."""
    if state not in QUEUED or (standing := await gateway.queue.of(job)) is None:
        return None
    seconds = None if standing.seconds is None else round(standing.seconds, 1)
    return QueueShown(place=standing.place, seconds=seconds)


async def complaints_shown(gateway: Gateway, job: Job) -> Sequence[ComplaintShown] | None:
    """What the person of `job` complained of, once it has ended."""
    if not job.ended:
        return None
    found = await gateway.remarks.complaints(job)
    return [ComplaintShown.model_validate(each) for each in found]


def share_shown(shared: Shared, client: Client) -> ShareShown:
    """A public page at its address, for whoever may hand it on."""
    return ShareShown(url=f"{client.base}/s/{shared.token}", expires_at=shared.expires_at)


async def shown(
    gateway: Gateway,
    job: Job,
    client: Client,
    *,
    queue: QueueShown | None = None,
    complaints: Sequence[ComplaintShown] | None = None,
    shared: Shared | None = None,
) -> JobShown:
    """`job` for its person, who reached us as `client`; whose it is was checked before."""
    detail = job.detail
    return JobShown(
        job_id=job.id,
        state=job.state,
        ended=job.ended,
        seq=job.seq,
        accepted_at=job.accepted_at,
        updated_at=job.updated_at,
        **await words_of(job, gateway.keys),
        steps=[StepShown(state=step.state, at=step.at) for step in detail.steps],
        language=detail.language,
        reasons=[
            ReasonShown(code=each.code, message=each.message, where=each.where)
            for each in detail.reasons
        ],
        code=detail.code,
        message=detail.message,
        spoken=detail.spoken,
        recording=_recording(gateway, job, client),
        audio=audio_shown(gateway, job, client),
        queue=queue,
        complaints=complaints,
        share=None if shared is None else share_shown(shared, client),
        events_url=f"{client.base}/v1/jobs/{job.id}/events",
    )


async def event_shown(gateway: Gateway, event: JobEvent, caller: Caller) -> dict[str, Any]:
    """`event` as JSON, with the whole job where it ended it."""
    job = None
    if event.state in TERMINAL:
        with suppress(Unavailable):  # the state is told all the same, and the job can be asked for
            job = await gateway.job(event.job, caller.person)
    return EventShown(
        job_id=event.job,
        seq=event.seq,
        state=event.state,
        at=event.at,
        queue=await queue_shown(gateway, event.job, event.state),
        job=None if job is None else await shown(gateway, job, caller.client),
    ).model_dump(mode="json", exclude_none=True)


def filename(job: Job, thing: str) -> str:
    """What a saved file is called."""
    if thing == "recording":
        return f"voxrelay-{job.id}-recording.flac"
    return f"voxrelay-{job.id}.{job.format or AudioFormat.MP3}"


def audio_shown(gateway: Gateway, job: Job, client: Client) -> AudioShown | None:
    """The delivered file of `job`, at an address for `client`; None where there is none."""
    audio = job.detail.audio
    if audio is None:
        return None
    return AudioShown(
        **address(gateway, job, "audio", audio.key, client),
        format=job.format or AudioFormat.MP3,
        seconds=audio.seconds,
        bytes=audio.bytes,
        sha256=audio.sha256,
    )


def _recording(gateway: Gateway, job: Job, client: Client) -> RecordingShown | None:
    found = job.detail.recording
    if found is None or person_of(found.key) != job.person:  # a voice that is shared with them
        return None
    return RecordingShown(
        **address(gateway, job, "recording", found.key, client),
        seconds=found.seconds,
        sample_rate=found.sample_rate,
        container=found.container,
        codec=found.codec,
    )


def address(gateway: Gateway, job: Job, thing: str, key: str, client: Client) -> dict[str, Any]:
    """Where a client finds the object: at the store itself, or here."""
    now, lifetime = gateway.database.now(), gateway.links.lifetime
    direct = gateway.objects.url(key, lifetime, filename(job, thing))
    url = direct or client.base + gateway.links.path(job.id, thing, now)
    return {"url": url, "expires_at": now + lifetime}
