"""Sweeping: objects that no row names, rows and records that nobody needs any more.

Knows when an object is nobody's: no event of a job names it, it is a day old, and its person has
had no unfinished job for a day (whoever is about to name it would be one). A key that was handed
over goes once it lies in our rows; whatever belongs to an erased person goes. Refuses to know what
is in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, or_, select

from relay.handover import KIND
from relay.log.port import Log
from relay.objects.port import ObjectStore
from relay.sql.database import Database, Transaction
from relay.sql.dues import KEPT, Due
from relay.sql.locks import hold_person
from relay.sql.schema import (
    claims,
    due,
    idempotency,
    jobs,
    notice_tries,
    object_refs,
    person_keys,
    sessions,
    sign_in_links,
)
from relay.timer import Done
from schemas.states import TERMINAL
from schemas.topics import LEDGER, TOPICS

log = logging.getLogger(__name__)

SWEEP = "sweep"
EVERY = timedelta(hours=6)
AGE = timedelta(hours=24)
_PAGE = 200

KEPT_TOPICS: Mapping[str, timedelta] = {
    name: timedelta(days=topic.retention_days)
    for topic in (*TOPICS, *LEDGER)
    for name in (topic.name, *((topic.dead,) if topic in TOPICS else ()))
    if not topic.compacted
}


class Sweeper:
    """The `Timer`'s handler of the kind `SWEEP`."""

    def __init__(self, database: Database, objects: ObjectStore, log_: Log) -> None:
        self._database, self._objects, self._log = database, objects, log_

    async def __call__(self, _: Due) -> Done:
        """Sweep once over everything."""
        await self._database.run(_rows)
        dropped = await self._log.trim(KEPT_TOPICS)
        swept, page = 0, list[str]()
        old = self._database.now() - AGE
        async for stat in self._objects.list(""):
            if stat.modified <= old:
                page.append(stat.key)
            if len(page) == _PAGE:
                swept, page = swept + await self._sweep(page), []
        swept += await self._sweep(page)
        log.info("swept %d objects that nobody names, %d records kept for long", swept, dropped)
        return Done()

    async def _sweep(self, keys: Sequence[str]) -> int:
        async with self._database.reading() as tx:
            doomed = await nobodys(tx, keys)
        theirs: dict[UUID, list[str]] = {}
        for key in doomed:
            if (person := person_of(key)) is not None:
                theirs.setdefault(person, []).append(key)
        return sum([await self._delete(*each) for each in theirs.items()])

    async def _delete(self, person: UUID, keys: Sequence[str]) -> int:
        """Delete what is still nobody's, while nobody can accept a job of that person."""

        async def delete_(tx: Transaction) -> int:
            await hold_person(tx, person)
            doomed = await nobodys(tx, keys)
            for key in doomed:
                await self._objects.delete(key)
            return len(doomed)

        return await self._database.run(delete_)


async def nobodys(tx: Transaction, keys: Sequence[str]) -> Sequence[str]:
    """Those of `keys` that no row names and that no job under way, or just ended, might.

    A key that is not a person's is never among them.
    """
    persons = {key: person for key in keys if (person := person_of(key)) is not None}
    known = await _known(tx, persons.values())
    doomed = {
        key
        for key, person in persons.items()
        if person in known and (known[person] is not None or _handed_over(key))
    }
    rest = {k: person for k, person in persons.items() if k not in doomed and not _handed_over(k)}
    return sorted(doomed | await _unnamed(tx, rest))


async def _known(tx: Transaction, persons: Iterable[UUID]) -> Mapping[UUID, datetime | None]:
    """Those of `persons` with a key or a tombstone here, and when they were erased."""
    columns = person_keys.c.person, person_keys.c.destroyed_at
    rows = await tx.execute(select(*columns).where(person_keys.c.person.in_(set(persons))))
    return {row.person: row.destroyed_at for row in rows}


def _handed_over(key: str) -> bool:
    return key.startswith(f"{KIND}/")


async def _unnamed(tx: Transaction, persons: Mapping[str, UUID]) -> set[str]:
    """Those keys that no row names and nobody is about to; `persons` are the keys' persons."""
    rows = await tx.execute(select(object_refs.c.key).where(object_refs.c.key.in_(persons)))
    named = frozenset(rows.scalars())
    unfinished = jobs.c.state.not_in([state.value for state in TERMINAL])
    lately = or_(unfinished, jobs.c.updated_at > tx.now - AGE)
    theirs = jobs.c.person.in_({persons[key] for key in persons.keys() - named})
    busy = frozenset((await tx.execute(select(jobs.c.person).where(theirs, lately))).scalars())
    return {key for key in persons if key not in named and persons[key] not in busy}


def person_of(key: str) -> UUID | None:
    """The person in `<kind>/<person>/<hash>`; None where the key is none of a person's.

    The nil UUID is nobody: policies lie under it, and are kept for good.
    """
    parts = key.split("/")
    try:
        person = UUID(parts[1]) if len(parts) == 3 else None
    except ValueError:
        return None
    return person if person != UUID(int=0) else None


async def _rows(tx: Transaction) -> None:
    """Forget what has served its time: done rows, claims, keys, sessions, links, tries."""
    await tx.execute(delete(due).where(due.c.done.is_(True), due.c.keep_until <= tx.now))
    await tx.execute(delete(claims).where(claims.c.at <= tx.now - KEPT))
    await tx.execute(delete(notice_tries).where(notice_tries.c.at <= tx.now - KEPT))
    await tx.execute(delete(idempotency).where(idempotency.c.created_at <= tx.now - AGE))
    await tx.execute(delete(sessions).where(sessions.c.expires_at <= tx.now - AGE))
    await tx.execute(delete(sign_in_links).where(sign_in_links.c.expires_at <= tx.now - AGE))
