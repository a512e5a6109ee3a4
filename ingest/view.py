"""The stage `view`: every event of the chain becomes a row that its person can read.

Knows jobs' rows, their events by seq, and which event names which object. Appends nothing to the
log and opens nothing that is sealed. A second call for an event changes nothing: what it writes is
keyed by the event's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update

from ingest.ending import ageing, giving_up
from ingest.jobs import Detail
from ingest.progress import News, Standing, after, object_keys, told
from relay.claims import letter_id
from relay.codec import head_of
from relay.doorbell import Doorbell
from relay.errors import BadRecord
from relay.letters import DeadLetter
from relay.sql.database import Database, Transaction
from relay.sql.dues import Due, schedule
from relay.sql.schema import job_events, jobs, object_refs
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import BY_TYPE, EVENTS, Event, PromptHeld, PromptUploaded, SpeechDelivered
from schemas.states import STATE_OF, State, rank, stuck_rank

CHAIN = frozenset({"moderation", "synth", "delivery"})
"""The groups without whose answer a job goes no further."""


@dataclass(frozen=True, slots=True)
class Change:
    """All that one event, or dead letter, changes. `id` is what makes a second time a no-op."""

    id: UUID
    job: UUID
    head: Head
    news: News
    keys: frozenset[str] = frozenset()
    columns: tuple[tuple[str, str], ...] = ()
    due: Due | None = None


class View:
    """Writes job rows for every event of the chain, and rings for whoever waits."""

    name = "view"
    consumes = EVENTS
    ends_jobs = False
    opens = False

    def __init__(
        self, database: Database, doorbell: Doorbell, chain: frozenset[str] = CHAIN
    ) -> None:
        self._database, self._doorbell, self._chain = database, doorbell, chain

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        """Write what `event` says of its job; answers with no event."""
        change = of_event(event, context.head, context.appended or self._database.now())
        await self._database.run(lambda tx: write(tx, change))
        self._doorbell.ring(change.job)
        return ()

    async def mourn(self, letter: DeadLetter) -> None:
        """Show the job `stuck`, if the chain cannot go on without that record."""
        if letter.group not in self._chain or (job := _job_or_none(letter.key)) is None:
            return
        async with self._database.reading() as tx:
            head = await _head_of(tx, letter, job)
        if head is not None:
            change = of_letter(letter, head)
            await self._database.run(lambda tx: write(tx, change))
            self._doorbell.ring(job)

    async def check(self) -> None:
        """Raise `Unavailable` while the database does not answer."""
        await self._database.check()


def of_event(event: Event, head: Head, at: datetime) -> Change:
    """What `event` changes; `at` is when the log took it."""
    state = STATE_OF[BY_TYPE[head.type]]
    return Change(
        id=head.id,
        job=_job_of(head.key),
        head=head,
        news=News(state, rank(state), at, told(event)),
        keys=object_keys(event),
        columns=_columns(event),
        due=ageing(head, at) if isinstance(event, PromptHeld) else None,
    )


def of_letter(letter: DeadLetter, head: Head) -> Change:
    """What a dead letter changes; `head` is that of the record in it."""
    id_, at = letter_id(letter.record), letter.record.appended
    return Change(
        id=id_,
        job=_job_of(letter.key),
        head=head,
        news=News(State.STUCK, stuck_rank(letter.topic), at, {}),
        due=giving_up(id_, head, at),
    )


async def write(tx: Transaction, change: Change) -> None:
    """Write `change`, or nothing where it was written before."""
    row = await _locked(tx, change)
    seen = select(job_events.c.seq).where(job_events.c.event == change.id)
    if (await tx.execute(seen)).first() is not None:
        return
    now = after(Standing(State(row.state), row.rank, row.detail), change.news)
    await _write_event(tx, change, row.seq + 1)
    await tx.execute(
        update(jobs)
        .where(jobs.c.id == change.job)
        .values(
            state=now.state.value,
            rank=now.rank,
            detail=dict(now.detail),
            seq=row.seq + 1,
            updated_at=max(row.updated_at, change.news.at),
            **dict(change.columns),
        )
    )
    for key in sorted(change.keys):
        ref = {"key": key, "event": change.id, "job": change.job, "created_at": tx.now}
        await tx.insert_absent(object_refs, ref)
    if change.due is not None:
        await schedule(tx, change.due)


async def _write_event(tx: Transaction, change: Change, seq: int) -> None:
    await tx.execute(
        insert(job_events).values(
            job=change.job,
            seq=seq,
            event=change.id,
            state=change.news.state.value,
            at=change.news.at,
            payload=dict(change.news.told),
        )
    )


async def _locked(tx: Transaction, change: Change) -> Row[Any]:
    """The job's row, locked; made where this site did not accept it (or has lost its rows)."""
    query = select(jobs).where(jobs.c.id == change.job).with_for_update()
    if (row := (await tx.execute(query)).one_or_none()) is not None:
        return row
    await tx.insert_absent(
        jobs,
        {
            "id": change.job,
            "person": change.head.person,
            "site": change.head.source,
            "state": State.ACCEPTED.value,
            "rank": rank(State.ACCEPTED),
            "seq": 0,
            "accepted_at": change.head.time,
            "updated_at": change.head.time,
            "detail": Detail().model_dump(mode="json"),
        },
    )
    return (await tx.execute(query)).one()


async def _head_of(tx: Transaction, letter: DeadLetter, job: UUID) -> Head | None:
    """The head in a dead letter; where it is broken, one made from the job's row, if there is any.

    None where nobody waits: the record belongs to no job of ours.
    """
    try:
        return head_of(letter.record)
    except BadRecord:
        row = (await tx.execute(select(jobs).where(jobs.c.id == job))).one_or_none()
    if row is None:
        return None
    return Head(letter_id(letter.record), "", row.site, row.accepted_at, row.person, letter.key)


def _job_of(key: str) -> UUID:
    if (job := _job_or_none(key)) is None:
        raise BadRecord("job_unknown", "The event belongs to no job.")
    return job


def _job_or_none(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


def _columns(event: Event) -> tuple[tuple[str, str], ...]:
    if isinstance(event, PromptUploaded):
        return (("door", event.door), ("format", event.format.value))
    if isinstance(event, SpeechDelivered):
        return (("format", event.format.value),)
    return ()
