"""What people make of a job that has ended: played, rated, reported, appealed.

Knows that each is an event which leaves once, with a row that says so in the same transaction, and
by when a person has to look. Refuses to know who asks: whose job it is was checked before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import func, select

from ingest.jobs import Job
from ingest.problems import Problem
from ingest.words import first_event
from relay.codec import encode
from relay.errors import PersonErased
from relay.keys import KeyStore, PersonKey
from relay.outbox import enqueue
from relay.sealing import seal
from relay.sql.afterwards import remarks
from relay.sql.database import Database, Transaction
from relay.sql.locks import hold_person
from schemas.envelope import Head
from schemas.events import (
    Complaint,
    Event,
    PromptAppealed,
    SpeechPlayed,
    SpeechRated,
    SpeechReported,
    Spoken,
)
from schemas.states import State
from schemas.topics import topic_of

T = TypeVar("T")

PLAYED, RATED, REPORT, APPEAL = "played", "rated", "report", "appeal"
"""The kinds of rows; the last two wait for a person."""
MOST_REPORTS = 20
"""Of one job that wait for a person."""
_NOTE = "note"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing said of a job. `said` is what of it is not personal; the same again is the same."""

    kind: str
    event: Event
    said: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Complained:
    """What its person said is wrong. `upheld` is what a person decided; None: nobody has yet."""

    kind: str
    at: datetime
    reason: str | None
    """Of a report."""
    decided_at: datetime | None
    upheld: bool | None


class Remarks:
    """Takes them, and lets the log know."""

    def __init__(self, database: Database, keys: KeyStore, look_within: timedelta) -> None:
        self._database, self._keys, self._look_within = database, keys, look_within

    async def played(self, job: Job) -> None:
        """Its person listened to it; `Problem`: `speech_lacking`."""
        event = SpeechPlayed(**_asked(job), spoken=_speech(job))
        await self._once(job, Remark(PLAYED, event))

    async def rated(self, job: Job, stars: int, note: str | None) -> None:
        """Its person said how good it is; `Problem`: `speech_lacking`, `rated_already`."""
        event = SpeechRated(stars=stars, note=note, **_asked(job), spoken=_speech(job))
        known = await self._once(job, Remark(RATED, event, {"stars": stars}, note=note))
        if known["stars"] != stars:
            raise Problem("rated_already")

    async def reported(self, job: Job, reason: Complaint, note: str | None) -> None:
        """Its person says what is wrong, once for each reason; `Problem`: `speech_lacking`."""
        event = SpeechReported(reason=reason, note=note, shared=False, spoken=_speech(job))
        number = list(Complaint).index(reason)
        said = {"reason": reason.value, "shared": False}
        await self._once(job, Remark(REPORT, event, said, number, note))

    async def reported_by_a_stranger(self, job: Job, reason: Complaint, note: str | None) -> None:
        """Somebody at a shared page says what is wrong.

        `Problem`: `reports_exceeded` while too many wait, `speech_lacking`.
        """
        event = SpeechReported(reason=reason, note=note, shared=True, spoken=_speech(job))
        remark = Remark(REPORT, event, {"reason": reason.value, "shared": True}, note=note)

        async def work(tx: Transaction, key: PersonKey) -> None:
            await hold_person(tx, job.person)
            waits = (remarks.c.job == job.id, remarks.c.kind == REPORT)
            count = select(func.count()).where(*waits, remarks.c.closed_at.is_(None))
            if (await tx.execute(count)).scalar_one() >= MOST_REPORTS:
                raise Problem("reports_exceeded")
            await self._write(tx, job, remark, _head(job, remark.event, uuid4()), key)

        await self._as_person(job, work)

    async def appealed(self, job: Job, note: str) -> None:
        """Its person says it should not have been rejected; `Problem`: `appeal_unknown_state`."""
        if job.state is not State.REJECTED:
            raise Problem("appeal_unknown_state")
        await self._once(job, Remark(APPEAL, PromptAppealed(note=note), note=note))

    async def complaints(self, job: Job) -> Sequence[Complained]:
        """What its person said is wrong, in order; what strangers said is not theirs to see."""
        query = select(remarks).where(remarks.c.job == job.id, remarks.c.kind.in_((REPORT, APPEAL)))
        async with self._database.reading() as tx:
            rows = (await tx.execute(query.order_by(remarks.c.at, remarks.c.id))).all()
        return [
            Complained(row.kind, row.at, row.said.get("reason"), row.closed_at, row.upheld)
            for row in rows
            if not row.said.get("shared")
        ]

    async def _once(self, job: Job, remark: Remark) -> Mapping[str, Any]:
        """Take `remark` unless it was taken before: what was said the first time."""
        head = _head(job, remark.event, None, remark.number)

        async def work(tx: Transaction, key: PersonKey) -> Mapping[str, Any]:
            if await self._write(tx, job, remark, head, key):
                return remark.said
            query = select(remarks.c.said).where(remarks.c.id == head.id)
            said: Mapping[str, Any] = (await tx.execute(query)).scalar_one()
            return said

        return await self._as_person(job, work)

    async def _as_person(
        self, job: Job, work: Callable[[Transaction, PersonKey], Awaitable[T]]
    ) -> T:
        try:
            key = await self._keys.key(job.person)
        except PersonErased:
            raise Problem("person_erased") from None
        return await self._database.run(lambda tx: work(tx, key))

    async def _write(
        self, tx: Transaction, job: Job, remark: Remark, head: Head, key: PersonKey
    ) -> bool:
        """The row and the event, both or neither; False where they are there."""
        note, waits = remark.note, remark.kind in (REPORT, APPEAL)
        row = {
            "id": head.id,
            "job": job.id,
            "person": job.person,
            "kind": remark.kind,
            "said": dict(remark.said),
            "sealed": {} if note is None else {_NOTE: seal(key, head.id, _NOTE, note)},
            "at": tx.now,
            "deadline": tx.now + self._look_within if waits else None,
        }
        if not await tx.insert_absent(remarks, row):
            return False
        await enqueue(tx, [encode(remark.event, head, key)])
        return True


def _asked(job: Job) -> dict[str, str | None]:
    """What every event about its speech tells of the job."""
    return {"style": job.detail.style, "code_version": job.detail.code_version}


def _speech(job: Job) -> Spoken:
    if job.state is not State.DELIVERED or job.detail.spoken is None:
        raise Problem("speech_lacking")
    return job.detail.spoken


def _head(job: Job, event: Event, id_: UUID | None, number: int = 0) -> Head:
    """A descendant's of the job's first event: an id that follows from it, unless given."""
    first = Head(first_event(job.id), "", job.site, job.accepted_at, job.person, str(job.id))
    child = first.child(topic_of(event), number, event.TYPE)
    return child if id_ is None else replace(child, id=id_)
