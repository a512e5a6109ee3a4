"""Erasing a person: their key first, then all that lies under their name, then a certificate.

Knows the order. One transaction puts a tombstone where the key was, clears rows, and leaves a due
row: from there on it is certain that the rest follows, whoever dies. The rest is done as often as
need be: objects are written down before they are deleted, so that no death forgets one. Whoever
read the key before may hold it for a minute and a handler for as long as its job takes, so the
certificate waits for both, and what they left meanwhile is deleted before it. Refuses to touch
anybody else's: a key of an object names its person.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import delete, func, null, select, update

from audit.certificate import Destroyed, Facts, certify
from audit.signing import Signer
from relay.errors import Misconfigured, Missing
from relay.log.port import Log
from relay.objects.port import ObjectStore, Stat
from relay.sql.database import Database, Transaction
from relay.sql.dues import HELD, STUCK, Due, hasten, schedule
from relay.sql.keys import CACHED_SECONDS, SqlKeyStore
from relay.sql.locks import hold_person
from relay.sql.schema import (
    access_keys,
    accounts,
    erased_objects,
    erasures,
    idempotency,
    job_events,
    jobs,
    object_refs,
    person_keys,
    persons,
    quotas,
    sessions,
    sign_in_links,
    upload_parts,
    uploads,
    voice_shares,
    voices,
    webhooks,
)
from relay.sweep import person_of
from relay.timer import Again, Done
from schemas.envelope import Head, format_time, parse_time
from schemas.events import PersonErased
from schemas.states import TERMINAL
from schemas.topics import topic_of

ERASE = "erase"
SETTLED = timedelta(seconds=CACHED_SECONDS + 15)
"""After so long no process knows a destroyed key, but for a handler still at work."""
PATIENCE = timedelta(hours=1)
"""How long the certificate waits for jobs under way; whatever they leave later is swept."""
LOOK = timedelta(seconds=5)

_ERASURES = UUID("b0b5f4ce-4a39-5a0e-9d7c-27f7a4a30d52")
_NOBODY = UUID(int=0)
_BEGUN = "begun"
"""In the row's payload: what lay there at first is gone; to walk through the store takes long."""
_PAGE = 200
_OF_ONE = (
    *(idempotency, quotas, accounts, sessions, sign_in_links, access_keys, webhooks),
    *(uploads, voice_shares, voices),
)
"""Tables whose rows are of one person."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """How far an erasure has come; `certificate` once it is complete."""

    person: UUID
    destroyed: datetime
    objects: int
    certificate: dict[str, Any] | None


async def known(database: Database, person: UUID) -> bool:
    """Whether anything here belongs to `person`, or did."""
    async with database.reading() as tx:
        queries = (
            select(person_keys.c.person).where(person_keys.c.person == person),
            select(persons.c.id).where(persons.c.id == person),
            select(jobs.c.id).where(jobs.c.person == person).limit(1),
        )
        return any([(await tx.execute(query)).first() is not None for query in queries])


async def begin(
    database: Database, keys: SqlKeyStore, site: str, person: UUID, by: str | UUID
) -> None:
    """Destroy the key, now and for good; the rest is sure to follow. Twice changes nothing.

    `by` is whoever asked for it: their name, or the person they are.
    """
    if person == _NOBODY:
        raise Misconfigured("the nil id is no person's: policies lie under it")

    async def begin_(tx: Transaction) -> None:
        await hold_person(tx, person)
        query = select(person_keys).where(person_keys.c.person == person)
        before = (await tx.execute(query)).one_or_none()
        await keys.destroy(tx, person)
        destroyed = before.destroyed_at if before and before.destroyed_at else tx.now
        row = {
            "person": person,
            "destroyed_at": destroyed,
            "by": by if isinstance(by, UUID) else await keys.person_of_name(tx, by),
            "master": before.master if before else None,
            "certificate": null(),
        }
        if await tx.insert_absent(erasures, row):
            await schedule(tx, _row(site, person, destroyed, tx.now))
        await _clear(tx, person)

    await database.run(begin_)


async def state(database: Database, person: UUID) -> Erasure | None:
    """How far the erasure of `person` has come; None where nobody asked for it here."""
    mine = erased_objects.c.person == person
    count = select(func.count()).select_from(erased_objects).where(mine)
    async with database.reading() as tx:
        query = select(erasures).where(erasures.c.person == person)
        if (row := (await tx.execute(query)).one_or_none()) is None:
            return None
        objects = (await tx.execute(count)).scalar_one()
    return Erasure(person, row.destroyed_at, objects, row.certificate)


async def certified(log: Log, person: UUID | None = None) -> AsyncIterator[PersonErased]:
    """Certificates on the log: of one person, or of all."""
    key = None if person is None else str(person)
    async for record in log.read([topic_of(PersonErased)], key=key):
        yield PersonErased.model_validate_json(record.value)


async def recall(log: Log, database: Database, keys: SqlKeyStore, site: str) -> int:
    """Erase again whom the log knows to be erased and the database does not; how many.

    A database that was restored from a backup has forgotten whose keys were destroyed since.
    """
    again = [e.person async for e in certified(log) if not await keys.erased(e.person)]
    for person in again:
        await begin(database, keys, site, person, _NOBODY)
    return len(again)


@dataclass(frozen=True, slots=True)
class Eraser:
    """The `Timer`'s handler of the kind `ERASE`."""

    database: Database
    store: ObjectStore
    site: str
    signer: Signer
    settled: timedelta = SETTLED
    patience: timedelta = PATIENCE

    async def __call__(self, row: Due) -> Done | Again:
        """Destroy what there is, and certify once nothing more can come."""
        person = UUID(row.payload["person"])
        await self.database.run(lambda tx: _clear(tx, person))
        if not row.payload.get(_BEGUN):
            await self._destroy(person)
        if (at := await self._too_early(person, parse_time(row.payload["destroyed"]))) is not None:
            return Again(at, {**row.payload, _BEGUN: True})
        await self._destroy(person)  # what was left by those who still knew the key
        return Done((await self._certified(person),))

    async def _too_early(self, person: UUID, destroyed: datetime) -> datetime | None:
        """When to look again; None where nothing more can come, or it has been waited for."""
        now, settled = self.database.now(), destroyed + self.settled
        if now < settled:
            return settled
        waits = now < settled + self.patience and await self._under_way(person)
        return now + LOOK if waits else None

    async def _destroy(self, person: UUID) -> None:
        """Write down every object under the person's name, then delete all that is written down.

        Those of an earlier time, too: a death may have left one half deleted.
        """
        page = list[Stat]()
        async for stat in self.store.list(""):
            if person_of(stat.key) == person:
                page.append(stat)
            if len(page) == _PAGE:
                await self._note(person, page)
                page = []
        await self._note(person, page)
        for each in await self._noted(person):
            await self.store.delete(each.key)
        await self.database.settle()

    async def _note(self, person: UUID, page: Sequence[Stat]) -> None:
        rows = [row async for row in self._described(person, page)]
        await self.database.run(lambda tx: tx.insert_absent_many(erased_objects, rows))

    async def _described(self, person: UUID, page: Sequence[Stat]) -> AsyncIterator[dict[str, Any]]:
        for stat in page:
            try:
                whole = stat if stat.sha256 else await self.store.stat(stat.key)
            except Missing:  # another was quicker, and has written it down
                continue
            row = {"person": person, "key": whole.key, "sha256": whole.sha256, "size": whole.size}
            yield row

    async def _noted(self, person: UUID) -> Sequence[Destroyed]:
        query = select(erased_objects).where(erased_objects.c.person == person)
        async with self.database.reading() as tx:
            rows = await tx.execute(query)
            return [Destroyed(row.key, row.sha256, row.size) for row in rows]

    async def _under_way(self, person: UUID) -> int:
        async with self.database.reading() as tx:
            return await _jobs(tx, person, ended=False)

    async def _certified(self, person: UUID) -> PersonErased:
        """The event, made once: whoever comes again finds what was signed."""
        objects = await self._noted(person)

        async def once(tx: Transaction) -> dict[str, Any]:
            mine = erasures.c.person == person
            row = (await tx.execute(select(erasures).where(mine).with_for_update())).one()
            if row.certificate is None:
                facts = await self._facts(tx, row.destroyed_at, row.by, row.master, person, objects)
                made = certify(facts, self.signer)
                await tx.execute(update(erasures).where(mine).values(certificate=made))
                return made
            found: dict[str, Any] = row.certificate
            return found

        return event_of(await self.database.run(once))

    async def _facts(
        self,
        tx: Transaction,
        destroyed: datetime,
        by: UUID,
        master: str | None,
        person: UUID,
        objects: Sequence[Destroyed],
    ) -> Facts:
        under_way = await _jobs(tx, person, ended=False)
        return Facts(
            site=self.site,
            person=person,
            destroyed=destroyed,
            certified=tx.now,
            by=by,
            master=master,
            jobs=under_way + await _jobs(tx, person, ended=True),
            under_way=under_way,
            objects=objects,
        )


def event_of(certificate: dict[str, Any]) -> PersonErased:
    """The event that says so on the log: all but the list."""
    said = json.loads(certificate["statement"])
    return PersonErased(
        person=said["person"],
        destroyed=said["destroyed"],
        objects=said["objects"],
        root=said["root"],
        statement=certificate["statement"],
        signer=certificate["key"],
        signature=certificate["signature"],
    )


def _row(site: str, person: UUID, destroyed: datetime, now: datetime) -> Due:
    """What sees to the rest. Erased again after a restore is another erasure, with its own id."""
    said = format_time(destroyed)
    id_ = uuid5(_ERASURES, f"{site} {person} {said}")
    head = Head(id_, "", site, now, person, str(person))
    return Due(id_, ERASE, now, head, {"person": str(person), "destroyed": said})


async def _clear(tx: Transaction, person: UUID) -> None:
    """Empty the person's rows, and let their jobs that wait for somebody end now.

    Their address is a stranger's from here on: whoever comes from it is somebody new.
    """
    theirs = select(jobs.c.id).where(jobs.c.person == person)
    await hasten(tx, person, (HELD, STUCK))
    await tx.execute(update(job_events).where(job_events.c.job.in_(theirs)).values(payload={}))
    await tx.execute(delete(object_refs).where(object_refs.c.job.in_(theirs)))
    await tx.execute(update(jobs).where(jobs.c.person == person).values(sealed={}, detail={}))
    began = select(uploads.c.id).where(uploads.c.person == person)
    await tx.execute(delete(upload_parts).where(upload_parts.c.upload.in_(began)))
    saved = select(voices.c.id).where(voices.c.person == person)
    await tx.execute(delete(voice_shares).where(voice_shares.c.voice.in_(saved)))
    for table in _OF_ONE:
        await tx.execute(delete(table).where(table.c.person == person))
    await tx.execute(update(persons).where(persons.c.id == person).values(address_hmac=None))


async def _jobs(tx: Transaction, person: UUID, *, ended: bool) -> int:
    states = [state.value for state in TERMINAL]
    which = jobs.c.state.in_(states) if ended else jobs.c.state.not_in(states)
    query = select(func.count()).select_from(jobs).where(jobs.c.person == person, which)
    return int((await tx.execute(query)).scalar_one())
