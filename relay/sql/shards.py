"""The outbox's rows and who may publish them: leases, numbers, and what is still to go.

Knows the SQL of shards. Refuses to know the log. Everything a holder does checks its lease in the
same transaction: `Fenced` where somebody else has taken the shard.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, ColumnElement, delete, func, insert, or_, select, update

from relay.errors import Fenced
from relay.log.port import Message
from relay.sql.database import Transaction
from relay.sql.schema import outbox, outbox_members, outbox_shards

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
class Batch:
    """Rows to publish, in order, and the position of the last; `full` where more may wait."""

    messages: Sequence[Message]
    position: int
    full: bool


@dataclass(frozen=True, slots=True)
class Attendance:
    """How many owners live, and which shards the asking one still holds."""

    living: int
    held: frozenset[int]


async def prepare(tx: Transaction, shards: Iterable[int]) -> None:
    """Make the shards' rows where they are missing."""
    for shard in shards:
        row = {"shard": shard, "counter": 0, "epoch": 0, "expires_at": _NEVER}
        await tx.insert_absent(outbox_shards, row)


async def put(tx: Transaction, shard: int, message: Message) -> None:
    """Put one message aside; its order among others is that of the commits."""
    headers = [[name, base64.b64encode(value).decode()] for name, value in message.headers]
    await tx.execute(
        insert(outbox).values(
            shard=shard,
            topic=message.topic,
            key=message.key,
            value=message.value,
            headers=headers,
        )
    )


async def attend(tx: Transaction, owner: str, life: timedelta, fed: Iterable[int]) -> Attendance:
    """Say that `owner` lives, and hold the shards that it feeds a life longer.

    Gives back any other that bears its name: a lease taken by a commit of unknown outcome would
    else be held by nobody for ever.
    """
    until = tx.now + life
    await tx.execute(delete(outbox_members).where(_over(outbox_members.c.expires_at, tx, life)))
    if not await tx.insert_absent(outbox_members, {"owner": owner, "expires_at": until}):
        mine = outbox_members.c.owner == owner
        await tx.execute(update(outbox_members).where(mine).values(expires_at=until))
    held = outbox_shards.c.owner == owner
    unfed = outbox_shards.c.shard.not_in(list(fed))
    await tx.execute(update(outbox_shards).where(held, unfed).values(owner=None))
    await tx.execute(update(outbox_shards).where(held).values(expires_at=until))
    living = (await tx.execute(select(func.count()).select_from(outbox_members))).scalar_one()
    rows = await tx.execute(select(outbox_shards.c.shard).where(held))
    return Attendance(int(living), frozenset(rows.scalars()))


async def leave(tx: Transaction, owner: str) -> None:
    """Give back all that `owner` holds, for others to take at once."""
    await tx.execute(delete(outbox_members).where(outbox_members.c.owner == owner))
    await tx.execute(update(outbox_shards).where(outbox_shards.c.owner == owner).values(owner=None))


async def take(tx: Transaction, owner: str, life: timedelta, most: int) -> Sequence[Lease]:
    """Lease at most `most` shards that nobody holds."""
    free = or_(outbox_shards.c.owner.is_(None), _over(outbox_shards.c.expires_at, tx, life))
    query = select(outbox_shards.c.shard, outbox_shards.c.epoch).where(free)
    rows = (await tx.execute(query.order_by(outbox_shards.c.shard).limit(most))).all()
    taken = []
    for row in rows:
        lease = Lease(row.shard, owner, row.epoch + 1, life)
        done = await tx.execute(
            update(outbox_shards)
            .where(outbox_shards.c.shard == row.shard, outbox_shards.c.epoch == row.epoch, free)
            .values(owner=owner, epoch=lease.epoch, expires_at=tx.now + life)
        )
        if done.rowcount == 1:  # else another was quicker
            taken.append(lease)
    return taken


async def release(tx: Transaction, lease: Lease) -> None:
    """Give one shard back; does nothing where it is no longer held."""
    await tx.execute(update(outbox_shards).where(*_held(lease)).values(owner=None))


async def counter(tx: Transaction, lease: Lease) -> int:
    """The last position given in the shard; holds the lease a life longer.

    Locks the shard's row until `tx` ends, so that nobody else numbers meanwhile.
    """
    done = await tx.execute(
        update(outbox_shards).where(*_held(lease)).values(expires_at=tx.now + lease.life)
    )
    if done.rowcount != 1:
        raise Fenced(f"outbox shard {lease.shard} is held by another")
    query = select(outbox_shards.c.counter).where(outbox_shards.c.shard == lease.shard)
    return int((await tx.execute(query)).scalar_one())


async def advance(
    tx: Transaction, lease: Lease, last: int, published: int, limit: int
) -> Batch | None:
    """Forget rows up to `published`, number what was committed since, and read what comes next.

    `last` is what `counter` said in this transaction. None where nothing is left to publish.
    """
    mine = outbox.c.shard == lease.shard
    await tx.execute(delete(outbox).where(mine, outbox.c.position <= published))
    await _number(tx, lease.shard, last)
    query = select(outbox).where(mine, outbox.c.position > published)
    rows = (await tx.execute(query.order_by(outbox.c.position).limit(limit))).all()
    if not rows:
        return None
    messages = [Message(row.topic, row.key, row.value, _headers(row.headers)) for row in rows]
    return Batch(messages, rows[-1].position, len(rows) == limit)


async def waiting(tx: Transaction) -> Sequence[int]:
    """The shards that have something to publish, or to forget."""
    return list((await tx.execute(select(outbox.c.shard).distinct())).scalars())


async def _number(tx: Transaction, shard: int, last: int) -> None:
    fresh = (
        select(outbox.c.id, (last + func.row_number().over(order_by=outbox.c.id)).label("position"))
        .where(outbox.c.shard == shard, outbox.c.position.is_(None))
        .subquery()
    )
    done = await tx.execute(
        update(outbox).where(outbox.c.id == fresh.c.id).values(position=fresh.c.position)
    )
    if done.rowcount:
        await tx.execute(
            update(outbox_shards)
            .where(outbox_shards.c.shard == shard)
            .values(counter=last + done.rowcount)
        )


def _over(until: Column[datetime], tx: Transaction, life: timedelta) -> ColumnElement[bool]:
    return or_(until <= tx.now, until > tx.now + _AHEAD * life)


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        outbox_shards.c.shard == lease.shard,
        outbox_shards.c.owner == lease.owner,
        outbox_shards.c.epoch == lease.epoch,
    )


def _headers(pairs: Sequence[Sequence[str]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, base64.b64decode(value)) for name, value in pairs)
