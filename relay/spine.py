"""The parts of the spine, opened from the settings and closed in order.

Knows which part each setting names. Refuses to know stages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
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
from relay.sql.marks import SqlMarks
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
        database = await _database(settings, health, stack)
        store = open_store(settings)
        stack.push_async_callback(store.close)
        keys = open_keys(settings, database, store)
        await until_available(keys.check, "database", health)
        log = await _log(settings, database, stack)
        yield Spine(settings, log, database, keys, store, health)


@asynccontextmanager
async def open_log_alone(settings: Settings, begin: Collection[str] = ()) -> AsyncIterator[Log]:
    """The log, for whoever sets it up: no key is needed, and no store."""
    async with AsyncExitStack() as stack:
        yield await _log(settings, await _database(settings, Health(), stack), stack, begin)


async def _database(settings: Settings, health: Health, stack: AsyncExitStack) -> Database:
    database = await until_available(lambda: open_database(settings), "database", health)
    stack.push_async_callback(database.close)
    return database


async def _log(
    settings: Settings, database: Database, stack: AsyncExitStack, begin: Collection[str] = ()
) -> Log:
    marks = SqlMarks(database)
    stack.push_async_callback(marks.close)
    log = open_log(settings, marks, begin)
    stack.push_async_callback(log.close)
    return log
