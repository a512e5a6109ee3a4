"""The parts of the spine, opened from the settings and closed in order.

Knows which part each setting names. Refuses to know stages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from relay.log.open import open_log
from relay.log.port import Log
from relay.objects.open import open_store
from relay.objects.port import ObjectStore
from relay.retry import until_available
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore, open_keys
from relay.sql.open import open_database
from relay.telemetry import Health


@dataclass(frozen=True, slots=True)
class Spine:
    """What every process of the relay leans on."""

    settings: Settings
    log: Log
    database: Database
    keys: SqlKeyStore
    store: ObjectStore
    health: Health


@asynccontextmanager
async def open_spine(settings: Settings) -> AsyncIterator[Spine]:
    """Open every part, waiting for those that do not answer yet.

    `Misconfigured` where a setting cannot be right; nothing is left open then.
    """
    health = Health()
    async with AsyncExitStack() as stack:
        database = await until_available(lambda: open_database(settings), "database", health)
        stack.push_async_callback(database.close)
        store = open_store(settings)
        stack.push_async_callback(store.close)
        keys = open_keys(settings, database, store)
        await until_available(keys.check, "database", health)
        log = open_log(settings)
        stack.push_async_callback(log.close)
        yield Spine(settings, log, database, keys, store, health)
