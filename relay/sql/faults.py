"""What went wrong in SQL, told apart: our world is down, a lost race, or a bug.

Knows drivers' error codes. Refuses to know statements.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay.errors import Unavailable

T = TypeVar("T")

STATEMENT_SECONDS = 20.0
"""Longer than SQLite waits for another process's lock, and than any statement of ours takes."""


class Conflict(Unavailable):
    """Rolled back because of somebody else's transaction; the same work may win next time."""


class Silent(Unavailable):
    """Nothing came back in time: what else is open to that server is likely to be as dead."""


_LITE_CONFLICT = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_LITE_DOWN = frozenset(
    {
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
_PG_CONFLICT = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock time-out
_PG_DOWN = ("08", "53", "57", "58", "28", "25006", "25P03", "3D000")
"""Classes: connection, resources, operator (shutdown), system, authorization; and single codes:
a read-only standby, a session ended for idling in mid-transaction, a database that does not exist
(yet)."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn drivers' errors within the block into ours; what is a bug passes as it is."""
    try:
        yield
    except PoolTimeout:
        raise Unavailable("every connection to the database is busy") from None
    except DBAPIError as wrong:
        if (told := _ours(wrong)) is None:
            raise
        raise told from wrong


async def in_time(answer: Awaitable[T]) -> T:
    """What `answer` brings; `Silent` where it takes longer than any statement of ours may.

    A server that hangs closes no connection, so nothing else would tell.
    """
    try:
        async with asyncio.timeout(STATEMENT_SECONDS):
            return await answer
    except TimeoutError:
        raise Silent("the database does not answer in time") from None


def _ours(wrong: DBAPIError) -> Unavailable | None:
    cause = wrong.orig
    if isinstance(cause, sqlite3.Error):
        return _of_lite(cause)
    if isinstance(cause, psycopg.Error):
        return _of_postgres(cause, wrong.connection_invalidated)
    return Unavailable("the database does not answer") if wrong.connection_invalidated else None


def _of_lite(cause: sqlite3.Error) -> Unavailable | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    if code & 0xFF in _LITE_CONFLICT:
        return Conflict("the database is locked by another process")
    if code & 0xFF in _LITE_DOWN:
        return Unavailable(f"the database file cannot be used: {cause.sqlite_errorname}")
    return None


def _of_postgres(cause: psycopg.Error, invalidated: bool) -> Unavailable | None:
    state = cause.sqlstate
    if state in _PG_CONFLICT:
        return Conflict(f"rolled back by the database ({state})")
    if state is None and isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        # About the connection, so it quotes addresses and no statement.
        return Unavailable(f"the database does not answer: {str(cause).splitlines()[0]}")
    if invalidated or (state is not None and state.startswith(_PG_DOWN)):
        return Unavailable(f"the database does not answer ({state})")
    return None


def forbidden(wrong: DBAPIError) -> bool:
    """Whether the database's user lacks a right."""
    return isinstance(wrong.orig, psycopg.errors.InsufficientPrivilege)
