"""How SQLite has to be spoken to so that it keeps what it was told.

Knows pragmas and `BEGIN IMMEDIATE`. Refuses to know tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

READING = "voxrelay_reading"
"""Execution option of a connection that will only read: its transaction takes no lock."""

BUSY_MS = 10_000
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # a destroyed key must not lie on in the file
)


def engine(path: Path) -> AsyncEngine:
    """An engine for the file at `path`, which is made at the first connection."""
    made = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        hide_parameters=True,  # an error that quotes them would end in a log
        poolclass=AsyncAdaptedQueuePool,
        pool_size=5,
        max_overflow=5,
        pool_timeout=BUSY_MS / 1000,
    )
    event.listen(made.sync_engine, "connect", _connected)
    event.listen(made.sync_engine, "begin", _begun)
    return made


def _connected(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late and is deferred
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begun(connection: Connection) -> None:
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
