"""The doorbell: tells whoever waits for a job that its row has changed.

Knows job ids and how to reach the processes of this site: PostgreSQL's NOTIFY, or datagrams on one
machine. A ring may get lost, so a waiter listens first, then reads, and reads again every few
seconds. Refuses to know what changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import text

from relay.datagrams import Datagrams
from relay.errors import Unavailable
from relay.retry import until_available
from relay.settings import Settings
from relay.sql.database import Database
from relay.telemetry import Health

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds after which a waiter reads again though nothing rang."""

CHANNEL = "voxrelay_job"
FOLDER = "doorbell"
_MOST_WAITING = 10_000
_NOTIFY = text("SELECT pg_notify(:channel, job) FROM unnest(CAST(:jobs AS text[])) AS job")
_LASTING = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


class Bell(Protocol):
    """What a waiter holds while it listens for one job."""

    async def wait(self, timeout: float = PATIENCE) -> bool:  # noqa: ASYNC109 - a normal outcome
        """True as soon as the job was rung since the last call, False after `timeout` seconds."""


class Doorbell(Protocol):
    """One per process; open with `open_doorbell`."""

    def ring(self, job: UUID) -> None:
        """Tell every process that the job's row has changed. Returns at once; never raises."""

    def listen(self, job: UUID) -> AbstractAsyncContextManager[Bell]:
        """`async with doorbell.listen(job) as bell`: rings from now on are kept for `bell`."""


@asynccontextmanager
async def open_doorbell(settings: Settings, database: Database) -> AsyncIterator[Doorbell]:
    """The doorbell of this process, by what the database is; closed when the block ends.

    Opens while the database is down, too: rings are lost until it is back.
    """
    if database.dialect == "sqlite":
        with _local(settings.data / FOLDER) as local:
            yield local
    else:
        async with _notified(database) as notified:
            yield notified


class _Bell:
    def __init__(self) -> None:
        self.rung = asyncio.Event()

    async def wait(self, timeout: float = PATIENCE) -> bool:  # noqa: ASYNC109
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.rung.wait()
        heard = self.rung.is_set()
        self.rung.clear()
        return heard


class _Bells:
    """Who waits for what in this process."""

    def __init__(self) -> None:
        self._bells: dict[UUID, set[_Bell]] = {}

    @asynccontextmanager
    async def listen(self, job: UUID) -> AsyncIterator[Bell]:
        bell = _Bell()
        self._bells.setdefault(job, set()).add(bell)
        try:
            yield bell
        finally:
            waiting = self._bells[job]
            waiting.discard(bell)
            if not waiting:
                del self._bells[job]

    def heard(self, job: UUID) -> None:
        for bell in self._bells.get(job, ()):
            bell.rung.set()

    def heard_something(self) -> None:
        """Rings may have been missed: let everybody read."""
        for job in self._bells:
            self.heard(job)


class _Local(_Bells):
    """Datagrams between the processes of one machine."""

    def __init__(self, datagrams: Datagrams) -> None:
        super().__init__()
        self._datagrams = datagrams

    def ring(self, job: UUID) -> None:
        self.heard(job)
        self._datagrams.send(job.bytes)

    def knocked(self, word: bytes) -> None:
        if len(word) == 16:  # anything on this machine may knock
            self.heard(UUID(bytes=word))


@contextmanager
def _local(folder: Path) -> Iterator[_Local]:
    datagrams = Datagrams(folder)
    bells = _Local(datagrams)
    datagrams.listen(bells.knocked)
    try:
        yield bells
    finally:
        datagrams.close()


class _Notified(_Bells):
    """PostgreSQL's NOTIFY, sent in batches after the rows were committed."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._to_ring: set[UUID] = set()
        self._more = asyncio.Event()
        self._health = Health()  # nobody's readiness hangs on a bell

    def ring(self, job: UUID) -> None:
        self.heard(job)
        if len(self._to_ring) < _MOST_WAITING:
            self._to_ring.add(job)
        self._more.set()

    async def send(self) -> None:
        """Send for ever what `ring` left."""
        while True:
            await self._more.wait()
            self._more.clear()
            jobs, self._to_ring = [str(job) for job in self._to_ring], set()
            try:
                async with self._database.transaction() as tx:
                    await tx.execute(_NOTIFY, {"channel": CHANNEL, "jobs": jobs})
            except Unavailable:
                continue  # who waits reads again by himself

    async def hear(self) -> None:
        """Listen for ever, on a connection of its own."""
        while True:
            await until_available(self._hear, "doorbell", self._health)

    async def _hear(self) -> None:
        address = self._database.url.set(drivername="postgresql")
        where = make_conninfo(address.render_as_string(hide_password=False), **_LASTING)
        try:
            async with await psycopg.AsyncConnection.connect(where, autocommit=True) as line:
                await line.execute(f"LISTEN {CHANNEL}")
                self.heard_something()
                async for word in line.notifies():
                    self._knocked(word.payload)
        except (psycopg.OperationalError, OSError) as down:
            raise Unavailable(f"the database does not answer ({type(down).__name__})") from None

    def _knocked(self, payload: str) -> None:
        with contextlib.suppress(ValueError):  # anybody with the database may notify
            self.heard(UUID(payload))


@asynccontextmanager
async def _notified(database: Database) -> AsyncIterator[_Notified]:
    bells = _Notified(database)
    tasks = [asyncio.create_task(bells.send()), asyncio.create_task(bells.hear())]
    for task in tasks:
        task.add_done_callback(_say)
    try:
        yield bells
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say(task: asyncio.Task[None]) -> None:
    """A bell that broke is no reason to stop: waiters read by themselves. But it is said."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the doorbell is broken: %s", type(error).__name__, exc_info=error)
