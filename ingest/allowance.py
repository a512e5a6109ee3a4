"""All that limits one person: jobs a minute, seconds of speech a day, jobs at once.

Knows the order in which limits are asked, and that whoever is refused has spent nothing. Gateways
that ask for one person at a time wait for each other, so none lets in one too many. Refuses to know
what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, func, select, update

from ingest.person import Caller
from ingest.problems import Problem
from ingest.quota import JOBS, Quota, Rate, headers
from relay.sql.database import Transaction
from relay.sql.locks import hold_person
from relay.sql.schema import jobs, quotas
from schemas.states import TERMINAL, State

_SECONDS = "seconds"
_DAY = 86_400.0
_SOON = 5.0
_WORKED_ON = [s.value for s in State if s not in (*TERMINAL, State.HELD, State.STUCK)]
"""A job that waits for a person of ours is not what its user could wait for."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits; 0 is none."""

    per_minute: float
    burst: float
    daily_seconds: float = 0.0
    concurrent: float = 0.0

    def of(self, limits: Mapping[str, float]) -> Self:
        """The same, but for `limits` of somebody's own."""
        return replace(self, **limits)

    async def look(self, tx: Transaction, caller: Caller) -> None:
        """`Problem` where `take` would refuse as things are; takes nothing."""
        mine = self.of(caller.limits)
        await mine._seconds(tx, caller.person)
        await mine._at_once(tx, caller.person)
        await mine._quota().look(tx, caller.person, _bucket(caller))

    async def take(self, tx: Transaction, caller: Caller, count: int = 1) -> Mapping[str, str]:
        """Take one request for `count` jobs of `caller`'s allowance: headers that tell what is
        left.

        `Problem`: `seconds_spent`, `jobs_unfinished`, `quota_exceeded`.
        """
        mine = self.of(caller.limits)
        if mine.concurrent:
            await hold_person(tx, caller.person)  # until this job is in what the next one counts
        seconds = await mine._seconds(tx, caller.person)
        await mine._at_once(tx, caller.person, count)
        rate = await mine._quota().take(tx, caller.person, _bucket(caller))
        return headers([each for each in (rate, seconds) if each is not None])

    def _quota(self) -> Quota:
        return Quota(self.per_minute, self.burst)

    async def _seconds(self, tx: Transaction, person: UUID) -> Rate | None:
        if not self.daily_seconds:
            return None
        row = await _spent(tx, person)
        spent = row.tokens if row is not None and _same_day(row.updated_at, tx.now) else 0.0
        left = max(0.0, self.daily_seconds - spent)
        rate = Rate(_SECONDS, self.daily_seconds, _DAY, left, _until_midnight(tx.now))
        if left <= 0:
            limit = int(self.daily_seconds)
            rates = headers([rate])
            raise Problem("seconds_spent", retry_after=rate.seconds, rates=rates, limit=limit)
        return rate

    async def _at_once(self, tx: Transaction, person: UUID, count: int = 1) -> None:
        if not self.concurrent:
            return
        mine = (jobs.c.person == person, jobs.c.state.in_(_WORKED_ON))
        query = select(func.count()).select_from(jobs).where(*mine)
        if (await tx.execute(query)).scalar_one() + count > self.concurrent:
            limit = int(self.concurrent)
            raise Problem("jobs_unfinished", retry_after=_SOON, limit=limit)


async def spend(tx: Transaction, spoken: Mapping[UUID, float]) -> None:
    """Count the seconds of speech that persons were given; once each, which the caller sees to."""
    for person, seconds in sorted(spoken.items()):  # one order for everybody who locks rows
        row = {"person": person, "name": _SECONDS, "tokens": seconds, "updated_at": tx.now}
        if await tx.insert_absent(quotas, row):
            continue
        known = await _spent(tx, person, lock=True)
        before = known.tokens if known is not None and _same_day(known.updated_at, tx.now) else 0.0
        values = {"tokens": before + seconds, "updated_at": tx.now}
        mine = (quotas.c.person == person, quotas.c.name == _SECONDS)
        await tx.execute(update(quotas).where(*mine).values(values))


async def _spent(tx: Transaction, person: UUID, *, lock: bool = False) -> Row[Any] | None:
    query = select(quotas).where(quotas.c.person == person, quotas.c.name == _SECONDS)
    return (await tx.execute(query.with_for_update() if lock else query)).one_or_none()


def _bucket(caller: Caller) -> str:
    """A key with a rate of its own has a bucket of its own."""
    own = caller.key is not None and {"per_minute", "burst"} & caller.limits.keys()
    return f"key {caller.key}" if own else JOBS


def _same_day(one: datetime, other: datetime) -> bool:
    return one.astimezone(UTC).date() == other.astimezone(UTC).date()


def _until_midnight(now: datetime) -> float:
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return (datetime.combine(tomorrow, time(), UTC) - now).total_seconds()
