"""How much a person may ask for: a bucket of tokens in SQL, so that all gateways count as one.

Knows rate and burst. Refuses to know what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from ingest.problems import Problem
from relay.sql.database import Transaction
from relay.sql.schema import quotas

_JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens at an instant."""

    tokens: float
    at: datetime


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

    async def look(self, tx: Transaction, person: UUID) -> None:
        """`Problem` (`quota_exceeded`) where `take` would refuse as things are; takes nothing."""
        row = (await tx.execute(select(quotas).where(*_mine(person)))).one_or_none()
        if row is not None:
            self._left(Bucket(row.tokens, row.updated_at), tx.now)

    async def take(self, tx: Transaction, person: UUID) -> None:
        """Take one for `person`; `Problem` (`quota_exceeded`) where there is none."""
        if not self.per_minute:
            return
        full = {"person": person, "name": _JOBS, "tokens": self.burst, "updated_at": tx.now}
        await tx.insert_absent(quotas, full)
        query = select(quotas).where(*_mine(person)).with_for_update()
        row = (await tx.execute(query)).one()
        left = self._left(Bucket(row.tokens, row.updated_at), tx.now)
        values = {"tokens": left.tokens, "updated_at": left.at}
        await tx.execute(update(quotas).where(*_mine(person)).values(values))

    def _left(self, bucket: Bucket, now: datetime) -> Bucket:
        if not self.per_minute:
            return bucket
        left = self.after_one(bucket, now)
        if isinstance(left, Bucket):
            return left
        raise Problem("quota_exceeded", retry_after=left, seconds=int(left) + 1)


def _mine(person: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return quotas.c.person == person, quotas.c.name == _JOBS
