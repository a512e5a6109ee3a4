"""One way into SQL: a transaction, the same on SQLite and PostgreSQL.

Knows drivers, how a transaction begins, and which of their errors mean that our world is down.
Refuses to know tables (`relay.sql.schema`) and what any row means.

Errors of every call: `Unavailable` (the database does not answer; nothing, or nobody knows what,
was committed, so whatever is tried again has to be idempotent), `Misconfigured` (refuse to start).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, CursorResult, Executable, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from relay.errors import Unavailable
from relay.sql import faults, lite
from relay.sql.clock import Clock, utc_now

T = TypeVar("T")

Columns = ReadOnlyColumnCollection[str, Any]
"""Of a row, by name."""


class Transaction:
    """What a caller holds between begin and commit. `now` is one instant for all of it."""

    def __init__(
        self, connection: AsyncConnection, now: datetime, signal: Callable[[str], asyncio.Event]
    ) -> None:
        self._connection = connection
        self._signal = signal
        self._afterwards: list[Callable[[], None]] = []
        self.now = now

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`; for the few statements that no common SQL can say."""
        return self._connection.dialect.name

    async def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[Any]:
        """Run one statement (or one per row of `parameters`) and return its whole result."""
        with faults.translated():
            return await faults.in_time(self._connection.execute(statement, parameters))

    async def insert_absent(self, table: Table, values: Mapping[str, Any]) -> bool:
        """Insert the row unless one with the same unique key exists; True if it was inserted.

        On PostgreSQL a concurrent insert of the same key is waited for, so a False is final.
        """
        insert = sqlite.insert if self.dialect == "sqlite" else postgresql.insert
        statement = insert(table).values(values).on_conflict_do_nothing()
        counted = statement.execution_options(preserve_rowcount=True)
        return (await self.execute(counted)).rowcount == 1

    async def insert_absent_many(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert those of `rows` whose unique keys do not exist; all have the same columns."""
        if rows:
            insert = sqlite.insert if self.dialect == "sqlite" else postgresql.insert
            await self.execute(insert(table).on_conflict_do_nothing(), rows)

    async def put_many(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        where: Callable[[Columns], ColumnElement[bool]],
    ) -> None:
        """Insert `rows`, which have every column; where a primary key exists, replace its row if
        `where`, which is given the new one's columns, holds.
        """
        insert = (sqlite.insert if self.dialect == "sqlite" else postgresql.insert)(table)
        new = insert.excluded
        replaced = insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={each.name: new[each.name] for each in table.c if not each.primary_key},
            where=where(new),
        )
        if rows:
            await self.execute(replaced, rows)

    async def run_sync(self, call: Callable[[Connection], T]) -> T:
        """Run what only speaks SQLAlchemy's blocking tongue, such as the making of tables."""
        with faults.translated():
            return await faults.in_time(self._connection.run_sync(call))

    def afterwards(self, call: Callable[[], None]) -> None:
        """Call `call` (which must not fail) once this transaction is committed, else never."""
        self._afterwards.append(call)

    def wake(self, name: str) -> None:
        """Set this process's signal `name` once this transaction is committed."""
        self.afterwards(lambda: self._signal(name).set())

    def _committed(self) -> None:
        for call in self._afterwards:
            call()


class Database:
    """An open database; one per process. `async with db.transaction() as tx: ...`"""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._clock = clock
        self._signals: dict[str, asyncio.Event] = {}
        # Waiting here is cheaper and fairer than SQLite's own wait, which polls.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else nullcontext()

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @property
    def url(self) -> URL:
        """Where it lies, password included: never to be logged."""
        return self._engine.url

    def now(self) -> datetime:
        """The instant that transactions begun now would have."""
        return self._clock()

    def signal(self, name: str) -> asyncio.Event:
        """The event of this process that goes by `name`: who writes sets it, who reads clears."""
        return self._signals.setdefault(name, asyncio.Event())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Read and write: committed when the block ends, rolled back when it raises.

        SQLite: `BEGIN IMMEDIATE`, one writer at a time. PostgreSQL: read committed. A deadlock or
        a lost race is `Unavailable` here; `run` tries those again by itself.
        """
        async with self._writer, self._connection(reading=False) as connection:
            tx = Transaction(connection, self._clock(), self.signal)
            yield tx
            with faults.translated():
                await faults.in_time(connection.commit())
            tx._committed()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """Read only; on SQLite it neither waits for a writer nor holds one up."""
        async with self._connection(reading=True) as connection:
            yield Transaction(connection, self._clock(), self.signal)

    @asynccontextmanager
    async def _connection(self, *, reading: bool) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction; rolled back at the end unless it was committed."""
        pool = self._engine.pool
        try:
            async with self._begun(reading=reading) as connection:
                yield connection
        except faults.Silent:
            if self._engine.pool is pool:  # else somebody noticed before us
                await self._engine.dispose()
            raise

    @asynccontextmanager
    async def _begun(self, *, reading: bool) -> AsyncIterator[AsyncConnection]:
        connection = self._engine.connect()
        with faults.translated():
            await faults.in_time(connection.start())
        try:
            with faults.translated():
                await connection.execution_options(**{lite.READING: reading})
                await faults.in_time(connection.begin())
            yield connection
        finally:
            with faults.translated():
                await faults.in_time(connection.close())

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """`work` in a transaction, run again (all of it) after a deadlock or a lost race."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(faults.Conflict),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            stop=stop_after_attempt(8),
            reraise=True,
        ):
            with attempt:
                async with self.transaction() as tx:
                    return await work(tx)
        raise AssertionError("tenacity ends by returning or raising")

    async def settle(self) -> None:
        """Leave no page of old in SQLite's WAL: what was overwritten is so in the file, too.

        PostgreSQL does so in its own time. `Unavailable` while somebody reads an old page.
        """
        if self.dialect != "sqlite":
            return
        async with self._writer, self._engine.connect() as connection:
            with faults.translated():
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                async with raw.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
                    (busy, _, _) = await cursor.fetchone()
        if busy:
            raise Unavailable("the database's WAL is being read")

    async def check(self) -> None:
        """Raise `Unavailable` unless the database answers."""
        async with self.reading() as tx:
            await tx.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
