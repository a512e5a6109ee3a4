"""Leases: which process holds which shard of some work, and that a former holder does no harm.

Knows the SQL of two tables: shards (`shard`, `owner`, `epoch`, `expires_at`) and the members that
share them (`owner`, `expires_at`). Refuses to know what the work is. Whoever holds a shard calls
`hold` in each transaction that writes for it: `Fenced` where somebody else has taken it. A process
that freezes in such a transaction is cut off from the database after a life, or its locks would
keep everybody from its shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, ColumnElement, Table, delete, func, or_, select, update

from relay.errors import Fenced
from relay.sql.database import Transaction

_AHEAD = 2
"""Lives. A lease that ends later than so many from now was written before a clock was put back."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard held; `epoch` tells this holding from every other."""

    shard: int
    owner: str
    epoch: int
    life: timedelta


@dataclass(frozen=True, slots=True)
class Attendance:
    """How many owners live, and which shards the asking one still holds."""

    living: int
    held: frozenset[int]


class Leases:
    """The leases in two tables; `what` names a shard in errors."""

    def __init__(self, shards: Table, members: Table, what: str) -> None:
        self._shards, self._members, self._what = shards, members, what

    async def prepare(self, tx: Transaction, shards: Iterable[int]) -> None:
        """Make the shards' rows where they are missing."""
        rows = [{"shard": shard, "epoch": 0, "expires_at": _NEVER} for shard in shards]
        await tx.insert_absent_many(self._shards, rows)

    async def attend(
        self, tx: Transaction, owner: str, life: timedelta, fed: Iterable[int]
    ) -> Attendance:
        """Say that `owner` lives, and hold the shards that it feeds a life longer.

        Gives back any other that bears its name: a lease taken by a commit of unknown outcome would
        else be held by nobody for ever.
        """
        await _bound(tx, life)
        shards, members, until = self._shards, self._members, tx.now + life
        await tx.execute(delete(members).where(_over(members.c.expires_at, tx, life)))
        if not await tx.insert_absent(members, {"owner": owner, "expires_at": until}):
            mine = members.c.owner == owner
            await tx.execute(update(members).where(mine).values(expires_at=until))
        held = shards.c.owner == owner
        unfed = shards.c.shard.not_in(list(fed))
        await tx.execute(update(shards).where(held, unfed).values(owner=None))
        await tx.execute(update(shards).where(held).values(expires_at=until))
        living = (await tx.execute(select(func.count()).select_from(members))).scalar_one()
        rows = await tx.execute(select(shards.c.shard).where(held))
        return Attendance(int(living), frozenset(rows.scalars()))

    async def leave(self, tx: Transaction, owner: str) -> None:
        """Give back all that `owner` holds, for others to take at once."""
        shards, members = self._shards, self._members
        await tx.execute(delete(members).where(members.c.owner == owner))
        await tx.execute(update(shards).where(shards.c.owner == owner).values(owner=None))

    async def take(
        self, tx: Transaction, owner: str, life: timedelta, most: int
    ) -> Sequence[Lease]:
        """Lease at most `most` shards that nobody holds."""
        await _bound(tx, life)
        shards = self._shards
        free = or_(shards.c.owner.is_(None), _over(shards.c.expires_at, tx, life))
        query = select(shards.c.shard, shards.c.epoch).where(free)
        query = query.order_by(shards.c.shard).limit(most).with_for_update(skip_locked=True)
        rows = (await tx.execute(query)).all()
        taken = []
        for row in rows:
            lease = Lease(row.shard, owner, row.epoch + 1, life)
            done = await tx.execute(
                update(shards)
                .where(shards.c.shard == row.shard, shards.c.epoch == row.epoch, free)
                .values(owner=owner, epoch=lease.epoch, expires_at=tx.now + life)
            )
            if done.rowcount == 1:  # else another was quicker
                taken.append(lease)
        return taken

    async def release(self, tx: Transaction, lease: Lease) -> None:
        """Give one shard back; does nothing where it is no longer held."""
        await tx.execute(update(self._shards).where(*self._held(lease)).values(owner=None))

    async def hold(self, tx: Transaction, *leases: Lease) -> None:
        """Hold shards a life longer, and lock their rows until `tx` ends; `Fenced` if one is lost.

        Whatever else `tx` writes is written by their holder, or not at all.
        """
        for n, lease in enumerate(leases):
            if n == 0:
                await _bound(tx, lease.life)
            done = await tx.execute(
                update(self._shards)
                .where(*self._held(lease))
                .values(expires_at=tx.now + lease.life)
            )
            if done.rowcount != 1:
                raise Fenced(f"{self._what} {lease.shard} is held by another")

    def _held(self, lease: Lease) -> tuple[ColumnElement[bool], ...]:
        shards = self._shards.c
        return (
            shards.shard == lease.shard,
            shards.owner == lease.owner,
            shards.epoch == lease.epoch,
        )


def _over(until: Column[datetime], tx: Transaction, life: timedelta) -> ColumnElement[bool]:
    return or_(until <= tx.now, until > tx.now + _AHEAD * life)


async def _bound(tx: Transaction, life: timedelta) -> None:
    if tx.dialect == "postgresql":
        ms = str(round(life.total_seconds() * 1000))
        await tx.execute(select(func.set_config("idle_in_transaction_session_timeout", ms, True)))
