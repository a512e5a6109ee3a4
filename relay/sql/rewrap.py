"""Wrapping every key anew, under another master key, while the relay works.

Knows the order: first the one row that says which master is in use, so that whatever comes from
then on is wrapped by the new one; then the rest, some at a time. A tombstone stays one.
Twice, or after a death in the middle, it does what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, func, select, update

from relay.sql.database import Database, Transaction
from relay.sql.keys import ADDRESS, key_row, secret_row
from relay.sql.master import MasterKey
from relay.sql.schema import person_keys, secrets

_PAGE = 500


async def rewrap(database: Database, old: MasterKey, new: MasterKey) -> int:
    """Let `new` wrap what `old` did; how many keys and secrets that were."""

    async def some(tx: Transaction) -> int:
        """The first of what is left: secrets before keys, and of those the one that tells."""
        if count := await _page(tx, secrets, secrets.c.name == ADDRESS, _secret, old, new):
            return count
        if count := await _page(tx, secrets, secrets.c.name != ADDRESS, _secret, old, new):
            return count
        return await _page(tx, person_keys, person_keys.c.wrapped.is_not(None), _key, old, new)

    done = 0
    while count := await database.run(some):
        done += count
    return done


async def wrapped_by(database: Database) -> dict[str, int]:
    """How many keys and secrets each master wraps, by its id."""
    found = dict[str, int]()
    async with database.reading() as tx:
        for table in (person_keys, secrets):
            query = select(table.c.master, func.count()).where(table.c.master.is_not(None))
            for master, count in await tx.execute(query.group_by(table.c.master)):
                found[master] = found.get(master, 0) + count
    return found


async def _page(
    tx: Transaction,
    table: Table,
    which: ColumnElement[bool],
    name: Callable[[Row[Any]], str],
    old: MasterKey,
    new: MasterKey,
) -> int:
    query = select(table).where(which, table.c.master == old.id).limit(_PAGE)
    rows = (await tx.execute(query.with_for_update())).all()
    id_ = table.primary_key.columns[0]
    for row in rows:
        bound = name(row)
        fresh = {"wrapped": new.wrap(bound, old.unwrap(bound, row.wrapped)), "master": new.id}
        await tx.execute(update(table).where(id_ == row[0]).values(fresh))
    return len(rows)


def _secret(row: Row[Any]) -> str:
    return secret_row(row.name)


def _key(row: Row[Any]) -> str:
    return key_row(row.person)
