"""How far groups have come is kept a second time, and Kafka is not believed when it says less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Misconfigured, Unavailable
from relay.log.kafka import KafkaLog
from relay.log.kafka.link import Link
from relay.log.kafka.restore import restore
from relay.log.kafka.setup import POSITION, position_group
from relay.log.port import Committed, Message
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.marks import SqlMarks
from tests.relay.kafka_hands import QUICK, joined, raw_producer, set_up
from tests.relay.log_contract import Hand, Names, append, messages, until
from tests.servers import KafkaAddress
from tests.sql import until as until_seen

GROUP, PLACE, OTHER = "moderation", ("prompt-uploaded", 0), ("prompt-uploaded", 1)


@pytest.fixture
async def marks(sql: Database) -> AsyncIterator[SqlMarks]:
    opened = SqlMarks(sql, every=0.01)
    yield opened
    await opened.close()


# -- in SQL ---------------------------------------------------------------------------------------


async def test_a_mark_rises_and_never_falls(marks: SqlMarks, sql: Database) -> None:
    marks.note(GROUP, PLACE, 7)
    marks.note(GROUP, OTHER, 3)
    await until_seen(lambda: _are(marks, {PLACE: 7, OTHER: 3}))
    zombie = SqlMarks(sql)
    zombie.note(GROUP, PLACE, 5)
    zombie.note(GROUP, OTHER, 4)
    await zombie.close()
    assert await marks.least(GROUP) == {PLACE: 7, OTHER: 4}
    assert await marks.least("synth") == {}


async def test_what_was_noted_last_is_kept_at_the_close(sql: Database) -> None:
    slow = SqlMarks(sql, every=60)
    for offset in (1, 2, 3):
        slow.note(GROUP, PLACE, offset)
        await asyncio.sleep(0)
    await slow.close()
    assert await slow.least(GROUP) == {PLACE: 3}
    assert await slow.all() == {GROUP: {PLACE: 3}}


async def test_a_mark_waits_for_a_database_that_is_away(
    marks: SqlMarks, sql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = sql.run, asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise Unavailable("away")

    monkeypatch.setattr(sql, "run", away)
    marks.note(GROUP, PLACE, 7)
    await asked.wait()
    monkeypatch.setattr(sql, "run", run)
    await until_seen(lambda: _are(marks, {PLACE: 7}))


async def test_a_group_that_begins_anew_is_forgotten_and_no_other(marks: SqlMarks) -> None:
    marks.note(GROUP, PLACE, 7)
    marks.note("synth", PLACE, 8)
    await until_seen(lambda: _are(marks, {PLACE: 7}))
    await marks.forget(GROUP)
    assert await marks.all() == {"synth": {PLACE: 8}}


async def _are(marks: SqlMarks, expected: object) -> bool:
    return await marks.least(GROUP) == expected


# -- against Kafka --------------------------------------------------------------------------------


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def log(kafka_server: KafkaAddress, marks: SqlMarks) -> AsyncIterator[KafkaLog]:
    opened = KafkaLog(Settings(log=f"kafka://{kafka_server.bootstrap}"), QUICK, marks)
    yield opened
    await opened.close()


async def test_a_claim_is_not_opened_at_an_offset_of_old(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    await set_up(log, names)
    await append(log, names.source, [Message(names.first, "k", b"%d" % n) for n in range(3)], 3)
    hand = await joined(log, names)
    await hand.claim(0).commit(Committed(2), [])
    await hand.consumer.close()  # type: ignore[union-attr]
    await _tell(kafka_server, names, 1)
    with pytest.raises(Unavailable, match=r"has come to 1 in .*, and it had come to 2"):
        await log.join(names.group, [names.first], Hand())
    with pytest.raises(Unavailable):
        await log.apply({}, {names.group: [names.first]}, [])
    await _tell(kafka_server, names, 2)
    hand = await joined(log, names)
    await until(lambda: hand.got, hand)
    assert [record.value for record in hand.got] == [b"2"]


async def test_a_member_says_that_its_claim_waits_for_the_truth(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    """One that is a member already: its group lives on while nothing of the partition is done."""
    await set_up(log, names, partitions=2)
    await append(log, names.source, messages(names.first, 40, keys=40), 40)
    hand = await joined(log, names)
    await until(lambda: len(hand.claims) == 2, hand)
    for number in (0, 1):
        await hand.claim(number).commit(Committed(2), [])
        await _tell(kafka_server, names, 1, number=number)
    other = Hand()
    credulous = KafkaLog(Settings(log=f"kafka://{kafka_server.bootstrap}"), QUICK)
    other.consumer = await credulous.join(names.group, [names.first], other)
    await until(lambda: other.claims, hand, other)
    with pytest.raises(Unavailable, match=r"/[01] waits: Kafka says that .* had come to 2"):
        await until(lambda: False, hand)
    assert not hand.claims
    await credulous.close()


async def test_a_source_is_not_opened_at_a_position_of_old(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    await set_up(log, names)
    await append(log, names.source, [Message(names.first, "k", b"0")], 9)
    await _tell(kafka_server, names, 4, names.source)
    with pytest.raises(Unavailable, match="had come to 9"):
        async with log.source(names.source):
            pass


async def test_nothing_told_of_a_group_that_had_come_far_is_no_new_group(
    log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    """Neither does it begin at 0, nor does it refuse to start for ever."""
    await log.apply({names.first: 1, names.second: 1}, {}, [])
    marks.note(names.group, (names.first, 0), 7)
    await until_seen(lambda: _known(marks, names))
    with pytest.raises(Unavailable, match="has come to 0"):
        await log.join(names.group, [names.first], Hand())
    with pytest.raises(Unavailable):
        await log.apply({}, {names.group: [names.first]}, [])


async def test_a_group_that_is_told_to_begin_begins(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    await log.apply({names.first: 1, names.second: 1}, {}, [])
    marks.note(names.group, (names.first, 0), 7)
    await until_seen(lambda: _known(marks, names))
    told = Settings(log=f"kafka://{kafka_server.bootstrap}", kafka_begin=names.group)
    begun = KafkaLog(told, QUICK, marks)
    await begun.apply({}, {names.group: [names.first]}, [])
    await begun.close()
    assert (await joined(log, names)).claim(0).committed == Committed(0)


async def test_what_kafka_has_dropped_is_put_back_and_what_it_tells_is_left(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    await set_up(log, names, partitions=2)
    dropped = Names()
    await _tell(kafka_server, names, 1)
    marks.note(names.group, (names.first, 0), 5)
    marks.note(dropped.group, (names.first, 1), 7)
    marks.note(position_group(dropped.source), (POSITION.topic, 0), 9)
    await until_seen(lambda: _known(marks, dropped))
    await marks.close()
    plain = Link.of(Settings(log=f"kafka://{kafka_server.bootstrap}"), QUICK)
    put_back = await restore(plain, await marks.all())
    assert sorted(put_back) == sorted(
        [
            (dropped.group, names.first, 1, 7),
            (position_group(dropped.source), POSITION.topic, 0, 9),
        ]
    )
    place = TopicPartition(names.first, 1)
    assert await plain.offsets(dropped.group, [place]) == {place: Committed(7)}
    first = TopicPartition(names.first, 0)
    assert await plain.offsets(names.group, [first]) == {first: Committed(1)}
    assert await restore(plain, await marks.all()) == []
    await plain.close()


async def test_a_first_offset_that_is_told_late_is_awaited(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    await log.apply({names.first: 1, names.second: 1}, {}, [])
    joining = asyncio.create_task(log.join(names.group, [names.first], Hand()))
    applied = KafkaLog(Settings(log=f"kafka://{kafka_server.bootstrap}"), QUICK)
    await applied.apply({}, {names.group: [names.first]}, [])
    await applied.close()
    await joining


async def test_who_is_never_set_up_is_told_so(log: KafkaLog, names: Names) -> None:
    await log.apply({names.first: 1}, {}, [])
    with pytest.raises(Misconfigured, match="topics apply"):
        await log.join(names.group, [names.first], Hand())


async def _known(marks: SqlMarks, names: Names) -> bool:
    return bool(await marks.least(names.group))


async def _tell(
    server: KafkaAddress, names: Names, offset: int, source: str | None = None, number: int = 0
) -> None:
    """Let the broker say that the group, or the source, has come to `offset`."""
    group = position_group(source) if source else names.group
    place = POSITION if source else TopicPartition(names.first, number)
    async with raw_producer(server.bootstrap, names) as broker, broker.transaction():
        await broker.send_offsets_to_transaction({place: OffsetAndMetadata(offset, "")}, group)
