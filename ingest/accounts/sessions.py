"""Sessions: begun by signing in, kept alive by refresh tokens, ended by anybody who may.

Knows rows. A refresh token is good once; one that comes a second time was stolen, or its thief came
first, so the session ends. Refuses to know how somebody proved who they are.
Source: RFC 9700, 4.14 (refresh token rotation).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, insert, select, update

from ingest.accounts.roles import Role
from ingest.accounts.secrets import Handed, fresh, read
from ingest.problems import Problem
from relay.sql.database import Transaction
from relay.sql.schema import sessions

GRACE = timedelta(seconds=60)
"""How long the former refresh token is taken still: a phone may lose the answer with the next."""
PREFIX = "vrr_"


@dataclass(frozen=True, slots=True)
class Session:
    """A session that stands, and the refresh token that was just made for it."""

    id: UUID
    person: UUID
    role: Role
    refresh: Handed
    expires_at: datetime


async def begin(tx: Transaction, person: UUID, role: Role, life: timedelta) -> Session:
    """A new session of `person`."""
    id_ = uuid4()
    handed = fresh(id_.hex)
    row = {
        "id": id_,
        "person": person,
        "role": role.value,
        "refresh": handed.hash,
        "refreshed_at": tx.now,
        "expires_at": tx.now + life,
    }
    await tx.execute(insert(sessions).values(row))
    return Session(id_, person, role, handed, tx.now + life)


async def renew(tx: Transaction, text: str, life: timedelta) -> Session | None:
    """The session of a refresh token, with another one; None where it ends just now.

    The latter is to be committed, and refused after that. `Problem` (`refresh_invalid`) where the
    token is none of a session that stands.
    """
    given = read(text, PREFIX)
    row = await _standing(tx, given)
    if given is None or row is None:
        raise Problem("refresh_invalid")
    if not _good(given, row, tx.now):
        if given.matches(row.former):
            await _revoke(tx, sessions.c.id == row.id)
            return None
        raise Problem("refresh_invalid")
    handed = fresh(row.id.hex)
    now = {
        "refresh": handed.hash,
        "former": given.hash,
        "refreshed_at": tx.now,
        "expires_at": tx.now + life,
    }
    await tx.execute(update(sessions).where(sessions.c.id == row.id).values(now))
    return Session(row.id, row.person, Role(row.role), handed, tx.now + life)


async def stands(tx: Transaction, session: UUID, person: UUID) -> bool:
    """Whether the session was neither ended nor left to expire."""
    query = select(sessions.c.id).where(
        sessions.c.id == session,
        sessions.c.person == person,
        sessions.c.revoked_at.is_(None),
        sessions.c.expires_at > tx.now,
    )
    return (await tx.execute(query)).scalar() is not None


async def end(tx: Transaction, session: UUID) -> None:
    """End one session: its tokens are refused from the next request on."""
    await _revoke(tx, sessions.c.id == session)


async def end_all(tx: Transaction, person: UUID) -> int:
    """End every session of `person`; how many stood."""
    return await _revoke(tx, sessions.c.person == person)


async def _standing(tx: Transaction, given: Handed | None) -> Row[Any] | None:
    """The row of the session that a refresh token names, locked; None where it does not stand."""
    try:
        id_ = UUID(given.id) if given else None
    except ValueError:
        return None
    lives = (sessions.c.id == id_, sessions.c.revoked_at.is_(None), sessions.c.expires_at > tx.now)
    return (await tx.execute(select(sessions).where(*lives).with_for_update())).one_or_none()


def _good(given: Handed, row: Row[Any], now: datetime) -> bool:
    lately = abs(now - row.refreshed_at) <= GRACE
    return given.matches(row.refresh) or (lately and given.matches(row.former))


async def _revoke(tx: Transaction, which: Any) -> int:
    done = await tx.execute(
        update(sessions).where(which, sessions.c.revoked_at.is_(None)).values(revoked_at=tx.now)
    )
    return done.rowcount
