"""Who else may use a saved voice: a person by name, or whoever first shows a code.

Knows rows; a code is kept as a hash, is good once, and for a week. Of a share that is over one row
stays for each person, so that they are told so. Refuses to know HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, not_, or_, select, update

from ingest.accounts.secrets import fresh, read
from ingest.problems import Problem
from ingest.voices import VoiceScope, owned
from relay.sql.database import Database, Transaction
from relay.sql.schema import person_keys, persons, voice_shares, voices

MOST = 50
"""Shares of one voice."""
PREFIX = "vrv_"
CODE_LIFE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Share:
    """That somebody may use a voice. No `person`: nobody has shown the code yet."""

    id: UUID
    person: UUID | None
    scopes: Sequence[VoiceScope]
    created_at: datetime
    expires_at: datetime | None


class Shares:
    """The shares of one site's voices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        owner: UUID,
        voice: UUID,
        person: UUID | None,
        scopes: frozenset[VoiceScope],
        life: timedelta | None,
    ) -> tuple[Share, str | None]:
        """Let `person` use it; without one, the code that lets in whoever shows it first.

        `Problem`: `voice_unknown`, `voice_of_another`, `voice_revoked`, `person_unknown`,
        `shares_exceeded`.
        """
        id_ = uuid4()
        handed = fresh(str(id_)) if person is None else None

        async def work(tx: Transaction) -> Share:
            await owned(tx, owner, voice)
            await _tidy(tx, voice, person)
            await _room(tx, voice)
            if person is not None:
                await _known(tx, person)
            until = None if life is None else tx.now + life
            share = Share(id_, person, sorted(scopes), tx.now, until)
            row = {name: getattr(share, name) for name in Share.__dataclass_fields__}
            row |= {"voice": voice, "hash": handed.hash if handed else None}
            await tx.execute(insert(voice_shares).values(row))
            return share

        share = await self._database.run(work)
        return share, handed.spelled(PREFIX) if handed else None

    async def all(self, owner: UUID, voice: UUID) -> Sequence[Share]:
        """Who may use the owner's voice."""
        async with self._database.reading() as tx:
            await owned(tx, owner, voice)
            query = select(voice_shares).where(voice_shares.c.voice == voice, _living(tx.now))
            rows = await tx.execute(query.order_by(voice_shares.c.created_at))
            return [_share(row) for row in rows]

    async def remove(self, owner: UUID, voice: UUID, share: UUID) -> None:
        """From the next job on they may not; `Problem` (`share_unknown`)."""

        async def work(tx: Transaction) -> None:
            await owned(tx, owner, voice, revoked=True)
            mine = (voice_shares.c.id == share, voice_shares.c.voice == voice, _living(tx.now))
            query = select(voice_shares).where(*mine).with_for_update()
            if (row := (await tx.execute(query)).one_or_none()) is None:
                raise Problem("share_unknown")
            await _tidy(tx, voice, row.person)
            over = update(voice_shares).where(voice_shares.c.id == share)
            await tx.execute(over.values(expires_at=tx.now))

        await self._database.run(work)

    async def accept(self, person: UUID, code: str) -> UUID:
        """The voice that `code` lets `person` use from now on.

        A second time under the same person it is the same; else `Problem` (`share_code_invalid`).
        """
        return await self._database.run(lambda tx: _accept(tx, person, code))


async def _accept(tx: Transaction, person: UUID, code: str) -> UUID:
    given = read(code, PREFIX)
    id_ = None if given is None else _id(given.id)
    query = select(voice_shares).where(voice_shares.c.id == id_).with_for_update()
    row = None if id_ is None else (await tx.execute(query)).one_or_none()
    if row is None or given is None or not given.matches(row.hash):
        raise Problem("share_code_invalid")
    over = row.expires_at is not None and row.expires_at <= tx.now
    late = row.person is None and row.created_at + CODE_LIFE <= tx.now
    if over or late or row.person not in (None, person):
        raise Problem("share_code_invalid")
    voice = (await tx.execute(select(voices).where(voices.c.id == row.voice))).one()
    if voice.revoked_at is not None:
        raise Problem("voice_revoked")
    await tx.execute(update(voice_shares).where(voice_shares.c.id == id_).values(person=person))
    found: UUID = row.voice
    return found


def _living(now: datetime) -> ColumnElement[bool]:
    """Shares that somebody may use, and codes that somebody may still show."""
    until = or_(voice_shares.c.expires_at.is_(None), voice_shares.c.expires_at > now)
    good = or_(voice_shares.c.person.is_not(None), voice_shares.c.created_at > now - CODE_LIFE)
    return and_(until, good)


async def _tidy(tx: Transaction, voice: UUID, person: UUID | None) -> None:
    """Forget what is over: codes that nobody showed, and what `person` had."""
    theirs = or_(voice_shares.c.person.is_(None), voice_shares.c.person == person)
    over = (voice_shares.c.voice == voice, theirs, not_(_living(tx.now)))
    await tx.execute(delete(voice_shares).where(*over))


async def _room(tx: Transaction, voice: UUID) -> None:
    living = (voice_shares.c.voice == voice, _living(tx.now))
    query = select(func.count()).select_from(voice_shares).where(*living)
    if (await tx.execute(query)).scalar_one() >= MOST:
        raise Problem("shares_exceeded", limit=MOST)


async def _known(tx: Transaction, person: UUID) -> None:
    for column in (person_keys.c.person, persons.c.id):
        if (await tx.execute(select(column).where(column == person))).scalar() is not None:
            return
    raise Problem("person_unknown")


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _share(row: Row[Any]) -> Share:
    scopes = [VoiceScope(each) for each in row.scopes]
    return Share(row.id, row.person, scopes, row.created_at, row.expires_at)
