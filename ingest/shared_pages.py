"""Pages that show a job's speech to whoever has their address, until its person ends that.

Knows that an address follows from a nonce and a secret of the site, so the same one can be told
again and a row tells none. Refuses to know what is on the page.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Select, delete, select, update

from ingest.jobs import Job, find_any
from ingest.problems import Problem
from relay.sql.afterwards import shared_pages
from relay.sql.database import Database, Transaction
from schemas.states import State


@dataclass(frozen=True, slots=True)
class Shared:
    """A page: what its address ends with, and until when it is there."""

    token: str
    expires_at: datetime


class SharedPages:
    """The shared pages of one site, under a secret that all its gateways share."""

    def __init__(self, database: Database, secret: bytes, life: timedelta) -> None:
        self._database, self._secret, self._life = database, secret, life

    async def open(self, job: Job) -> Shared:
        """The page of `job`, for a whole life from now; the same address as long as it is there.

        `Problem`: `speech_lacking`.
        """
        if job.state is not State.DELIVERED:
            raise Problem("speech_lacking")
        return await self._database.run(lambda tx: self._open(tx, job))

    async def end(self, job: UUID) -> None:
        """Show it to nobody any more."""
        gone = delete(shared_pages).where(shared_pages.c.job == job)
        await self._database.run(lambda tx: tx.execute(gone))

    async def of(self, tx: Transaction, jobs: Iterable[Job]) -> Mapping[UUID, Shared]:
        """Those of `jobs` that have a page now."""
        query = select(shared_pages).where(shared_pages.c.job.in_([job.id for job in jobs]))
        rows = await tx.execute(query.where(shared_pages.c.expires_at > tx.now))
        return {row.job: Shared(self._token(row.job, row.nonce), row.expires_at) for row in rows}

    async def job(self, token: str) -> Job:
        """The job that the page at `token` shows; `Problem`: `page_unknown`."""
        query = select(shared_pages.c.job).where(shared_pages.c.hash == _hash(token))
        async with self._database.reading() as tx:
            id_ = (await tx.execute(query.where(shared_pages.c.expires_at > tx.now))).scalar()
            job = None if id_ is None else await find_any(tx, id_)
        if job is None or job.state is not State.DELIVERED:
            raise Problem("page_unknown")
        return job

    async def _open(self, tx: Transaction, job: Job) -> Shared:
        mine = shared_pages.c.job == job.id
        await tx.execute(delete(shared_pages).where(mine, shared_pages.c.expires_at <= tx.now))
        nonce, until = secrets.token_bytes(16), tx.now + self._life
        row = {"job": job.id, "person": job.person, "nonce": nonce, "expires_at": until}
        row["hash"] = _hash(self._token(job.id, nonce))
        if not await tx.insert_absent(shared_pages, row):
            nonce = (await tx.execute(select(shared_pages.c.nonce).where(mine))).scalar_one()
            await tx.execute(update(shared_pages).where(mine).values(expires_at=until))
        return Shared(self._token(job.id, nonce), until)

    def _token(self, job: UUID, nonce: bytes) -> str:
        digest = hmac.new(self._secret, job.bytes + nonce, sha256).digest()[:24]
        return urlsafe_b64encode(digest).decode()


def shared_by(person: UUID, now: datetime) -> Select[tuple[UUID]]:
    """The jobs of `person` that have a page at that time, as a query."""
    mine = (shared_pages.c.person == person, shared_pages.c.expires_at > now)
    return select(shared_pages.c.job).where(*mine)


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()
