"""Figures in PostgreSQL, beside the relay's own tables: counted by any number of processes.

Knows SQL, and that partitions are leased (`relay.sql.leases`). Each transaction that counts holds
the leases of what it counts, so a process that was taken for dead, and comes back, writes nothing.
Refuses to know what is counted.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)

from analytics.definitions import VERSION, Figure
from analytics.rows import Row, Size, Step, Where, after, read, steps, summed, taken, written
from analytics.shelf.port import Held
from relay.errors import Fenced, Misconfigured
from relay.log.port import Place, Record
from relay.sql.database import Database, Transaction
from relay.sql.leases import Lease, Leases
from relay.sql.setup import permitted
from relay.sql.types import Instant

LIFE = timedelta(seconds=10)
"""How long partitions wait for whoever counted them and died."""
_LOCK = 0x666967  # 'fig': the advisory lock under which one process makes the tables

_metadata = MetaData()
_version = Table("figures_version", _metadata, Column("version", Integer, primary_key=True))
_rows = Table(
    "figures_rows",
    _metadata,
    Column("topic", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("size", String(8), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("start", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_figures_rows_size_start", "size", "start"),
)
_positions = Table(
    "figures_positions",
    _metadata,
    Column("topic", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)
_shares = Table(
    "figures_shares",
    _metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(64)),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
)
_members = Table(
    "figures_members",
    _metadata,
    Column("owner", String(64), primary_key=True),
    Column("expires_at", Instant, nullable=False),
)
_LEASES = Leases(_shares, _members, "counting of partition")


async def open_tables(database: Database, life: timedelta | None = None) -> TableShelf:
    """The figures in `database`, empty where there are none or where others were counted there.

    `Misconfigured` where a newer release counts there, or tables may not be made.
    """
    with permitted():
        await database.run(_prepare)
    return TableShelf(database, life or LIFE)


class TableShelf:
    """The figures of an open database, and our leases there."""

    def __init__(self, database: Database, life: timedelta) -> None:
        self._database, self._life = database, life
        self._owner = secrets.token_hex(8)
        self._one = asyncio.Lock()  # both ways to hold a lease lock its row

    async def share(self, partitions: int, held: Held) -> Held:
        """As many partitions as fall to each of those who count."""
        async with self._one:
            return await self._database.run(lambda tx: self._share(tx, partitions, held))

    async def leave(self) -> None:
        """Give back all we hold."""
        await self._database.run(lambda tx: _LEASES.leave(tx, self._owner))

    async def positions(self) -> dict[Place, int]:
        """Per partition the offset of the next record to be counted."""
        async with self._database.reading() as tx:
            found = (await tx.execute(select(_positions))).all()
        return {(row.topic, row.partition): row.next for row in found}

    async def take(self, records: Sequence[Record], held: Held) -> None:
        """Count `records` and move on, if all their partitions are `held`."""
        leases = self._leases(sorted({record.partition for record in records}), held)
        counted = await asyncio.to_thread(lambda: list(steps(records)))

        async def work(tx: Transaction) -> None:
            await _LEASES.hold(tx, *leases)
            before = await _found(tx, {step.where for step in counted})
            await _put(tx, await asyncio.to_thread(_grow, before, counted))
            await _move(tx, after(records))

        async with self._one:
            await self._database.run(work)

    async def rows(self, size: Size, since: int = 0) -> list[Row]:
        """Rows of that size, of all partitions, whose windows begin at `since` or later."""
        query = select(_rows.c.body).where(_rows.c.size == size, _rows.c.start >= since)
        async with self._database.reading() as tx:
            bodies = (await tx.execute(query)).scalars().all()
        return await asyncio.to_thread(lambda: [read(body) for body in bodies])

    async def total(self, size: Size, since: int = 0) -> Counter[Figure]:
        """The sum of those rows."""
        async with self._database.reading() as tx:
            found = (await tx.execute(_SUM, {"size": size.value, "since": since})).all()
        return summed((row.key, row.amount) for row in found)

    async def all(self) -> dict[Where, Row]:
        """Everything, for a comparison."""
        async with self._database.reading() as tx:
            found = (await tx.execute(select(_rows))).all()
        return {_where(row): read(row.body) for row in found}

    async def _share(self, tx: Transaction, partitions: int, held: Held) -> Held:
        await _known(tx)
        await _LEASES.prepare(tx, range(partitions))
        here = await _LEASES.attend(tx, self._owner, self._life, held)
        ours = {number: epoch for number, epoch in held.items() if number in here.held}
        lacking = -(-partitions // here.living) - len(ours)
        for lease in self._leases(sorted(ours)[lacking:], ours) if lacking < 0 else ():
            await _LEASES.release(tx, lease)
            del ours[lease.shard]
        if lacking > 0:
            for lease in await _LEASES.take(tx, self._owner, self._life, lacking):
                ours[lease.shard] = lease.epoch
        return ours

    def _leases(self, numbers: Sequence[int], held: Held) -> list[Lease]:
        if missing := [number for number in numbers if number not in held]:
            raise Fenced(f"partitions {missing} are not ours to count")
        return [Lease(number, self._owner, held[number], self._life) for number in numbers]


async def _prepare(tx: Transaction) -> None:
    await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    await tx.run_sync(lambda connection: _version.create(connection, checkfirst=True))
    if await _known(tx) == VERSION:
        return
    await tx.run_sync(_metadata.drop_all)
    await tx.run_sync(_metadata.create_all)
    await tx.execute(insert(_version).values(version=VERSION))


async def _known(tx: Transaction) -> int | None:
    """Version of the figures; `Misconfigured` where a newer release counts them."""
    found: int | None = (await tx.execute(select(_version.c.version))).scalar()
    if found is not None and found > VERSION:
        raise Misconfigured(
            f"VOXRELAY_SQL: the figures there are of version {found}, this release counts version "
            f"{VERSION}; run the newer release, or drop the table figures_version to count anew"
        )
    return found


def _grow(before: Sequence[Any], counted: Sequence[Step]) -> dict[Where, Row]:
    return taken({_where(row): read(row.body) for row in before}, counted)


def _where(row: Any) -> Where:
    return Where(row.topic, row.partition, Size(row.size), row.slot)


async def _found(tx: Transaction, wanted: Collection[Where]) -> Sequence[Any]:
    return (await tx.execute(_FIND, _keys(list(wanted)))).all()


async def _put(tx: Transaction, rows: Mapping[Where, Row]) -> None:
    values = {
        **_keys(list(rows)),
        "starts": [row.start for row in rows.values()],
        "lasts": [row.last for row in rows.values()],
        "bodies": [written(row) for row in rows.values()],
    }
    await tx.execute(_PUT, values)


async def _move(tx: Transaction, next_: Mapping[Place, int]) -> None:
    values = {
        "topics": [topic for topic, _ in next_],
        "partitions": [number for _, number in next_],
        "nexts": list(next_.values()),
    }
    await tx.execute(_MOVE, values)


def _keys(places: Sequence[Where]) -> dict[str, list[Any]]:
    return {
        "topics": [where.topic for where in places],
        "partitions": [where.partition for where in places],
        "sizes": [where.size.value for where in places],
        "slots": [where.slot for where in places],
    }


_SUM = text("""
select figure.key, sum(cast(figure.value as bigint)) as amount
from figures_rows, json_each_text(cast(body as json) -> 'figures') as figure
where size = :size and start >= :since group by figure.key
""")

# A statement each, however many rows: the values go as arrays.
_FIND = text("""
select r.topic, r.partition, r.size, r.slot, r.body from figures_rows r
join unnest(
    cast(:topics as text[]), cast(:partitions as int[]), cast(:sizes as text[]),
    cast(:slots as int[])
) as w (topic, partition, size, slot) using (topic, partition, size, slot)
""")
_PUT = text("""
insert into figures_rows
select * from unnest(
    cast(:topics as text[]), cast(:partitions as int[]), cast(:sizes as text[]),
    cast(:slots as int[]), cast(:starts as bigint[]), cast(:lasts as bigint[]),
    cast(:bodies as text[])
)
on conflict (topic, partition, size, slot) do update
set start = excluded.start, last = excluded.last, body = excluded.body
""")
_MOVE = text("""
insert into figures_positions
select * from unnest(
    cast(:topics as text[]), cast(:partitions as int[]), cast(:nexts as bigint[])
)
on conflict (topic, partition) do update
set next = greatest(figures_positions.next, excluded.next)
""")
