"""Sweeping: objects that no row names, and rows that nobody needs any more.

Knows when an object is nobody's: no event of a job names it, it is a day old, and its person has
had no unfinished job for a day (whoever is about to name it would be one). Refuses to know what is
in it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, or_, select

from relay.objects.port import ObjectStore
from relay.sql.database import Database, Transaction
from relay.sql.dues import KEPT, Due
from relay.sql.schema import claims, due, idempotency, jobs, object_refs
from relay.timer import Done
from schemas.states import TERMINAL

log = logging.getLogger(__name__)

SWEEP = "sweep"
EVERY = timedelta(hours=6)
AGE = timedelta(hours=24)
_PAGE = 200


class Sweeper:
    """The `Timer`'s handler of the kind `SWEEP`."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database, self._objects = database, objects

    async def __call__(self, _: Due) -> Done:
        """Sweep once over everything."""
        await self._database.run(_rows)
        swept, page = 0, list[str]()
        old = self._database.now() - AGE
        async for stat in self._objects.list(""):
            if stat.modified <= old:
                page.append(stat.key)
            if len(page) == _PAGE:
                swept, page = swept + await self._sweep(page), []
        swept += await self._sweep(page)
        log.info("swept %d objects that nobody names", swept)
        return Done()

    async def _sweep(self, keys: Sequence[str]) -> int:
        async with self._database.reading() as tx:
            doomed = await nobodys(tx, keys)
        for key in doomed:
            await self._objects.delete(key)
        return len(doomed)


async def nobodys(tx: Transaction, keys: Sequence[str]) -> Sequence[str]:
    """Those of `keys` that no row names and that no job under way, or just ended, might.

    A key that is not a person's is never among them.
    """
    persons = {key: person for key in keys if (person := person_of(key)) is not None}
    rows = await tx.execute(select(object_refs.c.key).where(object_refs.c.key.in_(persons)))
    named = frozenset(rows.scalars())
    unfinished = jobs.c.state.not_in([state.value for state in TERMINAL])
    lately = or_(unfinished, jobs.c.updated_at > tx.now - AGE)
    theirs = jobs.c.person.in_({persons[key] for key in persons.keys() - named})
    busy = frozenset((await tx.execute(select(jobs.c.person).where(theirs, lately))).scalars())
    return [key for key in persons if key not in named and persons[key] not in busy]


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
    """Forget what has served its time: done rows, claims, idempotency keys."""
    await tx.execute(delete(due).where(due.c.done.is_(True), due.c.keep_until <= tx.now))
    await tx.execute(delete(claims).where(claims.c.at <= tx.now - KEPT))
    await tx.execute(delete(idempotency).where(idempotency.c.created_at <= tx.now - AGE))
