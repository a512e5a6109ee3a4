"""Rows that fall due: what is to be done once, at or after an instant.

Knows the SQL of leasing, postponing and finishing them. Refuses to know what is to be done
(`relay.timer` asks the handler of the row's kind).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, Row, and_, case, func, not_, or_, select, update

from relay.sql.database import Transaction
from relay.sql.schema import due
from schemas.envelope import Head, format_time, parse_time
from schemas.topics import RETENTION_DAYS

WOKEN = "due"
"""The signal of this process that says: a row was added."""

KEPT = timedelta(days=RETENTION_DAYS)
"""How long a done row stays, so that a handler that runs again finds it."""

HELD = "held"
STUCK = "stuck"
"""Kinds of the rows that end a job which waits for a person, should nobody come."""

ERASED = "erased"
"""In the payload of such a row: whose job it is was erased, so nobody can come."""

_AHEAD = 2
"""Lives. A lease that ends later than so many from now was written before a clock was put back."""


@dataclass(frozen=True, slots=True)
class Due:
    """Something to do. `id` follows from the event that asks for it; `head` is that event's.

    `payload` is JSON without a plain personal value; `tries` counts the starts so far.
    """

    id: UUID
    kind: str
    at: datetime
    head: Head | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0


def held_id(event: UUID) -> UUID:
    """The id of the row that ends the job of a held prompt, should nobody decide about it."""
    return uuid5(event, HELD)


async def schedule(tx: Transaction, wanted: Due) -> bool:
    """Add the row unless one with its id was ever added; True if it was."""
    row = {
        "id": wanted.id,
        "kind": wanted.kind,
        "at": wanted.at,
        "head": None if wanted.head is None else _head_json(wanted.head),
        "payload": dict(wanted.payload),
        "tries": 0,
        "done": False,
    }
    tx.wake(WOKEN)
    return await tx.insert_absent(due, row)


async def lease(
    tx: Transaction, owner: str, life: timedelta, kinds: Sequence[str], most: int
) -> Sequence[Due]:
    """Take rows that are due and that nobody works on, the oldest first."""
    query = (
        select(due)
        .where(due.c.done.is_(False), due.c.kind.in_(kinds), due.c.at <= tx.now)
        .where(or_(due.c.leased_until.is_(None), due.c.leased_until <= tx.now, _unreal(tx, life)))
        .order_by(due.c.at)
        .limit(most)
        .with_for_update(skip_locked=True)  # SQLite has one writer anyway
    )
    rows = (await tx.execute(query)).all()
    taken = update(due).where(due.c.id.in_([row.id for row in rows]))
    if rows:
        await tx.execute(
            taken.values(owner=owner, leased_until=tx.now + life, tries=due.c.tries + 1)
        )
    return [_due(row) for row in rows]


async def hold(tx: Transaction, owner: str, id_: UUID, life: timedelta) -> bool:
    """Keep a row a life longer, and locked until `tx` ends; False where it is no longer ours."""
    done = await tx.execute(
        update(due)
        .where(due.c.id == id_, due.c.owner == owner, due.c.done.is_(False))
        .values(leased_until=tx.now + life)
    )
    return done.rowcount == 1


async def finish(tx: Transaction, id_: UUID) -> None:
    """The row is done; it stays for as long as its topic, so that it is never added again."""
    await tx.execute(
        update(due)
        .where(due.c.id == id_)
        .values(done=True, owner=None, leased_until=None, keep_until=tx.now + KEPT)
    )


async def postpone(
    tx: Transaction, id_: UUID, at: datetime, *, payload: Mapping[str, Any] | None, tries: int
) -> None:
    """Do the row again at `at`; None leaves its payload as it is."""
    values: dict[str, Any] = {"at": at, "owner": None, "leased_until": None, "tries": tries}
    if payload is not None:
        values["payload"] = dict(payload)
    await tx.execute(update(due).where(due.c.id == id_).values(values))


async def hasten(tx: Transaction, person: UUID, kinds: Sequence[str]) -> int:
    """Let the rows of these kinds that wait for a person's jobs fall due now, `erased` in them."""
    whose = due.c.head["person"].as_string() == str(person)
    query = select(due.c.id, due.c.payload).where(due.c.done.is_(False), due.c.kind.in_(kinds))
    rows = (await tx.execute(query.where(whose))).all()
    for row in rows:
        changed = {"at": tx.now, "payload": {**row.payload, ERASED: True}}
        await tx.execute(update(due).where(due.c.id == row.id).values(changed))
    if rows:
        tx.wake(WOKEN)
    return len(rows)


async def due_at(tx: Transaction, id_: UUID) -> datetime | None:
    """When that row falls due, or fell; None where there is none."""
    found: datetime | None = (await tx.execute(select(due.c.at).where(due.c.id == id_))).scalar()
    return found


async def next_at(tx: Transaction, life: timedelta, kinds: Sequence[str]) -> datetime | None:
    """When the next row of these kinds can be taken; None where there is none."""
    later = and_(due.c.leased_until > due.c.at, not_(_unreal(tx, life)))
    when = func.min(case((later, due.c.leased_until), else_=due.c.at))
    query = select(when).where(due.c.done.is_(False), due.c.kind.in_(kinds))
    found: datetime | None = (await tx.execute(query)).scalar()
    return found


def _unreal(tx: Transaction, life: timedelta) -> ColumnElement[bool]:
    return due.c.leased_until > tx.now + _AHEAD * life


def _due(row: Row[Any]) -> Due:
    head = None if row.head is None else _head_of(row.head)
    return Due(row.id, row.kind, row.at, head, row.payload, row.tries + 1)


def _head_json(head: Head) -> dict[str, str | None]:
    return {
        "id": str(head.id),
        "type": head.type,
        "source": head.source,
        "time": format_time(head.time),
        "person": str(head.person),
        "key": head.key,
        "traceparent": head.traceparent,
    }


def _head_of(value: Mapping[str, Any]) -> Head:
    return Head(
        id=UUID(value["id"]),
        type=value["type"],
        source=value["source"],
        time=parse_time(value["time"]),
        person=UUID(value["person"]),
        key=value["key"],
        traceparent=value["traceparent"],
    )
