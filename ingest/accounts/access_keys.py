"""Keys of servers: made by an operator, shown once, kept as a hash, limited, revoked.

Knows rows and the spelling of a key. Refuses to know doors.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, insert, select, update

from ingest.accounts.roles import SCOPES, Role, Scope
from ingest.accounts.secrets import Handed, fresh, read
from ingest.problems import Problem
from relay.sql.database import Transaction
from relay.sql.schema import access_keys, persons

PREFIX = "vrk_"
"""So that a key in a file is known for one, by people and by scanners."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key, without what proves it."""

    id: str
    person: UUID
    name: str
    role: Role
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    """Fields of `ingest.quota.Allowance` that are its own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a key is to be. No `scopes`: all that its role has. No `person`: a new one."""

    name: str
    role: Role = Role.USER
    scopes: frozenset[Scope] | None = None
    person: UUID | None = None
    life: timedelta | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


async def create(tx: Transaction, wanted: Wanted) -> tuple[AccessKey, Handed]:
    """A new key, and what is to be shown of it once.

    `Problem`: `scope_beyond_role`, where the role has not all of the scopes; `person_unknown`.
    """
    scopes = SCOPES[wanted.role] if wanted.scopes is None else wanted.scopes
    if scopes - SCOPES[wanted.role]:
        raise Problem("scope_beyond_role", role=wanted.role.value)
    key = AccessKey(
        id=secrets.token_hex(8),
        person=await _person(tx, wanted.person),
        name=wanted.name,
        role=wanted.role,
        scopes=scopes,
        created_at=tx.now,
        expires_at=None if wanted.life is None else tx.now + wanted.life,
        limits=dict(wanted.limits),
    )
    handed = fresh(key.id)
    row = {name: getattr(key, name) for name in AccessKey.__dataclass_fields__}
    row |= {"role": key.role.value, "scopes": sorted(scopes), "hash": handed.hash}
    await tx.execute(insert(access_keys).values(row))
    return key, handed


async def find(tx: Transaction, text: str) -> AccessKey:
    """The key that `text` spells; `Problem` (`key_invalid`, `key_revoked`, `key_expired`)."""
    given = read(text, PREFIX)
    if given is None:
        raise Problem("key_invalid")
    query = select(access_keys).where(access_keys.c.id == given.id)
    row = (await tx.execute(query)).one_or_none()
    if row is None or not given.matches(row.hash):
        raise Problem("key_invalid")
    key = _key(row)
    if key.revoked_at is not None:
        raise Problem("key_revoked")
    if key.expires_at is not None and key.expires_at <= tx.now:
        raise Problem("key_expired")
    return key


async def listed(tx: Transaction) -> Sequence[AccessKey]:
    """Every key there ever was, the newest first."""
    query = select(access_keys).order_by(access_keys.c.created_at.desc(), access_keys.c.id)
    return [_key(row) for row in await tx.execute(query)]


async def revoke(tx: Transaction, id_: str) -> bool:
    """End a key, from the next request on; False where there is none, or it had ended."""
    done = await tx.execute(
        update(access_keys)
        .where(access_keys.c.id == id_, access_keys.c.revoked_at.is_(None))
        .values(revoked_at=tx.now)
    )
    return done.rowcount == 1


async def _person(tx: Transaction, wanted: UUID | None) -> UUID:
    if wanted is None:
        person = uuid4()
        await tx.execute(insert(persons).values(id=person, created_at=tx.now))
        return person
    if (await tx.execute(select(persons.c.id).where(persons.c.id == wanted))).scalar() is None:
        raise Problem("person_unknown")
    return wanted


def _key(row: Row[Any]) -> AccessKey:
    return AccessKey(
        id=row.id,
        person=row.person,
        name=row.name,
        role=Role(row.role),
        scopes=frozenset(map(Scope, row.scopes)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        limits=row.limits,
    )
