"""Clocks that are wrong, or put back: what is leased is taken up all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from ingest.quota import Bucket, Quota
from relay.settings import Settings
from relay.sql import clock as clocks
from relay.sql import dues, shards
from relay.sql import open as opening
from relay.sql.database import Database
from relay.sql.dues import Due
from relay.sql.open import open_database

LIFE = timedelta(seconds=6)
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    """The instant that everybody is told."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(sql: Database, sql_settings: Settings, clock: Clock) -> AsyncIterator[Database]:
    """The database by the test's clock; `sql` empties it afterwards."""
    opened = await open_database(sql_settings, clock)
    yield opened
    await opened.close()


@pytest.mark.parametrize("back", [timedelta(minutes=1), timedelta(days=1)])
async def test_a_shard_of_the_dead_is_taken_though_the_clock_was_put_back(
    timed: Database, clock: Clock, back: timedelta
) -> None:
    async with timed.transaction() as tx:
        await shards.prepare(tx, [0])
        await shards.attend(tx, "dead", LIFE, ())
        (held,) = await shards.take(tx, "dead", LIFE, 1)
    clock.now -= back
    async with timed.transaction() as tx:
        assert (await shards.attend(tx, "heir", LIFE, ())).living == 1
        (taken,) = await shards.take(tx, "heir", LIFE, 1)
    assert taken.epoch == held.epoch + 1
    async with timed.transaction() as tx:  # and who lives by the new clock keeps it
        assert not await shards.take(tx, "other", LIFE, 1)


@pytest.mark.parametrize("back", [timedelta(minutes=1), timedelta(days=1)])
async def test_a_row_of_the_dead_is_done_though_the_clock_was_put_back(
    timed: Database, clock: Clock, back: timedelta
) -> None:
    row = Due(uuid4(), "k", NOW - 2 * back)
    async with timed.transaction() as tx:
        await dues.schedule(tx, row)
        assert await dues.lease(tx, "dead", LIFE, ["k"], 1)
    clock.now -= back
    async with timed.transaction() as tx:
        found = await dues.next_at(tx, LIFE, ["k"])
        assert found is not None
        assert found <= tx.now
        assert [each.id for each in await dues.lease(tx, "heir", LIFE, ["k"], 1)] == [row.id]
        assert not await dues.lease(tx, "other", LIFE, ["k"], 1)


async def test_who_shares_a_server_has_its_clock_whatever_the_machine_says(
    sql: Database, sql_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = sql.now()
    for module in (clocks, opening):
        monkeypatch.setattr(module, "utc_now", lambda: true + timedelta(days=1))
    opened = await open_database(sql_settings)
    ahead = opened.now() - true
    await opened.close()
    assert (ahead > timedelta(hours=23)) == (sql.dialect == "sqlite")


def test_an_empty_bucket_fills_by_a_clock_that_was_put_back() -> None:
    quota = Quota(per_minute=3, burst=2)
    assert isinstance(quota.after_one(Bucket(0, NOW), NOW - timedelta(days=1)), Bucket)
