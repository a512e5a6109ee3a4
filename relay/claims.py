"""Ending something that waits: whoever is first writes down a claim, and only the first acts.

Knows what can wait: a held prompt (by its event's id) and a dead letter (by its place). Refuses to
know who waits for what. The claim and what follows from it stand in one SQL transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

from sqlalchemy import select

from relay.log.port import Record
from relay.sql.database import Transaction
from relay.sql.schema import claims

_LETTERS = UUID("5f0d4f52-7f0b-5f0e-9d0c-6d1f6b1f0c11")


def letter_id(record: Record) -> UUID:
    """The id of a dead letter: its place, so that a record that dies twice is two letters."""
    return uuid5(_LETTERS, f"{record.topic}/{record.partition}/{record.offset}")


async def claim(tx: Transaction, waiting: UUID, by: str) -> bool:
    """True if nobody had claimed `waiting`; then `tx` may end it, and nobody else will.

    Of two at a time the second waits for the first's commit, and then loses.
    """
    return await tx.insert_absent(claims, {"waiting": waiting, "by": by, "at": tx.now})


async def claimed(tx: Transaction, waiting: UUID) -> bool:
    """Whether somebody has claimed `waiting`."""
    return bool(await claimed_of(tx, [waiting]))


async def claimed_of(tx: Transaction, waiting: Sequence[UUID]) -> frozenset[UUID]:
    """Those of `waiting` that somebody has claimed."""
    found = await tx.execute(select(claims.c.waiting).where(claims.c.waiting.in_(waiting)))
    return frozenset(found.scalars())
