"""Webhooks that persons have registered: made, listed, removed, and what came of each try.

Knows rows; an address lies there sealed under its person's key. Refuses to know how anybody is told
(`delivery.notify` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

from sqlalchemy import Row, delete, func, insert, select

from ingest.problems import Problem
from relay.errors import PersonErased
from relay.keys import KeyStore, PersonKey
from relay.notices import SECRETS, secret_of, spelled
from relay.outward import Outward, Refused
from relay.sealing import seal, unseal
from relay.sql.database import Database, Transaction
from relay.sql.locks import hold_person
from relay.sql.schema import notice_tries, webhooks
from schemas.states import State

MOST = 5
"""Webhooks of one person."""
_URL = "url"


class Keys(KeyStore, Protocol):
    """Where keys and secrets lie and are made; `relay.sql.keys` is one."""

    async def create(self, tx: Transaction, person: UUID) -> PersonKey: ...
    async def secret(self, name: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as its person sees it."""

    id: UUID
    url: str
    states: Sequence[State]
    created_at: datetime
    failures: int = 0
    """In a row."""
    disabled_at: datetime | None = None
    disabled_for: str | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """One try to tell a webhook of a job."""

    job: UUID
    number: int
    at: datetime
    outcome: str
    status: int | None


class Hooks:
    """The webhooks of one site."""

    def __init__(self, database: Database, keys: Keys, outward: Outward) -> None:
        self._database, self._keys, self._outward = database, keys, outward

    def close(self) -> None:
        """Ask for no more names."""
        self._outward.close()

    async def add(self, person: UUID, url: str, states: frozenset[State]) -> tuple[Hook, str]:
        """A new webhook, and its secret, which is shown this once.

        `Problem`: `url_invalid`, `url_not_https`, `host_unknown`, `address_refused`,
        `webhooks_exceeded`, `person_erased`.
        """
        try:
            await self._outward.find(url)
        except Refused as refused:
            raise Problem(refused.code) from None
        id_ = uuid4()
        secret = secret_of(id_, await self._keys.secret(SECRETS))
        try:
            hook = await self._database.run(lambda tx: self._add(tx, id_, person, url, states))
        except PersonErased:
            raise Problem("person_erased") from None
        return hook, spelled(secret)

    async def all(self, person: UUID) -> Sequence[Hook]:
        """The person's webhooks, the oldest first."""
        query = select(webhooks).where(webhooks.c.person == person).order_by(webhooks.c.created_at)
        async with self._database.reading() as tx:
            rows = (await tx.execute(query)).all()
        if not rows:
            return ()
        try:
            key = await self._keys.key(person)
        except PersonErased:
            return ()
        return [_hook(row, unseal(key, row.id, _URL, row.sealed[_URL])) for row in rows]

    async def tries(self, person: UUID, id_: UUID, most: int) -> Sequence[Try]:
        """What came of the latest tries to tell it; `Problem` (`webhook_unknown`)."""
        async with self._database.reading() as tx:
            await _owned(tx, person, id_)
            query = select(notice_tries).where(notice_tries.c.receiver == id_)
            query = query.order_by(notice_tries.c.at.desc()).limit(most)
            rows = (await tx.execute(query)).all()
        return [Try(row.job, row.number, row.at, row.outcome, row.status) for row in rows]

    async def remove(self, person: UUID, id_: UUID) -> None:
        """Tell it nothing more; `Problem` (`webhook_unknown`)."""

        async def work(tx: Transaction) -> None:
            await _owned(tx, person, id_)
            await tx.execute(delete(webhooks).where(webhooks.c.id == id_))
            await tx.execute(delete(notice_tries).where(notice_tries.c.receiver == id_))

        await self._database.run(work)

    async def _add(
        self, tx: Transaction, id_: UUID, person: UUID, url: str, states: frozenset[State]
    ) -> Hook:
        await hold_person(tx, person)
        mine = select(func.count()).select_from(webhooks).where(webhooks.c.person == person)
        if (await tx.execute(mine)).scalar_one() >= MOST:
            raise Problem("webhooks_exceeded", limit=MOST)
        key = await self._keys.create(tx, person)
        row = {
            "id": id_,
            "person": person,
            "sealed": {_URL: seal(key, id_, _URL, url)},
            "states": sorted(states),
            "created_at": tx.now,
            "failures": 0,
        }
        await tx.execute(insert(webhooks).values(row))
        return Hook(id_, url, sorted(states), tx.now)


async def _owned(tx: Transaction, person: UUID, id_: UUID) -> None:
    query = select(webhooks.c.id).where(webhooks.c.id == id_, webhooks.c.person == person)
    if (await tx.execute(query)).scalar() is None:
        raise Problem("webhook_unknown")


def _hook(row: Row[Any], url: str) -> Hook:
    return Hook(
        id=row.id,
        url=url,
        states=[State(each) for each in row.states],
        created_at=row.created_at,
        failures=row.failures,
        disabled_at=row.disabled_at,
        disabled_for=row.disabled_for,
    )
