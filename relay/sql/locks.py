"""Locks that last as long as a transaction.

Knows what stands for a person. Refuses to know why somebody must be alone with one.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select

from relay.sql.database import Transaction

_POSITIVE = 0x7FFF_FFFF_FFFF_FFFF


async def hold_person(tx: Transaction, person: UUID) -> None:
    """Let others who hold the same person wait until `tx` ends; SQLite has one writer anyway."""
    if tx.dialect == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(person.int & _POSITIVE)))
