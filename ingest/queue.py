"""Where a job stands among all that have not ended, and when it will have, at every gateway.

Knows which rows say so, and that a look at all of them does for everybody who asks meanwhile.
Refuses to know how an estimate is made (`ingest.estimate`), and persons: a text's length is read
off its sealed form.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select

from ingest.estimate import STAGES, Standing, Stay, Text, forecast, learnt, stays_of
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Log
from relay.sql.database import Database, Transaction
from relay.sql.schema import jobs
from schemas.events import PromptApproved
from schemas.states import State
from schemas.topics import topic_of

MOST = 10_000
"""Jobs that are looked at; where more wait, the youngest are told nothing."""
LATELY = {State.DELIVERED: 100, State.REJECTED: 30}
"""How many that ended so are learnt from."""
FRESH = 1.0
"""Seconds for which a look is good, and for one who was not there yet, a quarter of it."""
_SHARE = 20
"""A look that took long is good for so many times as long: it costs at most that share of time,
and where new ones keep asking, four times that."""
_PATIENCE = 0.5
_COUNT = 300.0
"""Seconds after which partitions are counted again: more may have been added."""
_STAGE = {
    State.ACCEPTED: 0,
    State.UPLOADED: 0,
    State.REVIEWED: 0,
    State.APPROVED: 1,
    State.SYNTHESIZED: 2,
}
"""Whose turn it is."""
QUEUED = frozenset(_STAGE)
"""Who waits for a person of ours stands in no queue, and would be looked for in vain."""
_PATH = (State.APPROVED, State.SYNTHESIZED, State.DELIVERED)
_SEAL = 18
"""Bytes of a sealed text that are none of its own: the seal's, and JSON's quotes."""
_SEALED = func.length(jobs.c.sealed["text"].as_string()).label("sealed")
_STEPS = jobs.c.detail["steps"].as_string().label("steps")
"""As it is written: rows are decoded on the loop, and this of ten thousand would hold it up."""
_KNOWN = (jobs.c.id, jobs.c.person, jobs.c.state, jobs.c.accepted_at, _STEPS, _SEALED)


class Queue:
    """All unfinished jobs of one site, as this gateway saw them last."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database, self._log = database, log
        self._standings: Mapping[UUID, Standing] = {}
        self._seen = float("-inf")
        self._fresh = FRESH
        self._partitions, self._counted = 0, float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def of(self, job: UUID) -> Standing | None:
        """Where `job` stands; None where it stands in no queue, or nobody can tell."""
        age = asyncio.get_running_loop().time() - self._seen
        if age >= (self._fresh if job in self._standings else self._fresh / 4):
            await self._look()
        return self._standings.get(job)

    async def close(self) -> None:
        """End what is being looked at."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        """Look, together with whoever asks meanwhile; one who goes away ends nobody's look."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._see())
        with suppress(Unavailable):  # then as far as was known: whoever asks reads the job itself
            await asyncio.shield(self._looking)

    async def _see(self) -> None:
        begun = asyncio.get_running_loop().time()
        partitions = await self._lanes()
        async with self._database.reading() as tx:
            # Two statements: a job that ends between them is in both, and has ended.
            rows = {row.id: row for row in [*await _unfinished(tx), *await _ended(tx)]}
        now = self._database.now().timestamp()
        text = partial(self._text, partitions=partitions)
        self._standings = await asyncio.to_thread(_standings, rows.values(), text, now)
        self._seen = asyncio.get_running_loop().time()
        self._fresh = max(FRESH, _SHARE * (self._seen - begun))

    async def _lanes(self) -> int:
        """How many partitions take turns, as was counted last; one, while the log does not say."""
        now = asyncio.get_running_loop().time()
        if now - self._counted >= _COUNT or not self._partitions:
            self._counted = now
            with suppress(TimeoutError, Unavailable, Misconfigured):
                async with asyncio.timeout(_PATIENCE):
                    self._partitions = len(await self._log.ends([topic_of(PromptApproved)]))
        return self._partitions or 1

    def _text(self, row: Row[Any], *, partitions: int) -> Text:
        """A job's text; its length is 0 where it was accepted elsewhere.

        In UTF-8 three Latin letters are as long as a Chinese character, and take as long to say.
        """
        size = max(0, (row.sealed or 0) * 3 // 4 - _SEAL)
        lane = self._log.partition_of(str(row.id), partitions)
        return Text(row.id, size, lane, row.person, row.accepted_at.timestamp())


async def _unfinished(tx: Transaction) -> Sequence[Row[Any]]:
    query = select(*_KNOWN).where(jobs.c.state.in_([state.value for state in _STAGE]))
    return (await tx.execute(query.order_by(jobs.c.accepted_at).limit(MOST))).all()


async def _ended(tx: Transaction) -> Sequence[Row[Any]]:
    """Each state by itself: so the index gives the latest."""
    found: list[Row[Any]] = []
    for state, most in LATELY.items():
        query = select(*_KNOWN).where(jobs.c.state == state.value)
        found += await tx.execute(query.order_by(jobs.c.updated_at.desc()).limit(most))
    return found


def _times(row: Row[Any]) -> Sequence[float]:
    """When a job came to each stage, and, of one that has ended, when it left the last one.

    One that a person reviewed came to the first stage then: what it waited for before was them.
    """
    told = json.loads(row.steps or "[]")  # none of a job whose person was erased
    steps = {step["state"]: datetime.fromisoformat(step["at"]) for step in told}
    times = [steps.get(State.REVIEWED, row.accepted_at)]
    path = (State.REJECTED,) if State.REJECTED in steps else _PATH
    for state in path:
        if state not in steps:
            break
        times.append(steps[state])
    return [at.timestamp() for at in times]


def _standings(
    rows: Iterable[Row[Any]], text_of: Callable[[Row[Any]], Text], now: float
) -> Mapping[UUID, Standing]:
    """Where each job stands that has not ended: seconds of work where ten thousand wait."""
    stays: list[list[Stay]] = [[] for _ in range(STAGES)]
    for row in rows:
        text, times = text_of(row), _times(row)
        for stage, stay in zip(stays, stays_of(text, times), strict=False):
            stage.append(stay)
        if (inside := _STAGE.get(State(row.state))) is not None:
            stays[inside].append(Stay(text, times[-1]))
    return _foreseen(stays, now)


def _foreseen(stays: Sequence[Sequence[Stay]], now: float) -> Mapping[UUID, Standing]:
    return forecast([learnt(each) for each in stays], now)
