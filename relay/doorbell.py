"""The doorbell: tells whoever waits for a job that its row has changed.

Knows job ids and how to reach the processes of this site: PostgreSQL's NOTIFY, or datagrams on one
machine. A ring may get lost, so a waiter listens first, then reads, and reads again every few
seconds. Refuses to know what changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from uuid import UUID

from relay.settings import Settings
from relay.sql.database import Database

PATIENCE = 3.0
"""Seconds after which a waiter reads again though nothing rang."""


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
    """The doorbell of this process, by what `settings.sql` is; closed when the block ends."""
    raise NotImplementedError
    yield
