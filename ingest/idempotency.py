"""Sending twice: what came of a request is found again under its key, for a day.

Knows the row, and that two at once are settled by its lock. Refuses to know what was asked for: it
compares a digest, which tells nobody what was said.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, update

from ingest.problems import Problem
from relay.keys import PersonKey
from relay.sql.database import Transaction
from relay.sql.schema import idempotency

KEY_LIFE = timedelta(hours=24)


def digest_of(content: Mapping[str, Any], key: PersonKey) -> bytes:
    """Of decoded content, under its person's key."""
    said = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hmac.new(key.recipe_key, said.encode(), sha256).digest()


async def claim(
    tx: Transaction, person: UUID, key: str, digest: bytes, ids: Sequence[UUID]
) -> Sequence[UUID] | None:
    """Take `key` for what is about to be made under `ids`; or the ids that have it already.

    `Problem` (`idempotency_key_reused`) where that was other content. Two at once are settled by
    the row's lock: the second waits until the first has committed.
    """
    made = [str(each) for each in ids]
    row = {"person": person, "key": key, "digest": digest, "jobs": made, "created_at": tx.now}
    if await tx.insert_absent(idempotency, row):
        return None
    found = await claimed(tx, person, key, lock=True)
    if found is None:
        mine = (idempotency.c.person == person, idempotency.c.key == key)
        fresh = {name: row[name] for name in ("digest", "jobs", "created_at")}
        await tx.execute(update(idempotency).where(*mine).values(fresh))
        return None
    agree(found, digest)
    return [UUID(each) for each in found.jobs]


def agree(row: Row[Any], digest: bytes) -> None:
    """`Problem` (`idempotency_key_reused`) where the key in `row` stands for other content."""
    if not hmac.compare_digest(row.digest, digest):
        raise Problem("idempotency_key_reused")


async def claimed(
    tx: Transaction, person: UUID, key: str, *, lock: bool = False
) -> Row[Any] | None:
    """The row of `key`; None where there is none or it is too old."""
    query = select(idempotency).where(idempotency.c.person == person, idempotency.c.key == key)
    found = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if found is None or found.created_at + KEY_LIFE <= tx.now else found
