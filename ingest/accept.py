"""Accept once: one SQL transaction after which a job is safe, whatever else is down.

Knows the order: the recording lies in the store first; then quota, idempotency key, job row,
person's key and outbox row commit together, and only then is anybody told. Refuses to know HTTP.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID, uuid4

from prometheus_client import Counter
from sqlalchemy import Row, select, update

from ingest import jobs
from ingest.jobs import Job
from ingest.person import Caller
from ingest.pressure import Pressure
from ingest.problems import Problem
from ingest.quota import Quota
from ingest.recording import Probes
from ingest.wish import Wish
from ingest.words import first_event, sealed_words
from relay.codec import encode
from relay.errors import PersonErased
from relay.keys import PersonKey
from relay.objects.port import ObjectStore
from relay.outbox import enqueue
from relay.sql.database import Database, Transaction
from relay.sql.locks import hold_person
from relay.sql.schema import idempotency
from schemas.envelope import Head
from schemas.events import PromptUploaded, Recording

ACCEPTED = Counter("voxrelay_accepted", "Requests answered with a job", ["door"])
KEY_LIFE = timedelta(hours=24)
_FLAC = "audio/flac"


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


class Acceptor:
    """Turns wishes into jobs."""

    def __init__(
        self,
        *,
        site: str,
        database: Database,
        objects: ObjectStore,
        keys: KeyMaker,
        probes: Probes,
        quota: Quota,
        pressure: Pressure,
    ) -> None:
        self._site = site
        self._database = database
        self._objects = objects
        self._keys = keys
        self._probes = probes
        self._quota = quota
        self._pressure = pressure

    async def accept(self, wish: Wish, entry: Entry) -> Job:
        """The job that `wish` became, or had become under the same idempotency key.

        `Problem` where it is not taken; `Unavailable` where our world is down: then nothing was
        accepted, or nobody knows, and the same idempotency key finds out.
        """
        person = entry.caller.person
        await self._look(person, entry.idempotency_key)
        heard = await self._probes.examine(wish.upload, wish.raw)
        recording = Recording(
            key=f"recording/{person}/{heard.sha256}",
            sha256=heard.sha256,
            seconds=heard.seconds,
            sample_rate=heard.sample_rate,
            container=heard.container,
            codec=heard.codec,
            aigc=heard.aigc,
        )
        stored = await self._objects.put(recording.key, heard.flac, _FLAC)
        adopted = None if stored else heard.flac
        try:
            job = await self._database.run(
                lambda tx: self._commit(tx, wish, recording, entry, adopted)
            )
        except PersonErased:
            await self._objects.delete(recording.key)
            raise Problem("person_erased") from None
        ACCEPTED.labels(entry.door).inc()
        return job

    async def _look(self, person: UUID, key: str | None) -> None:
        """Refuse early whom the quota will refuse, so that they cost no decoding and no space.

        And everybody while too much waits; but not who only asks for a job again.
        """
        if key is not None:
            async with self._database.reading() as tx:
                if await _claimed(tx, person, key, lock=False) is not None:
                    return
        await self._pressure.check()
        if self._quota.per_minute:
            async with self._database.reading() as tx:
                await self._quota.look(tx, person)

    async def _commit(
        self,
        tx: Transaction,
        wish: Wish,
        recording: Recording,
        entry: Entry,
        adopted: bytes | None,
    ) -> Job:
        """`adopted` is the recording where it lay in the store already: it may just be swept."""
        person = entry.caller.person
        key = await self._keys.create(tx, person)
        job = uuid4()
        if entry.idempotency_key is not None:
            digest = _digest(wish, recording, key)
            if earlier := await _claim(tx, person, entry.idempotency_key, digest, job):
                return await _found(tx, earlier, person)
        await self._quota.take(tx, person)
        if adopted is not None:
            await hold_person(tx, person)  # from here on nobody sweeps what is theirs
            await self._objects.put(recording.key, adopted, _FLAC)
        await jobs.accept(
            tx,
            job=job,
            person=person,
            site=self._site,
            door=entry.door,
            format=wish.format,
            sealed=sealed_words(job, wish.text, key),
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
        await enqueue(tx, [encode(_uploaded(wish, recording, entry), head, key)])
        return await _found(tx, job, person)


async def _found(tx: Transaction, job: UUID, person: UUID) -> Job:
    """The job as this transaction sees it: nothing has to be read after the commit."""
    if (found := await jobs.find(tx, job, person)) is None:
        raise Problem("job_unknown")
    return found


def _uploaded(wish: Wish, recording: Recording, entry: Entry) -> PromptUploaded:
    return PromptUploaded(
        text=wish.text,
        mode=wish.mode,
        instruct=wish.instruct,
        style=wish.style,
        speed=wish.speed,
        seed=wish.seed,
        format=wish.format,
        language=wish.language,
        recording=recording,
        door=entry.door,
        address=str(entry.caller.client.address),
    )


def new_trace() -> str:
    """A W3C traceparent for a request that brought none."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _digest(wish: Wish, recording: Recording, key: PersonKey) -> bytes:
    """Of the decoded content, under the person's key: the row tells nobody what was said."""
    content = json.dumps(wish.content(recording.sha256), sort_keys=True, ensure_ascii=False)
    return hmac.new(key.recipe_key, content.encode(), sha256).digest()


async def _claim(tx: Transaction, person: UUID, key: str, digest: bytes, job: UUID) -> UUID | None:
    """Take `key` for `job`; or the job that has it by the same content.

    Two at once are settled by the row's lock: the second waits until the first has committed.
    """
    row = {"person": person, "key": key, "digest": digest, "jobs": [str(job)], "created_at": tx.now}
    if await tx.insert_absent(idempotency, row):
        return None
    found = await _claimed(tx, person, key, lock=True)
    if found is None:
        mine = (idempotency.c.person == person, idempotency.c.key == key)
        fresh = {name: row[name] for name in ("digest", "jobs", "created_at")}
        await tx.execute(update(idempotency).where(*mine).values(fresh))
        return None
    if not hmac.compare_digest(found.digest, digest):
        raise Problem("idempotency_key_reused")
    return UUID(found.jobs[0])


async def _claimed(tx: Transaction, person: UUID, key: str, *, lock: bool) -> Row[Any] | None:
    """The row of `key`; None where there is none or it is too old."""
    query = select(idempotency).where(idempotency.c.person == person, idempotency.c.key == key)
    found = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if found is None or found.created_at + KEY_LIFE <= tx.now else found
