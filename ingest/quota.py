"""How much a person may ask for: a bucket of tokens in SQL, so that all gateways count as one.

Knows rate and burst. Refuses to know what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from ingest.problems import Problem
from relay.sql.database import Transaction
from relay.sql.schema import quotas

JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens at an instant."""

    tokens: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Rate:
    """How somebody stands with a limit: of `most` in `window` seconds `left` are left.

    After `seconds` there are more.
    """

    name: str
    most: float
    window: float
    left: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Quota:
    """`per_minute` tokens come back, up to `burst`; 0 a minute means no limit."""

    per_minute: float
    burst: float

    def after_one(self, bucket: Bucket, now: datetime) -> Bucket | float:
        """The bucket once a token was taken at `now`; or the seconds until there is one."""
        # A clock that was put back must not leave an empty bucket empty until it has caught up.
        passed = abs((now - bucket.at).total_seconds())
        tokens = min(self.burst, bucket.tokens + passed * self.per_minute / 60)
        if tokens >= 1 - 1e-9:
            return Bucket(tokens - 1, now)
        return (1 - tokens) * 60 / self.per_minute

    async def look(self, tx: Transaction, person: UUID, name: str = JOBS) -> None:
        """`Problem` (`quota_exceeded`) where `take` would refuse as things are; takes nothing."""
        if not self.per_minute:
            return
        row = (await tx.execute(select(quotas).where(*_mine(person, name)))).one_or_none()
        if row is not None:
            self._left(Bucket(row.tokens, row.updated_at), tx.now)

    async def take(self, tx: Transaction, person: UUID, name: str = JOBS) -> Rate | None:
        """Take one of `person`'s bucket `name`: what is left; None where there is no limit.

        `Problem` (`quota_exceeded`) where there is none. Others who take of the same bucket wait
        until `tx` ends.
        """
        if not self.per_minute:
            return None
        full = {"person": person, "name": name, "tokens": self.burst, "updated_at": tx.now}
        await tx.insert_absent(quotas, full)
        query = select(quotas).where(*_mine(person, name)).with_for_update()
        row = (await tx.execute(query)).one()
        left = self._left(Bucket(row.tokens, row.updated_at), tx.now)
        values = {"tokens": left.tokens, "updated_at": left.at}
        await tx.execute(update(quotas).where(*_mine(person, name)).values(values))
        return self._rate(left.tokens)

    def _left(self, bucket: Bucket, now: datetime) -> Bucket:
        left = self.after_one(bucket, now)
        if isinstance(left, Bucket):
            return left
        rates = headers([Rate(JOBS, self.burst, self._window, 0, left)])
        raise Problem("quota_exceeded", retry_after=left, rates=rates, seconds=int(left) + 1)

    def _rate(self, tokens: float) -> Rate:
        """`tokens` as the header fields tell it: whole ones, and when there is one more."""
        whole = math.floor(tokens + 1e-9)
        more = 0.0 if whole >= self.burst else (whole + 1 - tokens) * 60 / self.per_minute
        return Rate(JOBS, self.burst, self._window, whole, more)

    @property
    def _window(self) -> float:
        """Seconds in which an empty bucket fills."""
        return self.burst * 60 / self.per_minute


def headers(rates: Sequence[Rate]) -> dict[str, str]:
    """The header fields that tell of `rates`; none where there is no limit.

    Source: draft-ietf-httpapi-ratelimit-headers-10; structured fields, so whole numbers.
    """
    if not rates:
        return {}
    policies = (f'"{r.name}";q={math.floor(r.most)};w={math.ceil(r.window)}' for r in rates)
    left = (f'"{r.name}";r={math.floor(r.left)};t={math.ceil(r.seconds)}' for r in rates)
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(left)}


def _mine(person: UUID, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return quotas.c.person == person, quotas.c.name == name
