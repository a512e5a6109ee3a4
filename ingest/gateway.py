"""The gateway's parts, opened and wired: what every door is handed.

Knows which parts there are. Refuses to know routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from ingest.accept import Acceptor
from ingest.accounts.roles import Scope
from ingest.accounts.sign_in import SignIn
from ingest.hooks import Hooks
from ingest.jobs import Job, JobEvent, find
from ingest.links import Links
from ingest.person import Caller, Callers
from ingest.problems import Problem
from ingest.queue import Queue
from ingest.quota import Quota
from ingest.refusals import Refusals
from ingest.remarks import Remarks
from ingest.settings import IngestSettings
from ingest.shared_pages import SharedPages
from ingest.shares import Shares
from ingest.sources import Sources
from ingest.uploads import Uploads
from ingest.voices import Voices
from ingest.watch import follow
from ingest.wish import Limits
from relay.doorbell import Doorbell
from relay.keys import KeyStore
from relay.log.port import Log
from relay.objects.port import ObjectStore
from relay.sql.database import Database
from relay.telemetry import Health


@dataclass(frozen=True, slots=True)
class Gateway:
    """Opened parts; `app.state.gateway` while the application runs."""

    settings: IngestSettings
    database: Database
    log: Log
    objects: ObjectStore
    doorbell: Doorbell
    health: Health
    keys: KeyStore
    callers: Callers
    sign_in: SignIn
    hooks: Hooks
    acceptor: Acceptor
    uploads: Uploads
    sources: Sources
    voices: Voices
    shares: Shares
    edge: bool
    """Whether a cluster elsewhere speaks: what is saved here it could not see revoked."""
    links: Links
    queue: Queue
    remarks: Remarks
    pages: SharedPages
    refusals: Refusals
    closing: asyncio.Event
    """Set when the process is asked to stop: streams end, and their clients resume elsewhere."""

    def limits(self, text: int) -> Limits:
        """The limits of a door that takes `text` characters."""
        return Limits(text, self.settings.instruct_limit)

    async def job(self, job: UUID, person: UUID) -> Job:
        """The person's job; `Problem` (`job_unknown`) where there is none, or it is another's."""
        async with self.database.reading() as tx:
            found = await find(tx, job, person)
        if found is None:
            raise Problem("job_unknown")
        return found

    async def let_in(
        self, connection: HTTPConnection, bucket: str, per_minute: float, over: str
    ) -> None:
        """For who needs no account: `Problem` (`over`) where too many came from one address."""
        address = await self.callers.neighbour(connection)
        quota = Quota(per_minute, max(1.0, per_minute))
        try:
            await self.database.run(lambda tx: quota.take(tx, address, bucket))
        except Problem as spent:
            raise Problem(over, retry_after=spent.retry_after) from None

    def follow(self, job: UUID, after: int) -> AsyncGenerator[JobEvent | None, None]:
        """The job's events beyond seq `after`; see `ingest.watch.follow`."""
        return follow(self.database, self.doorbell, self.closing, job, after)


def _gateway(connection: HTTPConnection) -> Gateway:
    gateway: Gateway = connection.app.state.gateway
    return gateway


Gate = Annotated[Gateway, Depends(_gateway)]


def voices_here(gateway: Gate) -> None:
    """What a door of saved voices depends on; `Problem` (`voices_elsewhere`) at an edge."""
    if gateway.edge:
        raise Problem("voices_elsewhere")


def calls(scope: Scope) -> Callable[[HTTPConnection, Gateway], Awaitable[Caller]]:
    """What a door depends on that is open to callers with `scope`; it refuses before the door."""

    async def caller(connection: HTTPConnection, gateway: Gate) -> Caller:
        found = await gateway.callers.caller(connection)
        found.needs(scope)
        return found

    return caller


Sender = Annotated[Caller, Depends(calls(Scope.SEND))]
Reader = Annotated[Caller, Depends(calls(Scope.READ))]
Speaker = Annotated[Caller, Depends(calls(Scope.VOICES))]
