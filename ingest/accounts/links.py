"""Links that sign somebody in once: how the first operator gets in.

Knows rows and how long a link is good. Refuses to know who prints it.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import insert, select, update

from ingest.accounts.roles import Role
from ingest.problems import Problem
from relay.sql.database import Transaction
from relay.sql.schema import accounts, sign_in_links

LIFE = timedelta(hours=1)
OPERATOR = "operator"
"""The name of the person that the first link signs in."""


async def make(tx: Transaction, person: UUID) -> str:
    """What the link of `person` bears; it is good once, for an hour."""
    code = secrets.token_urlsafe(32)
    row = {"hash": _hash(code), "person": person, "expires_at": tx.now + LIFE}
    await tx.execute(insert(sign_in_links).values(row))
    return code


async def use(tx: Transaction, code: str) -> tuple[UUID, Role]:
    """Whom a link signs in, and as what.

    `Problem` (`sign_in_link_invalid`) where it is no good, or not any more.
    """
    mine = sign_in_links.c.hash == _hash(code)
    good = (mine, sign_in_links.c.used_at.is_(None), sign_in_links.c.expires_at > tx.now)
    used = await tx.execute(update(sign_in_links).where(*good).values(used_at=tx.now))
    if used.rowcount != 1:
        raise Problem("sign_in_link_invalid")
    person = (await tx.execute(select(sign_in_links.c.person).where(mine))).scalar_one()
    role = (await tx.execute(select(accounts.c.role).where(accounts.c.person == person))).scalar()
    if role is None:
        raise Problem("sign_in_link_invalid")
    return person, Role(role)


async def first(tx: Transaction, person: UUID) -> str | None:
    """The link of the first operator, `person`; None where there has been one."""
    row = {"person": person, "role": Role.OPERATOR.value, "sealed": {}, "created_at": tx.now}
    return await make(tx, person) if await tx.insert_absent(accounts, row) else None


def spelled(base: str, code: str) -> str:
    """The link itself. What stands behind # is sent to no server and lands in no log of one."""
    return f"{base.rstrip('/')}/#sign-in={code}"


def _hash(code: str) -> bytes:
    return sha256(code.encode()).digest()
