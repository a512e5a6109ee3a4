"""Sweeping: objects that no row names, rows and records that nobody needs any more.

Knows when an object is nobody's: no event of a job names it, it is a day old, and its person has
had no unfinished job for a day (whoever is about to name it would be one). One that is older than
its kind is kept goes, too, and so does an hour of the log that was archived. A key that was handed
over goes once it lies in our rows, a part of an upload with its day, a saved voice when it is
revoked; whatever belongs to an erased person goes at once. Refuses to know what is in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select

from relay.handover import KIND
from relay.log.port import Log
from relay.objects.kinds import UPLOAD, hour_in, revocable
from relay.objects.port import ObjectStore, Stat
from relay.retention import Retention, read_retention
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
    upload_parts,
    uploads,
    voices,
)
from relay.timer import Done
from schemas.states import TERMINAL

log = logging.getLogger(__name__)

SWEEP = "sweep"
EVERY = timedelta(hours=6)
AGE = timedelta(hours=24)
_PAGE = 200

_DEFAULT = read_retention()


class Sweeper:
    """The `Timer`'s handler of the kind `SWEEP`."""

    def __init__(
        self, database: Database, objects: ObjectStore, log_: Log, kept: Retention = _DEFAULT
    ) -> None:
        self._database, self._objects, self._log, self._kept = database, objects, log_, kept

    async def __call__(self, _: Due) -> Done:
        """Sweep once over everything."""
        longest = max(self._kept.objects.values())
        await self._database.run(lambda tx: _rows(tx, longest))
        dropped = await self._log.trim(self._kept.topics)
        async with self._database.reading() as tx:
            erased = await _erased(tx)
        swept, page = 0, list[Stat]()
        old = self._database.now() - AGE
        async for stat in self._objects.list(""):
            if (hour := hour_in(stat.key)) is not None:
                swept += await self._retire(stat.key, hour)
            elif stat.modified <= old or person_of(stat.key) in erased:
                page.append(stat)
            if len(page) == _PAGE:
                swept, page = swept + await self._sweep(page), []
        swept += await self._sweep(page)
        log.info("swept %d objects, and %d records that were kept for long", swept, dropped)
        return Done()

    async def _retire(self, key: str, hour: datetime) -> bool:
        """Delete what lies under `key` if its hour of the log has been kept for long enough."""
        if doomed := hour <= self._database.now() - self._kept.archive:
            await self._objects.delete(key)
        return doomed

    async def _sweep(self, page: Sequence[Stat]) -> int:
        async with self._database.reading() as tx:
            doomed = await self._doomed(tx, page)
        theirs: dict[UUID, list[Stat]] = {}
        for stat in page:
            if stat.key in doomed and (person := person_of(stat.key)) is not None:
                theirs.setdefault(person, []).append(stat)
        return sum([await self._delete(*each) for each in theirs.items()])

    async def _delete(self, person: UUID, page: Sequence[Stat]) -> int:
        """Delete what still has to go, while nobody can accept a job of that person."""

        async def delete_(tx: Transaction) -> int:
            await hold_person(tx, person)
            doomed = await self._doomed(tx, page)
            for key in doomed:
                await self._objects.delete(key)
            await tx.execute(delete(object_refs).where(object_refs.c.key.in_(doomed)))
            return len(doomed)

        return await self._database.run(delete_)

    async def _doomed(self, tx: Transaction, page: Sequence[Stat]) -> frozenset[str]:
        unnamed = await nobodys(tx, [stat.key for stat in page])
        return frozenset(unnamed) | await expired(tx, page, self._kept.objects)


async def nobodys(tx: Transaction, keys: Sequence[str]) -> Sequence[str]:
    """Those of `keys` that no row names and that no job under way, or just ended, might.

    A key that is not a person's is never among them.
    """
    persons = {key: person for key in keys if (person := person_of(key)) is not None}
    known = await _known(tx, persons.values())
    doomed = {
        key
        for key, person in persons.items()
        if person in known and (known[person] is not None or _passing(key))
    }
    rest = persons.keys() - doomed
    taken_back = await _revoked(tx, {key for key in rest if revocable(key)} - doomed)
    jobs_ = {k: persons[k] for k in rest if not _passing(k) and not revocable(k)}
    return sorted(doomed | taken_back | await _unnamed(tx, jobs_))


async def expired(
    tx: Transaction, page: Sequence[Stat], kept: Mapping[str, timedelta]
) -> frozenset[str]:
    """Those whose kind is kept for less long than since anybody made or named them.

    None of a person with a job under way, or just ended, which may be about to name it again.
    """
    aged = {
        stat.key: person
        for stat in page
        if (life := kept.get(stat.key.split("/")[0])) is not None
        and stat.modified <= tx.now - life
        and (person := person_of(stat.key)) is not None
    }
    last = select(object_refs.c.key, func.max(object_refs.c.created_at).label("at"))
    rows = await tx.execute(last.where(object_refs.c.key.in_(aged)).group_by(object_refs.c.key))
    named = {row.key for row in rows if row.at > tx.now - kept[row.key.split("/")[0]]}
    busy = await _busy(tx, {person for key, person in aged.items() if key not in named})
    return frozenset(k for k, person in aged.items() if k not in named and person not in busy)


async def _erased(tx: Transaction) -> frozenset[UUID]:
    query = select(person_keys.c.person).where(person_keys.c.destroyed_at.is_not(None))
    return frozenset((await tx.execute(query)).scalars())


async def _known(tx: Transaction, persons: Iterable[UUID]) -> Mapping[UUID, datetime | None]:
    """Those of `persons` with a key or a tombstone here, and when they were erased."""
    columns = person_keys.c.person, person_keys.c.destroyed_at
    rows = await tx.execute(select(*columns).where(person_keys.c.person.in_(set(persons))))
    return {row.person: row.destroyed_at for row in rows}


async def _revoked(tx: Transaction, keys: Set[str]) -> set[str]:
    """Those keys of voices that nobody has, whether or not jobs name them."""
    ids = {id_: key for key in keys if (id_ := _id(key.rpartition("/")[2])) is not None}
    living = select(voices.c.id).where(voices.c.id.in_(ids), voices.c.revoked_at.is_(None))
    found = frozenset((await tx.execute(living)).scalars())
    return {key for id_, key in ids.items() if id_ not in found}


def _passing(key: str) -> bool:
    """Whether it is of a kind that no job names and nobody needs for longer than a day."""
    return key.startswith((f"{KIND}/", f"{UPLOAD}/"))


async def _unnamed(tx: Transaction, persons: Mapping[str, UUID]) -> set[str]:
    """Those keys that no row names and nobody is about to; `persons` are the keys' persons."""
    rows = await tx.execute(select(object_refs.c.key).where(object_refs.c.key.in_(persons)))
    named = frozenset(rows.scalars())
    busy = await _busy(tx, {persons[key] for key in persons.keys() - named})
    return {key for key in persons if key not in named and persons[key] not in busy}


async def _busy(tx: Transaction, persons: Set[UUID]) -> frozenset[UUID]:
    """Those of `persons` with a job under way, or one that ended within a day."""
    unfinished = jobs.c.state.not_in([state.value for state in TERMINAL])
    lately = or_(unfinished, jobs.c.updated_at > tx.now - AGE)
    theirs = select(jobs.c.person).where(jobs.c.person.in_(persons), lately)
    return frozenset((await tx.execute(theirs)).scalars())


def person_of(key: str) -> UUID | None:
    """The person in `<kind>/<person>/<hash>`; None where the key is none of a person's.

    The nil UUID is nobody: policies lie under it, and are kept for good.
    """
    parts = key.split("/")
    person = _id(parts[1]) if len(parts) == 3 else None
    return person if person != UUID(int=0) else None


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _rows(tx: Transaction, longest: timedelta) -> None:
    """Forget what has served its time: done rows, claims, keys, sessions, links, tries, names,
    uploads.
    """
    await tx.execute(delete(object_refs).where(object_refs.c.created_at <= tx.now - longest))
    await tx.execute(delete(due).where(due.c.done.is_(True), due.c.keep_until <= tx.now))
    await tx.execute(delete(claims).where(claims.c.at <= tx.now - KEPT))
    await tx.execute(delete(notice_tries).where(notice_tries.c.at <= tx.now - KEPT))
    await tx.execute(delete(idempotency).where(idempotency.c.created_at <= tx.now - AGE))
    await tx.execute(delete(sessions).where(sessions.c.expires_at <= tx.now - AGE))
    await tx.execute(delete(sign_in_links).where(sign_in_links.c.expires_at <= tx.now - AGE))
    over = select(uploads.c.id).where(uploads.c.expires_at <= tx.now - AGE)
    await tx.execute(delete(upload_parts).where(upload_parts.c.upload.in_(over)))
    await tx.execute(delete(uploads).where(uploads.c.expires_at <= tx.now - AGE))
