"""What time it is: one clock for all who share a database.

Knows the machine's clock, and a server's. Refuses to know who asks. A lease that one process writes
and another reads means the same to both only if they have one clock: on one machine they do, over
several the database's own server is the one that all of them know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The instant it is by the machine's clock, with its zone."""
    return datetime.now(UTC)


def served(engine: AsyncEngine) -> Clock:
    """The clock of PostgreSQL's server, set with every connection; the machine's before the first.

    Between it follows the time that passes here, so a machine whose clock is wrong, or is put back
    and forth, does no harm.
    """
    origin: datetime | None = None  # the instant at which our monotonic clock was 0

    def connected(connection: Any, _: Any) -> None:
        nonlocal origin
        asked = time.monotonic()
        cursor = connection.cursor()
        cursor.execute("SELECT clock_timestamp()")
        (said,) = cursor.fetchone()
        cursor.close()
        connection.rollback()  # or its first transaction would have begun here
        origin = said - timedelta(seconds=(asked + time.monotonic()) / 2)

    def now() -> datetime:
        if origin is None:
            return utc_now()
        return (origin + timedelta(seconds=time.monotonic())).astimezone(UTC)

    event.listen(engine.sync_engine, "connect", connected)
    return now
