"""What every shelf promises, over each implementation; and who may count, where several do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from analytics.rows import Size, after, total
from analytics.shelf import file, tables
from analytics.shelf.open import open_shelf
from analytics.shelf.port import Held, Shelf
from analytics.shelf.tables import TableShelf, open_tables
from relay.errors import Fenced, Misconfigured, Unavailable
from relay.sql.database import Database
from relay.sql.open import connect
from tests.analytics.events import NOW, counted, messages, records
from tests.sql import settings_of, until

Make = Callable[[], AbstractAsyncContextManager[Shelf]]
RECORDS = list(records(messages(400)))
PARTITIONS = 2
SOON = timedelta(milliseconds=200)
LONG = timedelta(minutes=5)


@pytest.fixture(params=["file", "tables"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the same figures each time."""
    url = request.getfixturevalue("database") if request.param == "tables" else "sqlite"
    settings = settings_of(tmp_path, url)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Shelf]:
        database = connect(settings)
        async with open_shelf(settings, database) as shelf:
            yield shelf
        await database.close()

    return opened


async def test_what_comes_in_batches_and_again_is_counted_once(make: Make) -> None:
    async with make() as shelf:
        held = await shelf.share(PARTITIONS, {})
        assert set(held) == set(range(PARTITIONS))
        for start in range(0, len(RECORDS), 60):
            await shelf.take(RECORDS[start : start + 60], held)
            await shelf.take(RECORDS[: start + 30][-60:], held)
        whole = counted(RECORDS)
        assert await shelf.all() == whole
    async with make() as again:
        assert await again.all() == whole
        assert await again.positions() == after(RECORDS)


async def test_rows_and_their_sum_are_of_a_size_and_from_a_time_on(make: Make) -> None:
    since = int((NOW - timedelta(hours=2)).timestamp())
    wanted = [
        row
        for where, row in counted(RECORDS).items()
        if where.size is Size.HOUR and row.start >= since
    ]
    async with make() as shelf:
        await shelf.take(RECORDS, await shelf.share(PARTITIONS, {}))
        assert total(await shelf.rows(Size.HOUR, since)) == total(wanted)
        assert await shelf.total(Size.HOUR, since) == total(wanted)
        assert len(await shelf.rows(Size.HOUR, since)) == len(wanted) > 0
        assert len(await shelf.rows(Size.HOUR)) > len(wanted)


async def test_figures_of_older_definitions_are_counted_anew(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make() as shelf:
        await shelf.take(RECORDS, await shelf.share(PARTITIONS, {}))
    monkeypatch.setattr(file, "VERSION", file.VERSION + 1)
    monkeypatch.setattr(tables, "VERSION", tables.VERSION + 1)
    async with make() as shelf:
        assert await shelf.all() == await shelf.positions() == {}
        await shelf.take(RECORDS, await shelf.share(PARTITIONS, {}))
        assert await shelf.all() == counted(RECORDS)


async def test_a_file_that_is_counted_in_no_longer_is_named(
    figures: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(tmp_path, "sqlite")
    for left in (False, True):
        if left:
            (tmp_path / file.FILE).touch()
        async with open_shelf(settings, figures):
            pass
        assert (str(tmp_path / file.FILE) in caplog.text) is left


# -- several who count -----------------------------------------------------------------------------


@pytest.fixture
async def figures(database: str, tmp_path: Path) -> AsyncIterator[Database]:
    """A PostgreSQL for figures."""
    opened = connect(settings_of(tmp_path, database))
    yield opened
    await opened.close()


async def takes_over(heir: TableShelf, partitions: int) -> Held:
    """What `heir` holds once it holds all of them."""
    held: Held = {}

    async def all_of_them() -> bool:
        nonlocal held
        held = await heir.share(partitions, held)
        return len(held) == partitions

    await until(all_of_them, 60)
    return held


async def test_partitions_are_shared_and_given_back(figures: Database) -> None:
    shelves = [await open_tables(figures, LONG) for _ in range(3)]
    held: list[Held] = [{}, {}, {}]
    for _ in range(3):
        for n, shelf in enumerate(shelves):
            held[n] = await shelf.share(7, held[n])
    assert sorted(map(len, held)) == [1, 3, 3]
    assert sorted(number for each in held for number in each) == list(range(7))
    await shelves[0].leave()
    for n in (1, 2):
        held[n] = await shelves[n].share(8, held[n])  # one was added
    assert sorted(map(len, held[1:])) == [4, 4]


async def test_who_was_taken_for_dead_counts_nothing_more(figures: Database) -> None:
    zombie, heir = await open_tables(figures, SOON), await open_tables(figures, LONG)
    held = await zombie.share(PARTITIONS, {})
    await zombie.take(RECORDS[:100], held)
    await takes_over(heir, PARTITIONS)
    with pytest.raises(Fenced):
        await zombie.take(RECORDS[100:], held)
    assert await heir.all() == counted(RECORDS[:100])
    assert await heir.positions() == after(RECORDS[:100])


async def test_what_was_fetched_under_a_lease_of_old_is_refused(figures: Database) -> None:
    """Held again, but another has counted in between: there may be a gap before it."""
    shelf, other = await open_tables(figures, SOON), await open_tables(figures, SOON)
    old = await shelf.share(PARTITIONS, {})
    await takes_over(other, PARTITIONS)
    new = await takes_over(shelf, PARTITIONS)
    assert new != old
    with pytest.raises(Fenced):
        await shelf.take(RECORDS, old)
    await shelf.take(RECORDS, await takes_over(shelf, PARTITIONS))
    with pytest.raises(Fenced, match="not ours"):
        await shelf.take(RECORDS, {0: new[0]})


async def test_who_freezes_in_mid_count_keeps_nobody_from_it(
    figures: Database, database: str, tmp_path: Path
) -> None:
    """A frozen process's transaction stays open, and its locks with it."""
    frozen = await open_tables(figures, SOON)
    held = await frozen.share(PARTITIONS, {})
    theirs = connect(settings_of(tmp_path, database))
    heir = await open_tables(theirs, LONG)

    async def freezes() -> None:
        async with figures.transaction() as tx:
            await tables._LEASES.hold(tx, *frozen._leases(range(PARTITIONS), held))
            await heir.take(RECORDS, await takes_over(heir, PARTITIONS))
            await tx.execute(text("select 1"))

    with pytest.raises(Unavailable):
        await freezes()
    assert await heir.all() == counted(RECORDS)
    await theirs.close()


async def test_an_older_release_makes_way_for_a_newer_one(
    figures: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await open_tables(figures, LONG)
    held = await older.share(PARTITIONS, {})
    with monkeypatch.context() as newer:
        newer.setattr(tables, "VERSION", tables.VERSION + 1)
        await open_tables(figures)
    with pytest.raises(Fenced):
        await older.take(RECORDS, held)
    with pytest.raises(Misconfigured, match="newer release"):
        await older.share(PARTITIONS, held)
    with pytest.raises(Misconfigured, match="newer release"):
        await open_tables(figures)
    assert await older.all() == {}
