"""Accept once: one SQL transaction after which a job is safe, whatever else is down.

Knows the order: the recording lies in the store first; then quota, idempotency key, job row,
person's key and outbox row commit together, and only then is anybody told. Refuses to know HTTP.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

from prometheus_client import Counter

from ingest import jobs
from ingest.allowance import Allowance
from ingest.idempotency import agree, claim, claimed, digest_of
from ingest.jobs import Job
from ingest.person import Caller
from ingest.pressure import Pressure
from ingest.problems import Problem
from ingest.sources import Sources, Taken, came_from
from ingest.wish import Wish
from ingest.words import first_event, sealed_words
from relay.codec import encode
from relay.errors import PersonErased
from relay.keys import PersonKey
from relay.outbox import enqueue
from relay.sql.database import Database, Transaction
from schemas.envelope import Head
from schemas.events import PromptUploaded

ACCEPTED = Counter("voxrelay_accepted", "Requests answered with a job", ["door"])
_GONE = frozenset({"upload_expired", "voice_unshared"})
"""What a request is told whose recording was there, and is not any more."""


class KeyMaker(Protocol):
    """Where persons' keys are made; `relay.sql.keys` is one."""

    async def create(self, tx: Transaction, person: UUID) -> PersonKey: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """How a wish came in: the door, the caller, and what their request's head said."""

    door: str
    caller: Caller
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job for each variant, and headers that tell what is left of their person's allowance."""

    jobs: Sequence[Job]
    rates: Mapping[str, str] = field(default_factory=dict)

    @property
    def job(self) -> Job:
        """The first of them, or the only one."""
        return self.jobs[0]


class Acceptor:
    """Turns wishes into jobs."""

    def __init__(
        self,
        *,
        site: str,
        database: Database,
        keys: KeyMaker,
        sources: Sources,
        allowance: Allowance,
        pressure: Pressure,
    ) -> None:
        self._site = site
        self._database = database
        self._keys = keys
        self._sources = sources
        self._allowance = allowance
        self._pressure = pressure

    async def accept(self, wish: Wish, entry: Entry) -> Accepted:
        """The jobs that `wish` became, or had become under the same idempotency key.

        `Problem` where it is not taken; `Unavailable` where our world is down: then nothing was
        accepted, or nobody knows, and the same idempotency key finds out.
        """
        await self._look(entry)
        try:
            taken = await self._sources.take(wish, entry.caller.person)
        except Problem as gone:
            if (accepted := await self._earlier(gone, wish, entry)) is None:
                raise
        else:
            accepted = await self._new(wish, taken, entry)
        ACCEPTED.labels(entry.door).inc()
        return accepted

    async def _new(self, wish: Wish, taken: Taken, entry: Entry) -> Accepted:
        try:
            return await self._database.run(lambda tx: self._commit(tx, wish, taken, entry))
        except PersonErased:
            await self._sources.drop(taken)
            raise Problem("person_erased") from None

    async def _earlier(self, gone: Problem, wish: Wish, entry: Entry) -> Accepted | None:
        """What a request became, where its source is gone since: its job knows the recording.

        None where it became nothing, or the view has not told yet what the recording was.
        """
        name = entry.idempotency_key
        if gone.code not in _GONE or name is None:
            return None
        return await self._database.run(lambda tx: self._found_again(tx, name, wish, entry))

    async def _found_again(
        self, tx: Transaction, name: str, wish: Wish, entry: Entry
    ) -> Accepted | None:
        person = entry.caller.person
        if (row := await claimed(tx, person, name)) is None:
            return None
        earlier = [await jobs.find(tx, UUID(each), person) for each in row.jobs]
        there = [job for job in earlier if job is not None]
        if not there or (recording := there[0].detail.recording) is None:
            return None
        if not came_from(wish, recording):
            return None
        key = await self._keys.create(tx, person)
        agree(row, digest_of(wish.content(recording.sha256), key))
        return Accepted(there)

    async def _look(self, entry: Entry) -> None:
        """Refuse early who will be refused for their allowance: they cost no decoding, no space.

        And everybody while too much waits; but not who only asks for a job again.
        """
        caller, key = entry.caller, entry.idempotency_key
        if key is not None:
            async with self._database.reading() as tx:
                if await claimed(tx, caller.person, key) is not None:
                    return
        await self._pressure.check()
        async with self._database.reading() as tx:
            await self._allowance.look(tx, caller)

    async def _commit(self, tx: Transaction, wish: Wish, taken: Taken, entry: Entry) -> Accepted:
        person = entry.caller.person
        key = await self._keys.create(tx, person)
        ids = [uuid4() for _ in wish.each]
        if entry.idempotency_key is not None:
            digest = digest_of(wish.content(taken.recording.sha256), key)
            if earlier := await claim(tx, person, entry.idempotency_key, digest, ids):
                return Accepted([await _found(tx, job, person) for job in earlier])
        rates = await self._allowance.take(tx, entry.caller, len(ids))
        await self._sources.hold(tx, taken, person)
        for job, each in zip(ids, wish.each, strict=True):
            await self._insert(tx, job, each, taken, entry, key)
        return Accepted([await _found(tx, job, person) for job in ids], rates)

    async def _insert(
        self,
        tx: Transaction,
        job: UUID,
        wish: Wish,
        taken: Taken,
        entry: Entry,
        key: PersonKey,
    ) -> None:
        person = entry.caller.person
        await jobs.accept(
            tx,
            job=job,
            person=person,
            site=self._site,
            door=entry.door,
            format=wish.format,
            sealed=sealed_words(job, wish.text, wish.label, key),
        )
        head = Head(
            id=first_event(job),
            type=PromptUploaded.TYPE,
            source=self._site,
            time=tx.now,
            person=person,
            key=str(job),
            traceparent=entry.traceparent or new_trace(),
        )
        await enqueue(tx, [encode(_uploaded(wish, taken, entry), head, key)])


async def _found(tx: Transaction, job: UUID, person: UUID) -> Job:
    """The job as this transaction sees it: nothing has to be read after the commit."""
    if (found := await jobs.find(tx, job, person)) is None:
        raise Problem("job_unknown")
    return found


def _uploaded(wish: Wish, taken: Taken, entry: Entry) -> PromptUploaded:
    return PromptUploaded(
        text=wish.text,
        mode=wish.mode,
        instruct=wish.instruct,
        style=wish.style,
        speed=wish.speed,
        seed=wish.seed,
        format=wish.format,
        language=wish.language or taken.language,
        recording=taken.recording,
        door=entry.door,
        address=str(entry.caller.client.address),
    )


def new_trace() -> str:
    """A W3C traceparent for a request that brought none."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
