"""Reading jobs: what a person may see of theirs.

Knows the rows that accepting and `view` write, and that another's job is no job. Refuses to know
how they are shown, and holds no plain personal field.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, insert, select, tuple_

from relay.sql.database import Transaction
from relay.sql.schema import job_events, jobs
from schemas.envelope import format_time, parse_time
from schemas.events import Audio, AudioFormat, Reason, Recording, Spoken, Value
from schemas.states import TERMINAL, State, rank

PAGE = 50


class Step(Value):
    """One state a job came to, and when the log took the event that says so."""

    state: State
    at: datetime


class Detail(Value):
    """What the events have told of a job so far."""

    steps: tuple[Step, ...] = ()
    """In the order in which `view` saw them."""
    recording: Recording | None = None
    style: str | None = None
    language: str | None = None
    """Of the recording, as heard."""
    code_version: str | None = None
    """Of what judged it."""
    reasons: tuple[Reason, ...] = ()
    """Why it was rejected, held or let through with a remark."""
    code: str | None = None
    message: str | None = None
    """Of a job that failed; for its user."""
    spoken: Spoken | None = None
    audio: Audio | None = None
    """The delivered file, once there is one."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its person may see it. `seq` is that of its last event; 0 where accepted only."""

    id: UUID
    person: UUID
    site: str
    door: str | None
    format: AudioFormat | None
    state: State
    seq: int
    accepted_at: datetime
    updated_at: datetime
    detail: Detail
    sealed: Mapping[str, Any] = field(default_factory=dict)
    """Sealed values by name, as whoever accepted the job gave them."""

    @property
    def ended(self) -> bool:
        """Whether no event will change it any more."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event of a job; `seq` counts from 1 without holes and is the id for SSE and WebSocket."""

    job: UUID
    seq: int
    event: UUID
    state: State
    at: datetime
    payload: Mapping[str, Any]
    """What this event added to the job's `Detail`, as JSON."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a history, newest first; `cursor` asks for the next, None where it ends."""

    jobs: tuple[Job, ...]
    cursor: str | None


async def accept(
    tx: Transaction,
    *,
    job: UUID,
    person: UUID,
    site: str,
    door: str,
    format: AudioFormat,  # noqa: A002 - the field's name everywhere
    sealed: Mapping[str, Any] | None = None,
) -> None:
    """Insert the row of a job just accepted: state `accepted`, at `tx.now`, no event yet."""
    row = {
        "id": job,
        "person": person,
        "site": site,
        "door": door,
        "format": format.value,
        "state": State.ACCEPTED.value,
        "rank": rank(State.ACCEPTED),
        "seq": 0,
        "accepted_at": tx.now,
        "updated_at": tx.now,
        "sealed": dict(sealed or {}),
        "detail": Detail().model_dump(mode="json"),
    }
    await tx.execute(insert(jobs).values(row))


async def find(tx: Transaction, job: UUID, person: UUID) -> Job | None:
    """The person's job; None where there is none, or it is another's."""
    query = select(jobs).where(jobs.c.id == job, jobs.c.person == person)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _job(row)


async def find_any(tx: Transaction, job: UUID) -> Job | None:
    """The job whoever's it is: only for a bearer whose signed address names it."""
    row = (await tx.execute(select(jobs).where(jobs.c.id == job))).one_or_none()
    return None if row is None else _job(row)


async def events_after(tx: Transaction, job: UUID, seq: int) -> Sequence[JobEvent]:
    """The job's events with a higher `seq`, in order. Whose job it is was checked by `find`."""
    query = (
        select(job_events)
        .where(job_events.c.job == job, job_events.c.seq > seq)
        .order_by(job_events.c.seq)
    )
    return [_event(row) for row in await tx.execute(query)]


async def history(
    tx: Transaction,
    person: UUID,
    cursor: str | None = None,
    limit: int = PAGE,
    among: Select[tuple[UUID]] | None = None,
) -> Page:
    """The person's jobs, or those `among` them, newest first.

    `ValueError` where `cursor` is none of ours.
    """
    query = select(jobs).where(jobs.c.person == person)
    if among is not None:
        query = query.where(jobs.c.id.in_(among))
    if cursor is not None:
        query = query.where(_older_than(*_read_cursor(cursor)))
    query = query.order_by(jobs.c.accepted_at.desc(), jobs.c.id.desc()).limit(limit + 1)
    found = [_job(row) for row in await tx.execute(query)]
    more = len(found) > limit
    shown = tuple(found[:limit])
    return Page(shown, _write_cursor(shown[-1]) if more else None)


async def last_spoken(tx: Transaction) -> Spoken | None:
    """Which voice spoke last, for whomever; None where none has, or its person was erased."""
    delivered = jobs.c.state == State.DELIVERED.value
    query = select(jobs.c.detail).where(delivered).order_by(jobs.c.updated_at.desc()).limit(1)
    detail = (await tx.execute(query)).scalar()
    return None if detail is None else Detail.model_validate(detail).spoken


def _older_than(at: datetime, job: UUID) -> ColumnElement[bool]:
    return tuple_(jobs.c.accepted_at, jobs.c.id) < tuple_(at, job)


def _write_cursor(job: Job) -> str:
    plain = f"{format_time(job.accepted_at)}|{job.id}"
    return base64.urlsafe_b64encode(plain.encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, _, job = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        return parse_time(at), UUID(job)
    except (binascii.Error, ValueError):
        raise ValueError("the cursor is not one of ours") from None


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        person=row.person,
        site=row.site,
        door=row.door,
        format=None if row.format is None else AudioFormat(row.format),
        state=State(row.state),
        seq=row.seq,
        accepted_at=row.accepted_at,
        updated_at=row.updated_at,
        detail=Detail.model_validate(row.detail),
        sealed=row.sealed or {},
    )


def _event(row: Row[Any]) -> JobEvent:
    return JobEvent(row.job, row.seq, row.event, State(row.state), row.at, row.payload)
