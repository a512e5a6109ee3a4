"""Tells webhooks of endings, as a handler of the timer: each notice until it is taken or given up.

Knows rows: whom to tell, whether they rest, and what came of each try, which is written down. A
receiver that fails rests, and no more than a few notices are on their way to one at a time, so it
never keeps another waiting. Refuses to know HTTP (`delivery.notify.webhook` does).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter as Metric
from sqlalchemy import Row, select, update

from delivery.notify.decide import Outcome, Verdict, judge
from delivery.notify.sign import body_of, headers
from delivery.notify.webhook import Poster
from relay.errors import PersonErased
from relay.keys import KeyStore
from relay.notices import SECRETS, Notice, notice_of, secret_of
from relay.sealing import unseal
from relay.sql.database import Database, Transaction
from relay.sql.dues import Due
from relay.sql.schema import notice_tries, webhooks
from relay.timer import Again, Done

TRIES = Metric("voxrelay_notified", "Tries to tell a receiver", ["outcome"])
AT_ONCE = 2
"""Notices on their way to one receiver from one process."""
_SOON, _SPREAD = timedelta(seconds=2), timedelta(minutes=1)


class Secrets(KeyStore, Protocol):
    """Where persons' keys and secrets of the site lie; `relay.sql.keys` is one."""

    async def secret(self, name: str) -> bytes: ...


class Sender:
    """The `Timer`'s handler of the kind `relay.notices.WEBHOOK`."""

    def __init__(self, database: Database, keys: Secrets, poster: Poster) -> None:
        self._database, self._keys, self._poster = database, keys, poster
        self._busy = Counter[UUID]()

    async def __call__(self, due: Due) -> Done | Again:
        """Tell one receiver of one ending, if it is not to be left alone just now."""
        notice, now = notice_of(due), self._database.now()
        hook = await self._hook(notice.receiver)
        if hook is None or hook.disabled_at is not None:
            return Done()
        if hook.rests_until is not None and hook.rests_until > now:
            return Again(hook.rests_until + _apart(hook), due.payload)
        if self._busy[hook.id] >= AT_ONCE:
            return Again(now + _apart(hook), due.payload)
        with self._on_its_way(hook.id):
            try:
                outcome = await self._told(hook, notice)
            except PersonErased:
                return Done()
            TRIES.labels(outcome.code).inc()
            return await self._database.run(lambda tx: _settle(tx, notice, outcome))

    async def _hook(self, id_: UUID) -> Row[Any] | None:
        async with self._database.reading() as tx:
            query = select(webhooks).where(webhooks.c.id == id_)
            return (await tx.execute(query)).one_or_none()

    async def _told(self, hook: Row[Any], notice: Notice) -> Outcome:
        key = await self._keys.key(hook.person)
        url = unseal(key, hook.id, "url", hook.sealed["url"])
        secret = secret_of(hook.id, await self._keys.secret(SECRETS))
        body, at = body_of(notice.ending), int(self._database.now().timestamp())
        return await self._poster.post(
            url, body, headers(str(notice.ending.event), at, body, secret)
        )

    @contextmanager
    def _on_its_way(self, hook: UUID) -> Iterator[None]:
        self._busy[hook] += 1
        try:
            yield
        finally:
            self._busy[hook] -= 1
            if not self._busy[hook]:
                del self._busy[hook]


def _apart(hook: Row[Any]) -> timedelta:
    """A moment drawn at random, so that what waits for one receiver does not come all at once.

    What waits for one that fails is many, and in no hurry.
    """
    return (_SPREAD if hook.failures else _SOON) * random.random()


async def _settle(tx: Transaction, notice: Notice, outcome: Outcome) -> Done | Again:
    """Write down what came of a try, and say what follows."""
    mine = webhooks.c.id == notice.receiver
    query = select(webhooks.c.failures).where(mine).with_for_update()
    failures = (await tx.execute(query)).scalar()
    if failures is None:
        return Done()  # removed meanwhile
    tried = await write_down(tx, notice, outcome)
    failures = 0 if outcome.taken else failures + 1
    verdict = judge(outcome, tried.tries, failures, random.random())
    await tx.execute(update(webhooks).where(mine).values(_standing(tx, failures, verdict)))
    return Done() if verdict.again is None else Again(tx.now + verdict.again, tried.payload())


async def write_down(tx: Transaction, notice: Notice, outcome: Outcome) -> Notice:
    """Keep what came of a try; returns the notice with that try counted."""
    tried = replace(notice, tries=notice.tries + 1)
    row = {
        "notice": notice.id,
        "number": tried.tries,
        "receiver": notice.receiver,
        "job": notice.ending.job,
        "at": tx.now,
        "outcome": outcome.code,
        "status": outcome.status,
    }
    await tx.insert_absent(notice_tries, row)
    return tried


def _standing(tx: Transaction, failures: int, verdict: Verdict) -> dict[str, Any]:
    rests = None if verdict.rest is None else tx.now + verdict.rest
    standing: dict[str, Any] = {"failures": failures, "rests_until": rests}
    if verdict.disable is not None:
        standing |= {"disabled_at": tx.now, "disabled_for": verdict.disable}
    return standing
