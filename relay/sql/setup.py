"""Making the tables, or bringing them up to date, at start.

Knows versions, and that one process does it at a time. Refuses to know columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from relay.errors import Misconfigured
from relay.sql import faults
from relay.sql.afterwards import metadata
from relay.sql.database import Database, Transaction
from relay.sql.schema import VERSION, halts, jobs, migrations, positions

_LOCK = 0x766F78  # 'vox': the advisory lock under which one process makes the tables


async def create(database: Database) -> None:
    """Create the tables, or bring them up to date; does nothing where they are.

    `Misconfigured` where a newer version of the relay has made them.
    """
    with permitted():
        await database.run(_create)


@contextmanager
def permitted() -> Iterator[None]:
    """`Misconfigured` where tables are made in the block, and the database's user may not."""
    try:
        yield
    except DBAPIError as wrong:
        if not faults.forbidden(wrong):
            raise
        raise Misconfigured(
            "VOXRELAY_SQL: its user may not create tables in this database: make it the owner, "
            "or GRANT CREATE, USAGE ON SCHEMA public"
        ) from None


async def version_of(database: Database) -> int | None:
    """Of the tables; None where there are none."""
    async with database.reading() as tx:
        if not await tx.run_sync(lambda connection: inspect(connection).has_table(migrations.name)):
            return None
        found: int | None = (await tx.execute(select(func.max(migrations.c.version)))).scalar()
        return found


async def _create(tx: Transaction) -> None:
    if tx.dialect == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    await tx.run_sync(lambda connection: migrations.create(connection, checkfirst=True))
    found = (await tx.execute(select(func.max(migrations.c.version)))).scalar()
    if found is not None and found > VERSION:
        raise Misconfigured(
            f"VOXRELAY_SQL: the tables are of version {found}, this release knows {VERSION}; "
            "run the newer release, or restore a backup made before it"
        )
    for version in range((found or 0) + 1, VERSION + 1):
        await _upgrade(tx, version)
        await tx.execute(insert(migrations).values(version=version, applied_at=tx.now))


async def _upgrade(tx: Transaction, version: int) -> None:
    if version == 1:
        await tx.run_sync(lambda connection: metadata.create_all(connection))
    if version == 2:
        await tx.run_sync(lambda connection: halts.create(connection, checkfirst=True))
    if (
        version == 3
    ):  # erasures, accounts, keys of servers, webhooks: tables that were not there before
        await tx.run_sync(lambda connection: metadata.create_all(connection))
        await tx.run_sync(_index_jobs)
    if version == 4:  # uploads, voices, and what people make of jobs that have ended
        await tx.run_sync(lambda connection: metadata.create_all(connection))
    if version == 5:
        await tx.run_sync(lambda connection: positions.create(connection, checkfirst=True))
    if version == 6:  # what lies beside a group's offset
        await tx.run_sync(lambda connection: _widen(connection, positions))


def _widen(connection: Connection, table: Table) -> None:
    """Add the columns that came later than the table, each with a default."""
    there = {column["name"] for column in inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            spelled = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {spelled}"))


def _index_jobs(connection: Connection) -> None:
    """Make the indexes of jobs that came later than the table."""
    for index in jobs.indexes:
        index.create(connection, checkfirst=True)
