"""What waits for a person's word: held prompts, reports, appeals; one queue, the oldest first.

Knows which rows say that something waits, and which record of the log has the words. A decision is
an event, and the first one wins. Refuses to judge.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, select, tuple_, update

from audit import held
from audit.reading import Eyes, Seen
from relay.codec import encode
from relay.errors import BadRecord, Misconfigured, PersonErased
from relay.outbox import enqueue
from relay.sealing import unseal
from relay.spine import Spine
from relay.sql.afterwards import remarks, shared_pages
from relay.sql.database import Transaction
from relay.sql.dues import due_at, held_id
from relay.sql.schema import claims, job_events, jobs
from schemas.envelope import Head, format_time, parse_time
from schemas.events import ComplaintDecided, PromptHeld
from schemas.states import STATE_OF, State
from schemas.topics import topic_of

_MOMENT = timedelta(seconds=1)
_TOPIC = {state.value: topic_of(event) for event, state in STATE_OF.items()}


class Kind(StrEnum):
    """Why something waits."""

    HELD = "held"
    REPORT = "report"
    APPEAL = "appeal"


_WORDS = {Kind.HELD: State.HELD, Kind.REPORT: State.APPROVED, Kind.APPEAL: State.REJECTED}
"""The state whose event has text, transcript and verdict of what is complained about."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits. `id` is what a decision names: a held prompt's is its job's."""

    id: UUID
    kind: Kind
    job: UUID
    since: datetime
    deadline: datetime | None = None
    reason: str | None = None
    """Of a report."""
    shared: bool = False
    """Whether it came from a page that anybody can open."""
    note: str | None = None
    seen: Seen | None = None
    """The event with the words, opened; None where it is kept no longer."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the queue; `cursor` asks for the next, None where it ends."""

    items: Sequence[Waiting]
    cursor: str | None


async def waiting(spine: Spine, kind: Kind | None, cursor: str | None, limit: int) -> Page:
    """What waits, the oldest first; `ValueError` where `cursor` is none of ours."""
    after = None if cursor is None else _read_cursor(cursor)
    found: list[Waiting] = []
    async with spine.database.reading() as tx:
        if kind in (None, Kind.HELD):
            found += await _held(tx, after, limit + 1)
        kinds = [each.value for each in (Kind.REPORT, Kind.APPEAL) if kind in (None, each)]
        rows = await _complaints(tx, kinds, after, limit + 1)
    found += [await _complaint(spine, row) for row in rows]
    found.sort(key=lambda each: (each.since, each.id.hex))
    shown = [await _with_words(spine, each) for each in found[:limit]]
    more = len(found) > limit
    return Page(shown, _write_cursor(found[limit - 1]) if more else None)


async def decide(
    spine: Spine, id_: UUID, reviewer: str, *, approved: bool, note: str | None
) -> Kind | None:
    """Decide on what goes by `id_`: its kind; None where it waits no more, or never did.

    `Misconfigured` for a held prompt at an edge.
    """
    async with spine.database.reading() as tx:
        row = (await tx.execute(select(remarks).where(remarks.c.id == id_))).one_or_none()
        prompts = [] if row is not None else await _held(tx, None, 1, id_)
    if row is not None:
        done = await _decide_complaint(spine, row, reviewer, approved, note)
        return Kind(row.kind) if done else None
    if not prompts:
        return None
    if spine.settings.edge:
        raise Misconfigured("held prompts of an edge are decided at its cluster")
    seen = (await _with_words(spine, prompts[0])).seen
    if seen is None or seen.head is None or not isinstance(seen.event, PromptHeld):
        return None
    done = await held.decide(spine, seen.head, seen.event, reviewer, approved, note)
    return Kind.HELD if done else None


# -- held prompts ----------------------------------------------------------------------------------


async def _held(
    tx: Transaction, after: tuple[datetime, UUID] | None, most: int, job: UUID | None = None
) -> Sequence[Waiting]:
    """Jobs whose view says so, less those that somebody has decided on since."""
    query = select(jobs.c.id, jobs.c.updated_at, job_events.c.event).join(
        job_events, job_events.c.job == jobs.c.id
    )
    query = query.where(jobs.c.state == State.HELD.value, job_events.c.state == State.HELD.value)
    query = query.where(job_events.c.event.not_in(select(claims.c.waiting)))
    if job is not None:
        query = query.where(jobs.c.id == job)
    if after is not None:
        query = query.where(_beyond(jobs.c.updated_at, jobs.c.id, after))
    rows = (await tx.execute(query.order_by(jobs.c.updated_at, jobs.c.id).limit(most))).all()
    return [
        Waiting(row.id, Kind.HELD, row.id, row.updated_at, await due_at(tx, held_id(row.event)))
        for row in rows
    ]


# -- reports and appeals ---------------------------------------------------------------------------


async def _complaints(
    tx: Transaction, kinds: Sequence[str], after: tuple[datetime, UUID] | None, most: int
) -> Sequence[Row[Any]]:
    query = select(remarks).where(remarks.c.closed_at.is_(None), remarks.c.kind.in_(kinds))
    if after is not None:
        query = query.where(_beyond(remarks.c.at, remarks.c.id, after))
    return (await tx.execute(query.order_by(remarks.c.at, remarks.c.id).limit(most))).all()


async def _complaint(spine: Spine, row: Row[Any]) -> Waiting:
    return Waiting(
        id=row.id,
        kind=Kind(row.kind),
        job=row.job,
        since=row.at,
        deadline=row.deadline,
        reason=row.said.get("reason"),
        shared=bool(row.said.get("shared")),
        note=await _note(spine, row),
    )


async def _note(spine: Spine, row: Row[Any]) -> str | None:
    if "note" not in row.sealed:
        return None
    try:
        key = await spine.keys.key(row.person)
    except PersonErased:
        return None
    note: str = unseal(key, row.id, "note", row.sealed["note"])
    return note


async def _decide_complaint(
    spine: Spine, row: Row[Any], reviewer: str, upheld: bool, note: str | None
) -> bool:
    try:
        key = await spine.keys.key(row.person)
    except PersonErased:
        return False
    event = ComplaintDecided(about=row.id, upheld=upheld, reviewer=reviewer, note=note)

    async def work(tx: Transaction) -> bool:
        mine = update(remarks).where(remarks.c.id == row.id, remarks.c.closed_at.is_(None))
        closed = await tx.execute(mine.values(closed_at=tx.now, upheld=upheld))
        if closed.rowcount != 1:
            return False
        job = (await tx.execute(select(jobs).where(jobs.c.id == row.job))).one()
        complaint = Head(row.id, "", job.site, job.accepted_at, row.person, str(row.job))
        head = complaint.child(topic_of(event), 0, event.TYPE)
        await enqueue(tx, [encode(event, head, key)])
        if upheld and row.kind == Kind.REPORT:
            await tx.execute(delete(shared_pages).where(shared_pages.c.job == row.job))
        return True

    return await spine.database.run(work)


# -- the words -------------------------------------------------------------------------------------


async def _with_words(spine: Spine, item: Waiting) -> Waiting:
    """`item` with the event that has its words, read at the instant at which the view saw it."""
    state = _WORDS[item.kind].value
    query = select(job_events.c.at).where(job_events.c.job == item.job, job_events.c.state == state)
    async with spine.database.reading() as tx:
        at: datetime | None = (await tx.execute(query.limit(1))).scalar()
    if at is None:
        return item
    eyes, key = Eyes(spine.keys), str(item.job)
    async for record in spine.log.read([_TOPIC[state]], at, until=at + _MOMENT, key=key):
        try:
            return replace(item, seen=await eyes.see(record))
        except BadRecord:
            continue
    return item


# -- cursors ---------------------------------------------------------------------------------------


def _beyond(at: Any, id_: Any, after: tuple[datetime, UUID]) -> ColumnElement[bool]:
    return tuple_(at, id_) > tuple_(*after)


def _write_cursor(item: Waiting) -> str:
    return base64.urlsafe_b64encode(f"{format_time(item.since)}|{item.id}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, _, id_ = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        return parse_time(at), UUID(id_)
    except (binascii.Error, ValueError):
        raise ValueError("the cursor is not one of ours") from None
