"""Records go from one log to another once each and in order, whatever breaks on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.bridge import ferry as subject
from relay.bridge.ferry import Ferry, Route
from relay.errors import Fenced, Misconfigured, OutcomeUnknown, Unavailable
from relay.log.port import Message, Place, Record, Source
from relay.log.sqlite import SqliteLog
from relay.telemetry import Health
from tests.sql import until

TOPIC = "carried"
PARTITIONS = 3
FEED = "feed"


def source_name(place: Place) -> str:
    return f"bridge.{place[0]}.{place[1]}"


SOURCES = [source_name((TOPIC, n)) for n in range(PARTITIONS + 1)]


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    made = SqliteLog(tmp_path / "origin" / "log.db")
    await made.apply({TOPIC: PARTITIONS}, {}, [FEED])
    yield made
    await made.close()


@pytest.fixture
async def goal(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    made = SqliteLog(tmp_path / "goal" / "log.db")
    await made.apply({TOPIC: PARTITIONS + 2}, {}, SOURCES)
    yield made
    await made.close()


@pytest.fixture
def route(origin: SqliteLog, goal: SqliteLog) -> Route:
    return Route("up", (TOPIC,), origin, goal, source_name)


def message(n: int) -> Message:
    return Message(TOPIC, f"key-{n % 7}", str(n).encode(), (("ce_id", b"\x00\xff"),))


async def write(log: SqliteLog, first: int, count: int) -> None:
    async with log.source(FEED) as source:
        await source.append([message(n) for n in range(first, first + count)], first + count)


async def all_of(record: Record) -> Sequence[Message]:
    return (Message(record.topic, record.key, record.value, record.headers),)


@asynccontextmanager
async def carrying(*ferries: Ferry) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        for each in ferries:
            group.create_task(each.run())
        try:
            yield
        finally:
            for each in ferries:
                each.stop()


async def records(log: SqliteLog) -> list[Record]:
    return [record async for record in log.read([TOPIC])]


async def arrived(log: SqliteLog, count: int) -> None:
    async def there() -> bool:
        return len(await records(log)) >= count

    await until(there, 60)


async def assert_carried_once_in_order(log: SqliteLog, count: int) -> None:
    """All of `0 … count-1`, none twice, each key's in order."""
    found: dict[str, list[int]] = {}
    for record in await records(log):
        assert record.headers == message(0).headers
        found.setdefault(record.key, []).append(int(record.value))
    assert found == {f"key-{k}": list(range(k, count, 7)) for k in range(7)}


class Flaky:
    """A log that fails as it is told: `faults` are taken in turn, at the calls they name."""

    def __init__(self, log: SqliteLog, faults: list[str]) -> None:
        self._log, self.faults = log, faults

    def meets(self, fault: str) -> bool:
        met = bool(self.faults) and self.faults[0] == fault
        if met:
            self.faults.pop(0)
        return met

    async def ends(self, topics: Sequence[str]) -> Any:
        if self.meets("forbidden"):
            raise Misconfigured("the broker refuses our name")
        return await self._log.ends(topics)

    async def read(self, *args: Any, **more: Any) -> AsyncIterator[Record]:
        async for record in self._log.read(*args, **more):
            yield record
            if self.meets("cut"):
                raise Unavailable("the line was cut")

    @asynccontextmanager
    async def source(self, name: str) -> AsyncIterator["FlakySource"]:
        if self.meets("closed"):
            raise Unavailable("the broker does not answer")
        async with self._log.source(name) as source:
            yield FlakySource(source, self)


class FlakySource:
    def __init__(self, source: Source, log: Flaky) -> None:
        self._source, self._log, self.position = source, log, source.position

    async def append(self, messages: Sequence[Message], position: int) -> None:
        if self._log.meets("before"):
            raise Unavailable("the broker does not answer")
        if self._log.meets("fenced"):
            raise Fenced("another carries")
        await self._source.append(messages, position)
        if self._log.meets("after"):
            raise OutcomeUnknown("the connection broke in mid-commit")
        self.position = position


async def test_what_lies_there_and_what_comes_is_carried(route: Route) -> None:
    await write(route.origin, 0, 300)  # type: ignore[arg-type]
    async with carrying(Ferry(route, all_of, Health())):
        await arrived(route.goal, 300)  # type: ignore[arg-type]
        await write(route.origin, 300, 50)  # type: ignore[arg-type]
        await arrived(route.goal, 350)  # type: ignore[arg-type]
    await assert_carried_once_in_order(route.goal, 350)  # type: ignore[arg-type]


async def test_nothing_is_lost_or_doubled_while_either_side_comes_and_goes(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    near, far = Flaky(origin, []), Flaky(goal, [])
    troubles = [["cut"], ["before"], ["after"], ["fenced"], ["after", "closed"], ["cut", "after"]]
    health = Health()
    flaky = replace(route, origin=near, goal=far)
    async with carrying(Ferry(flaky, all_of, health)):
        for n, faults in enumerate(troubles):
            near.faults += ["cut", "forbidden"] if "cut" in faults else []
            far.faults += [fault for fault in faults if fault != "cut"]
            await write(origin, 40 * n, 40)
            await arrived(goal, 40 * n + 40)
        await until(lambda: health.ready)  # without another record
    assert (near.faults, far.faults) == ([], [])
    await assert_carried_once_in_order(goal, 240)


async def test_cargo_that_cannot_be_carried_holds_its_record_and_says_so(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    health, refusing = Health(), asyncio.Event()
    refusing.set()

    async def refused(record: Record) -> Sequence[Message]:
        if refusing.is_set() and int(record.value) == 3:
            raise Unavailable("the object store refused: XMinioStorageFull")
        return await all_of(record)

    await write(origin, 0, 10)
    async with carrying(Ferry(route, refused, health)):
        await until(lambda: "StorageFull" in str(health.troubles))
        assert 3 not in [int(record.value) for record in await records(goal)]
        refusing.clear()
        await arrived(goal, 10)
    await assert_carried_once_in_order(goal, 10)


async def test_two_that_carry_the_same_way_double_nothing(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    async with carrying(*(Ferry(route, all_of, Health()) for _ in range(2))):
        for n in range(0, 200, 20):
            await write(origin, n, 20)
        await arrived(goal, 200)
    await assert_carried_once_in_order(goal, 200)


async def test_a_backlog_is_read_no_further_than_is_carried(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    """Or a week of it would lie in memory."""
    held, under_way, most = asyncio.Event(), 0, 0

    async def slow(record: Record) -> Sequence[Message]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await held.wait()
        under_way -= 1
        return await all_of(record)

    await write(origin, 0, 3000)
    boat = Ferry(route, slow, Health())
    async with carrying(boat):
        await until(lambda: under_way == subject.AT_ONCE and boat._come.full())
        assert boat._come.qsize() == subject.BATCH
        held.set()
        await arrived(goal, 3000)
    assert most == subject.AT_ONCE
    await assert_carried_once_in_order(goal, 3000)


async def test_others_records_move_the_position_in_strides(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    async def none_of(record: Record) -> Sequence[Message]:
        return ()

    async def behind() -> int:
        at = []
        for n, end in enumerate((await origin.ends([TOPIC])).values()):
            async with goal.source(SOURCES[n]) as source:
                at.append(end - source.position)
        return max(at)

    await write(origin, 0, 5000)
    boat = Ferry(route, none_of, Health())
    async with carrying(boat):
        await until(lambda: boat._reading is not None and boat._lag() == 0, 60)
    assert await behind() < subject.STRIDE + subject.BATCH
    assert await records(goal) == []


async def test_partitions_that_are_added_are_carried_too(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    async with carrying(Ferry(route, all_of, Health())):
        await write(origin, 0, 70)
        await arrived(goal, 70)
        await origin.apply({TOPIC: PARTITIONS + 1}, {}, [])
        await write(origin, 70, 70)
        await arrived(goal, 140)
    assert {int(record.value) for record in await records(goal)} == set(range(140))
    assert len(await records(goal)) == 140


async def test_a_log_that_is_shorter_than_what_was_carried_from_it_is_refused(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    await write(origin, 0, 10)
    async with goal.source(SOURCES[0]) as source:
        await source.append([], 1000)
    health = Health()
    async with carrying(Ferry(route, all_of, health)):
        await until(lambda: "restored from a backup" in str(health.troubles))
    assert await records(goal) == []


async def test_a_position_that_was_never_set_up_is_refused_unless_it_may_be_made(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    await write(origin, 0, 10)
    health, unknown = Health(), replace(route, source=lambda place: f"never-{place[1]}")
    async with carrying(Ferry(unknown, all_of, health)):
        await until(lambda: "has no position" in str(health.troubles))
    assert await records(goal) == []
    async with carrying(Ferry(replace(unknown, prepares=True), all_of, Health())):
        await arrived(goal, 10)
    await assert_carried_once_in_order(goal, 10)


async def test_where_nothing_was_carried_yet_what_is_older_is_passed_over(
    route: Route, origin: SqliteLog, goal: SqliteLog
) -> None:
    await write(origin, 0, 10)
    later = replace(route, since=datetime.now(UTC) + timedelta(hours=1))
    seen = asyncio.Event()

    async def noted(record: Record) -> Sequence[Message]:
        seen.set()
        return await all_of(record)

    boat = Ferry(later, noted, Health())
    async with carrying(boat):
        await until(lambda: boat._counted > 0)  # so it has waited for a record
    assert not seen.is_set()
    async with carrying(
        Ferry(replace(route, since=datetime(2020, 1, 1, tzinfo=UTC)), noted, Health())
    ):
        await arrived(goal, 10)
    async with carrying(Ferry(later, noted, Health())):  # a position counts for more
        await write(origin, 10, 10)
        await arrived(goal, 20)
    await assert_carried_once_in_order(goal, 20)
