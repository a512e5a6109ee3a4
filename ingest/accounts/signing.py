"""The keys that sign access tokens: the newest signs, those before verify until they end.

Knows that gateways share them, and reads them anew every few seconds. Refuses to know tokens. A
key's bytes are a secret of the site like others, so they are wrapped as those are.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from sqlalchemy import func, or_, select, update

from relay.sql.database import Database, Transaction
from relay.sql.schema import token_keys

FRESH = 5.0
"""Seconds after which a gateway looks which keys there are: as long a retired one may still work
where it was retired at once."""


class Secrets(Protocol):
    """Where secrets of the site lie; `relay.sql.keys` is one."""

    async def secret(self, name: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys that verify, by id, and which of them signs."""

    keys: Mapping[str, bytes]
    signs: str


class Signing:
    """The keys as this process knows them."""

    def __init__(self, database: Database, store: Secrets) -> None:
        self._database, self._store = database, store
        self._ring: Ring | None = None
        self._until = 0.0

    async def ring(self) -> Ring:
        """The keys; the first is made where there is none."""
        if self._ring is None or time.monotonic() >= self._until:
            kids = await self._kids()
            if not kids:
                await self._database.run(_first)
                kids = await self._kids()
            self._ring = Ring({kid: await self._store.secret(_name(kid)) for kid in kids}, kids[0])
            self._until = time.monotonic() + FRESH
        return self._ring

    async def _kids(self) -> list[str]:
        async with self._database.reading() as tx:
            return await _living(tx)


async def rotate(tx: Transaction, overlap: timedelta) -> str:
    """A new key signs from now on; those before end after `overlap`. Returns the new one's id."""
    ends = tx.now + overlap
    later = or_(token_keys.c.ends_at.is_(None), token_keys.c.ends_at > ends)
    await tx.execute(update(token_keys).where(later).values(ends_at=ends))
    return await _add(tx)


async def _first(tx: Transaction) -> None:
    """A key where none lives; of several who start at once each finds the same.

    Which number it would have is asked before: so a key that comes in between is either seen, or
    has that number.
    """
    number = await _next(tx)
    if not await _living(tx):
        await _put(tx, number)


async def _add(tx: Transaction) -> str:
    """The id of the key after the last; of two who add it at once the first is right for both."""
    return await _put(tx, await _next(tx))


async def _next(tx: Transaction) -> int:
    last: int | None = (await tx.execute(select(func.max(token_keys.c.number)))).scalar()
    return (last or 0) + 1


async def _put(tx: Transaction, number: int) -> str:
    row = {"kid": secrets.token_hex(8), "number": number, "created_at": tx.now}
    await tx.insert_absent(token_keys, row)
    query = select(token_keys.c.kid).where(token_keys.c.number == number)
    return str((await tx.execute(query)).scalar_one())


async def _living(tx: Transaction) -> list[str]:
    """Ids of the keys that have not ended, the newest first."""
    lives = or_(token_keys.c.ends_at.is_(None), token_keys.c.ends_at > tx.now)
    query = select(token_keys.c.kid).where(lives).order_by(token_keys.c.number.desc())
    return list((await tx.execute(query)).scalars())


def _name(kid: str) -> str:
    return f"token key {kid}"
