"""The outbox's rows and who may publish them: leases, numbers, and what is still to go.

Knows the SQL of shards. Refuses to know the log. Everything a holder does checks its lease in the
same transaction (`relay.sql.leases`): `Fenced` where somebody else has taken the shard.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from relay.log.port import Message
from relay.sql.database import Transaction
from relay.sql.leases import Lease, Leases
from relay.sql.schema import outbox, outbox_members, outbox_shards


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to publish, in order, and the position of the last; `full` where more may wait."""

    messages: Sequence[Message]
    position: int
    full: bool


_LEASES = Leases(outbox_shards, outbox_members, "outbox shard")
prepare, attend, leave = _LEASES.prepare, _LEASES.attend, _LEASES.leave
take, release = _LEASES.take, _LEASES.release


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


async def counter(tx: Transaction, lease: Lease) -> int:
    """The last position given in the shard; holds the lease a life longer.

    Locks the shard's row until `tx` ends, so that nobody else numbers meanwhile.
    """
    await _LEASES.hold(tx, lease)
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


async def forgotten(tx: Transaction) -> Mapping[int, int]:
    """Per shard the position up to which its rows are forgotten, so they had been published."""
    last = {row.shard: row.counter for row in await tx.execute(select(outbox_shards))}
    query = select(outbox.c.shard, (func.min(outbox.c.position) - 1).label("before"))
    kept = query.where(outbox.c.position.is_not(None)).group_by(outbox.c.shard)
    return last | {row.shard: row.before for row in await tx.execute(kept)}


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


def _headers(pairs: Sequence[Sequence[str]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, base64.b64decode(value)) for name, value in pairs)
