"""Writing what events change: jobs' rows, their events by seq, objects' names, terms.

Knows the SQL of it, for many changes at once. Refuses to know events; a change written before
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, insert, select, update

from ingest.allowance import spend
from ingest.jobs import Detail
from ingest.progress import News, Standing, after
from relay.notices import Ending, announce
from relay.sql.database import Transaction
from relay.sql.dues import Due, schedule
from relay.sql.schema import job_events, jobs, object_refs
from schemas.envelope import Head
from schemas.states import TERMINAL, State, rank


@dataclass(frozen=True, slots=True)
class Change:
    """All that one event, or dead letter, changes. `id` is what makes a second time a no-op."""

    id: UUID
    job: UUID
    head: Head
    news: News
    keys: frozenset[str] = frozenset()
    door: str | None = None
    format: str | None = None
    due: Due | None = None
    seconds: float = 0.0
    """Of speech that its person was given."""


async def write(tx: Transaction, changes: Sequence[Change], *, messages: bool = False) -> None:
    """Write `changes`, less those that were written before.

    `messages` says whether users are told in WeChat of jobs that have ended.
    """
    rows = await _locked(tx, changes)
    fresh = await _unseen(tx, changes)
    if not fresh:
        return
    now = {job: dict(row._mapping) for job, row in rows.items()}
    events = [_apply(change, now[change.job]) for change in fresh]
    await tx.execute(insert(job_events), events)
    await tx.execute(_UPDATE, [_bound(now[job]) for job in sorted({c.job for c in fresh})])
    refs = [_ref(tx, change, key) for change in fresh for key in sorted(change.keys)]
    await tx.insert_absent_many(object_refs, refs)
    await spend(tx, _spoken(fresh))
    endings = [_ending(change) for change in fresh if change.news.state in TERMINAL]
    await announce(tx, endings, messages=messages)
    for change in fresh:
        if change.due is not None:
            await schedule(tx, change.due)


def _apply(change: Change, row: dict[str, Any]) -> dict[str, Any]:
    """Bring `row` up to date with `change`; returns the event's own row."""
    news = change.news
    now = after(Standing(State(row["state"]), row["rank"], row["detail"]), news)
    row |= {
        "state": now.state.value,
        "rank": now.rank,
        "detail": dict(now.detail),
        "seq": row["seq"] + 1,
        "updated_at": max(row["updated_at"], news.at),
        "door": change.door or row["door"],
        "format": change.format or row["format"],
    }
    return {
        "job": change.job,
        "seq": row["seq"],
        "event": change.id,
        "state": news.state.value,
        "at": news.at,
        "payload": dict(news.told),
    }


async def _unseen(tx: Transaction, changes: Iterable[Change]) -> Sequence[Change]:
    wanted = {change.id: change for change in changes}
    query = select(job_events.c.event).where(job_events.c.event.in_(wanted))
    seen = frozenset((await tx.execute(query)).scalars())
    return [change for id_, change in wanted.items() if id_ not in seen]


async def _locked(tx: Transaction, changes: Sequence[Change]) -> Mapping[UUID, Row[Any]]:
    """The jobs' rows, locked; made where this site did not accept them (or has lost its rows)."""
    heads = {change.job: change.head for change in changes}
    # One order for everybody, so that two who lock the same jobs do not deadlock.
    query = select(jobs).where(jobs.c.id.in_(heads)).order_by(jobs.c.id).with_for_update()
    rows = {row.id: row for row in await tx.execute(query)}
    lacking = sorted(heads.keys() - rows.keys())
    if lacking:
        await tx.insert_absent_many(jobs, [_fresh(job, heads[job]) for job in lacking])
        rows = {row.id: row for row in await tx.execute(query)}
    return rows


def _fresh(job: UUID, head: Head) -> dict[str, Any]:
    return {
        "id": job,
        "person": head.person,
        "site": head.source,
        "state": State.ACCEPTED.value,
        "rank": rank(State.ACCEPTED),
        "seq": 0,
        "accepted_at": head.time,
        "updated_at": head.time,
        "detail": Detail().model_dump(mode="json"),
    }


def _ending(change: Change) -> Ending:
    head, news = change.head, change.news
    return Ending(change.id, change.job, head.person, news.state, news.at)


def _spoken(changes: Iterable[Change]) -> Mapping[UUID, float]:
    """Seconds of speech by person."""
    spoken: dict[UUID, float] = {}
    for change in changes:
        if change.seconds:
            person = change.head.person
            spoken[person] = spoken.get(person, 0.0) + change.seconds
    return spoken


def _ref(tx: Transaction, change: Change, key: str) -> dict[str, Any]:
    return {"key": key, "event": change.id, "job": change.job, "created_at": tx.now}


_CHANGED = ("state", "rank", "detail", "seq", "updated_at", "door", "format")
_UPDATE = (
    update(jobs)
    .where(jobs.c.id == bindparam("of_job"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)


def _bound(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"of_job": row["id"], **{f"new_{name}": row[name] for name in _CHANGED}}
