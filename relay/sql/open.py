"""The database that the settings name, its tables made or brought up to date.

Knows how each kind is connected to. Refuses to know tables and transactions.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from relay.errors import Misconfigured
from relay.settings import Settings
from relay.sql import lite, setup
from relay.sql.clock import Clock, served, utc_now
from relay.sql.database import Database

APP_FILE = "app.db"
_RECYCLE_SECONDS = 3600
"""A connection is made anew after so long, and with it the clock is set."""


async def open_database(settings: Settings, clock: Clock | None = None) -> Database:
    """The database that `settings.sql` names, its tables created or brought up to date.

    `clock` is that of the server, or where there is none the machine's, unless one is given.
    `Unavailable` where it does not answer, `Misconfigured` where its tables are newer than we are.
    """
    database = connect(settings, clock)
    try:
        await setup.create(database)
    except BaseException:
        await database.close()
        raise
    return database


def connect(settings: Settings, clock: Clock | None = None) -> Database:
    """The same database, its tables as they are: nothing is asked before the first transaction."""
    engine = _engine(settings)
    return Database(engine, clock or (utc_now if settings.sql == "sqlite" else served(engine)))


def _engine(settings: Settings) -> AsyncEngine:
    if settings.sql == "sqlite":
        return lite.engine(_folder(settings.data) / APP_FILE)
    try:
        url = make_url(settings.sql).set(drivername="postgresql+psycopg")
    except ArgumentError:
        raise Misconfigured("VOXRELAY_SQL is not a database address we can read") from None
    return create_async_engine(
        url,
        isolation_level="READ COMMITTED",
        hide_parameters=True,  # an error that quotes them would end in a log
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_SECONDS,
        pool_size=5,  # a server has a hundred connections for all processes
        max_overflow=5,
        pool_timeout=10,
        connect_args={"connect_timeout": 5},
    )


def _folder(data: Path) -> Path:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as wrong:
        raise Misconfigured(
            f"VOXRELAY_DATA={data} cannot be made a folder: {wrong.strerror}"
        ) from None
    return data
