"""A gateway that dies over what somebody sends it, and what is left of that.

Knows how a gateway is killed at instants and started again, and what of somebody lies where.
Refuses to know what was sent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from relay import sweep
from relay.spine import open_spine
from relay.sql.dues import Due
from relay.sql.schema import uploads, voices
from tests.faults.house import House
from tests.faults.instants import instant
from tests.ingest.chain import START
from tests.journeys.steps import told
from tests.sql import until

T = TypeVar("T")

SOON = 120.0


async def survived(house: House, points: Sequence[str], work: Callable[[], T]) -> T:
    """What `work` comes to while a gateway is killed at one of `points` after the other."""
    targets = [instant("ingest", point) for point in points]
    house.arms.arm(targets[0], "kill")
    doing = asyncio.create_task(asyncio.to_thread(work))
    for target, following in zip_longest(targets, targets[1:]):
        await until(lambda at=target: house.arms.victim(at) is not None, SOON)  # type: ignore[misc]
        stage = house.stages[str(house.arms.victim(target))]
        await until(lambda dying=stage: not dying.running, SOON)  # type: ignore[misc]
        if following:
            house.arms.arm(following, "kill")
        stage.launch()
    return await doing


@dataclass(frozen=True)
class Left:
    """What is there of somebody, once all that nobody needs is swept."""

    objects: Counter[str]
    rows: Counter[str]


async def events_of(house: House, key: object) -> Counter[str]:
    """How many events of that key are on the log, by topic."""
    return Counter(topic for topic, _ in await asyncio.to_thread(told, house.settings, str(key)))


async def left(house: House, person: UUID, monkeypatch: pytest.MonkeyPatch) -> Left:
    """Sweep as if days had passed, then look."""
    monkeypatch.setattr(sweep, "AGE", timedelta(seconds=-60))
    async with open_spine(house.settings) as spine:
        async with spine.database.transaction() as tx:
            over = update(uploads).where(uploads.c.person == person)
            await tx.execute(over.values(expires_at=tx.now - timedelta(days=2)))
        await sweep.Sweeper(spine.database, spine.store, spine.log)(Due(uuid4(), "", START))
        keys = [stat.key async for stat in spine.store.list("")]
        async with spine.database.reading() as tx:
            rows = {
                table.name: (await tx.execute(select(table.c.person))).scalars().all()
                for table in (uploads, voices)
            }
    return Left(
        Counter(key.split("/")[0] for key in keys if str(person) in key),
        Counter({name: found.count(person) for name, found in rows.items() if person in found}),
    )
