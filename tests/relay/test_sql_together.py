"""Writes that arrive together share a transaction, and nobody pays for another's failure."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from relay.errors import Unavailable
from relay.sql import schema
from relay.sql.database import Database, Transaction
from relay.sql.open import open_database
from relay.sql.together import Together
from tests.sql import settings_of

BAD = UUID(int=0)


class Writer:
    """Writes persons; counts its transactions; refuses one person."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.batches: list[int] = []
        self._trouble = trouble

    async def __call__(self, tx: Transaction, persons: Sequence[UUID]) -> None:
        self.batches.append(len(persons))
        rows = [{"id": person, "created_at": tx.now} for person in persons]
        await tx.insert_absent_many(schema.persons, rows)
        if self._trouble is not None and BAD in persons:
            raise self._trouble


@pytest.fixture
async def lite(tmp_path: Path) -> Database:
    return await open_database(settings_of(tmp_path))


async def count(sql: Database) -> int:
    async with sql.reading() as tx:
        query = select(func.count()).select_from(schema.persons)
        return int((await tx.execute(query)).scalar_one())


async def test_what_arrives_together_is_one_transaction(lite: Database) -> None:
    writer = Writer()
    together = Together(lite, writer, most=32)
    await asyncio.gather(*(together.put(uuid4()) for _ in range(50)))
    assert await count(lite) == 50
    assert writer.batches == [32, 18]
    await together.put(uuid4())
    assert await count(lite) == 51
    await lite.close()


async def test_a_bug_belongs_to_the_one_that_has_it(lite: Database) -> None:
    together = Together(lite, Writer(ZeroDivisionError()))
    wanted = [uuid4(), BAD, uuid4()]
    answers = await asyncio.gather(*map(together.put, wanted), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), ZeroDivisionError, type(None)]
    assert await count(lite) == 2
    await lite.close()


async def test_an_outage_is_everybodys_and_nothing_is_written(lite: Database) -> None:
    together = Together(lite, Writer(Unavailable("down")))
    answers = await asyncio.gather(together.put(uuid4()), together.put(BAD), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert await count(lite) == 0
    await lite.close()


async def test_who_gives_up_waiting_hurts_nobody(lite: Database) -> None:
    together = Together(lite, Writer())
    impatient = asyncio.create_task(together.put(uuid4()))
    patient = asyncio.create_task(together.put(uuid4()))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert impatient.cancelled()
    await lite.close()
