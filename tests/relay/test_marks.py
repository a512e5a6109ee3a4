"""How far groups have come is kept a second time, and Kafka is not believed when it says less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from sqlalchemy import delete, text, update
from sqlalchemy.schema import DropTable

from relay.errors import Misconfigured, Unavailable
from relay.log.kafka import KafkaLog
from relay.log.kafka.link import Link
from relay.log.kafka.offsets import Offsets
from relay.log.kafka.restore import restore
from relay.log.kafka.setup import POSITION, position_group
from relay.log.port import Committed, Message
from relay.note import Note
from relay.outbox import source_name
from relay.settings import Settings
from relay.sql import shards
from relay.sql.database import Database
from relay.sql.marks import SqlMarks
from relay.sql.open import open_database
from relay.sql.schema import migrations, outbox_shards, positions
from tests.relay.kafka_hands import QUICK, admin_of, joined, raw_producer, set_up
from tests.relay.log_contract import Hand, Names, append, messages, until
from tests.servers import KafkaAddress
from tests.sql import until as until_seen
from voxrelay.restore import restore as restore_command

GROUP, PLACE, OTHER = "moderation", ("prompt-uploaded", 0), ("prompt-uploaded", 1)


@pytest.fixture
async def marks(sql: Database) -> AsyncIterator[SqlMarks]:
    opened = SqlMarks(sql, every=0.01)
    yield opened
    await opened.close()


# -- in SQL ---------------------------------------------------------------------------------------


async def test_a_mark_rises_and_never_falls(marks: SqlMarks, sql: Database) -> None:
    marks.note(GROUP, PLACE, Committed(7))
    marks.note(GROUP, OTHER, Committed(3))
    await until_seen(lambda: _are(sql, {PLACE: Committed(7), OTHER: Committed(3)}))
    zombie = SqlMarks(sql)
    zombie.note(GROUP, PLACE, Committed(5))
    zombie.note(GROUP, OTHER, Committed(4))
    await zombie.close()
    assert await marks.least(GROUP) == {PLACE: Committed(7), OTHER: Committed(4)}
    assert await marks.least("synth") == {}


async def test_at_one_offset_what_is_done_beyond_it_counts(sql: Database) -> None:
    """One record that waits holds its offset back, and a note says what was done meanwhile."""
    much, little = _beside(7, {9, 12}), _beside(7, {9})
    for first, second in [(little, much), (much, little)]:
        for mark in (first, second):
            marks = SqlMarks(sql)
            marks.note(GROUP, PLACE, mark)
            await marks.close()
        assert await marks.least(GROUP) == {PLACE: much}
        await marks.forget(GROUP)
    marks.note(GROUP, PLACE, much)
    marks.note(GROUP, PLACE, Committed(8))
    await marks.close()
    assert await marks.least(GROUP) == {PLACE: Committed(8)}


async def test_what_a_fenced_writer_hears_late_lowers_nothing(sql: Database) -> None:
    slow = SqlMarks(sql, every=60)
    slow.note(GROUP, PLACE, _beside(7, {9}))
    for late in (Committed(5), Committed(7)):
        slow.note(GROUP, PLACE, late)
    await slow.close()
    assert await slow.least(GROUP) == {PLACE: _beside(7, {9})}


async def test_a_process_knows_what_it_has_not_written_yet(
    sql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = SqlMarks(sql)
    marks.note(GROUP, PLACE, Committed(5))
    await marks.close()
    monkeypatch.setattr(sql, "run", _away)
    marks.note(GROUP, PLACE, Committed(7))
    marks.note(GROUP, OTHER, Committed(3))
    assert await marks.least(GROUP) == {PLACE: Committed(7), OTHER: Committed(3)}
    assert await _are(sql, {PLACE: Committed(5)})
    await marks.close()


async def test_what_was_noted_last_is_kept_at_the_close(sql: Database) -> None:
    slow = SqlMarks(sql, every=60)
    for offset in (1, 2, 3):
        slow.note(GROUP, PLACE, Committed(offset))
        await asyncio.sleep(0)
    await slow.close()
    assert await SqlMarks(sql).all() == {GROUP: {PLACE: Committed(3)}}


async def test_a_mark_waits_for_a_database_that_is_away(
    marks: SqlMarks, sql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = sql.run, asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise Unavailable("away")

    monkeypatch.setattr(sql, "run", away)
    marks.note(GROUP, PLACE, Committed(7))
    await asked.wait()
    monkeypatch.setattr(sql, "run", run)
    await until_seen(lambda: _are(sql, {PLACE: Committed(7)}))


async def test_a_group_that_begins_anew_is_forgotten_and_no_other(marks: SqlMarks) -> None:
    marks.note(GROUP, PLACE, Committed(7))
    marks.note(GROUP, OTHER, Committed(7))
    marks.note("synth", PLACE, Committed(8))
    await marks.close()
    await marks.forget(GROUP, [OTHER])
    assert await marks.all() == {GROUP: {PLACE: Committed(7)}, "synth": {PLACE: Committed(8)}}
    await marks.forget(GROUP)
    assert await marks.all() == {"synth": {PLACE: Committed(8)}}


async def test_what_is_forgotten_does_not_come_back_from_what_was_noted(sql: Database) -> None:
    slow = SqlMarks(sql, every=60)
    slow.note("synth", PLACE, Committed(8))
    await asyncio.sleep(0)  # it is being written, and the next ones wait
    for place in (PLACE, OTHER):
        slow.note(GROUP, place, Committed(7))
    await slow.forget(GROUP, [OTHER])
    assert await slow.least(GROUP) == {PLACE: Committed(7)}
    await slow.forget(GROUP)
    await slow.close()
    assert await slow.all() == {"synth": {PLACE: Committed(8)}}


async def test_marks_of_an_older_release_are_kept(sql: Database, sql_settings: Settings) -> None:
    async with sql.transaction() as tx:
        await tx.execute(DropTable(positions))
        await tx.execute(delete(migrations).where(migrations.c.version > 5))
        await tx.execute(
            text(
                'CREATE TABLE positions ("group" VARCHAR(249), topic VARCHAR(249), '
                'partition INTEGER, next BIGINT, PRIMARY KEY ("group", topic, partition))'
            )
        )
        await tx.execute(text(f"INSERT INTO positions VALUES ('{GROUP}', '{PLACE[0]}', 0, 7)"))
    again = await open_database(sql_settings)
    marks = SqlMarks(again)
    assert await marks.all() == {GROUP: {PLACE: Committed(7)}}
    marks.note(GROUP, PLACE, _beside(7, {9}))
    await marks.close()
    assert await marks.all() == {GROUP: {PLACE: _beside(7, {9})}}
    async with again.transaction() as tx:  # as that release still does, beside this one
        await tx.execute(update(positions).values(next=9))
    assert await marks.all() == {GROUP: {PLACE: Committed(9)}}
    await again.close()


def _beside(offset: int, done: set[int]) -> Committed:
    return Committed(offset, Note(ceiling=20, finished=frozenset(done)).write(offset))


async def _away(*_: object) -> None:
    raise Unavailable("away")


async def _are(sql: Database, expected: object) -> bool:
    return (await SqlMarks(sql).all()).get(GROUP) == expected


# -- compared -------------------------------------------------------------------------------------


async def test_a_note_of_old_beside_the_same_offset_is_not_believed(sql: Database) -> None:
    marks, place = SqlMarks(sql, every=60), TopicPartition(*PLACE)
    marks.note(GROUP, PLACE, _beside(7, {9, 12}))

    async def said(mark: Committed) -> object:
        async def ask(*_: object, **__: object) -> object:
            return {place: OffsetAndMetadata(mark.offset, mark.metadata)}

        return await Offsets(ask, QUICK, marks).of(GROUP, [place])

    for old in (_beside(7, {9}), Committed(7), _beside(6, {7, 8, 9})):
        with pytest.raises(Unavailable, match=r"had come to 7 \(and 2 beyond\)"):
            await said(old)
    for mark in (_beside(7, {9, 12}), _beside(7, {9, 10, 12}), Committed(8)):
        assert await said(mark) == {place: mark}
        assert await marks.least(GROUP) == {PLACE: mark}
    await marks.close()


async def test_who_commits_while_an_answer_is_under_way_makes_nobody_a_liar(sql: Database) -> None:
    """The lag is asked of groups that work: the answer is of before, the mark of after."""
    marks, place = SqlMarks(sql, every=60), TopicPartition(*PLACE)
    marks.note(GROUP, PLACE, Committed(52))

    async def ask(*_: object, **__: object) -> object:
        told = {place: OffsetAndMetadata(52, "")}
        marks.note(GROUP, PLACE, Committed(53))
        return told

    assert await Offsets(ask, QUICK, marks).of(GROUP, [place]) == {place: Committed(52)}
    assert await marks.least(GROUP) == {PLACE: Committed(53)}
    await marks.close()


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
        await until(lambda: hand.consumer.demand_claims(), hand)  # type: ignore[union-attr,func-returns-value]
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
    marks.note(names.group, (names.first, 0), Committed(7))
    await until_seen(lambda: _known(marks, names))
    with pytest.raises(Unavailable, match="has come to 0"):
        await log.join(names.group, [names.first], Hand())
    with pytest.raises(Unavailable):
        await log.apply({}, {names.group: [names.first]}, [])


async def test_a_group_that_is_told_to_begin_begins(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    await log.apply({names.first: 1, names.second: 1}, {}, [])
    marks.note(names.group, (names.first, 0), Committed(7))
    await until_seen(lambda: _known(marks, names))
    address = Settings(log=f"kafka://{kafka_server.bootstrap}")
    begun = KafkaLog(address, QUICK, marks, begin=[names.group])
    await begun.apply({}, {names.group: [names.first]}, [])
    await begun.close()
    assert (await joined(log, names)).claim(0).committed == Committed(0)


async def test_what_kafka_has_dropped_is_put_back_and_what_it_tells_is_left(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    await set_up(log, names, partitions=2)
    dropped = Names()
    await _tell(kafka_server, names, 1)
    marks.note(names.group, (names.first, 0), Committed(5))
    marks.note(dropped.group, (names.first, 1), _beside(7, {9}))
    marks.note(position_group(dropped.source), (POSITION.topic, 0), Committed(9))
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
    assert await plain.offsets.of(dropped.group, [place]) == {place: _beside(7, {9})}
    first = TopicPartition(names.first, 0)
    assert await plain.offsets.of(names.group, [first]) == {first: Committed(1)}
    assert await restore(plain, await marks.all()) == []
    await plain.close()


async def test_a_group_that_had_not_begun_on_a_topic_begins_there_when_the_rest_is_put_back(
    kafka_server: KafkaAddress, log: KafkaLog, marks: SqlMarks, names: Names
) -> None:
    """What lies there has been done by nobody; `apply` alone could not tell, and refuses."""
    reads = {names.group: [names.first, names.second], "another": [names.second]}
    await log.apply({names.first: 1, names.second: 2}, {}, [names.source])
    await append(log, names.source, [Message(names.second, "k", b"first of all")], 1)
    marks.note(names.group, (names.first, 0), Committed(7))
    await until_seen(lambda: _known(marks, names))
    plain = Link.of(Settings(log=f"kafka://{kafka_server.bootstrap}"), QUICK)
    put_back = await restore(plain, {names.group: await marks.least(names.group)}, reads)
    await plain.close()
    assert sorted((topic, n, at) for _, topic, n, at in put_back) == sorted(
        [(names.first, 0, 7), (names.second, 0, 0), (names.second, 1, 0)]
    )
    await log.apply({}, {names.group: reads[names.group]}, [])


async def test_a_mark_that_no_partition_reaches_is_of_another_cluster(
    kafka_server: KafkaAddress,
    log: KafkaLog,
    names: Names,
    sql: Database,
    sql_settings: Settings,
) -> None:
    """It is told, and nothing done; who says so lets it be forgotten, and no other."""
    await set_up(log, names)
    await append(log, names.source, messages(names.first, 3), 3)
    marks, group, source = SqlMarks(sql), names.group, position_group(Names().source)
    near, far, gone = (names.first, 0), (names.first, 1), (f"{names.first}-gone", 0)
    for place in (near, far, gone):
        marks.note(group, place, Committed(3))
    marks.note(Names().group, (names.second, 0), Committed(8))
    marks.note(source, tuple(POSITION), Committed(34))
    await marks.close()
    known = await marks.least(group)
    here = sql_settings.model_copy(update={"log": f"kafka://{kafka_server.bootstrap}"})
    found = await restore_command(here)
    assert found.put_back == [], "log and database may be no pair"
    assert {(topic, n) for _, topic, n, _ in found.strange} == {far, gone, (names.second, 0)}
    assert await marks.least(group) == known
    done = await restore_command(here, forget=True)
    assert (done.put_back, done.strange) == ([(source, *POSITION, 34)], found.strange)
    assert await marks.least(group) == {near: Committed(3)}
    assert await marks.least(source) == {tuple(POSITION): Committed(34)}
    assert (await restore_command(here)).strange == []


async def test_an_outbox_is_put_where_its_rows_know_it_was_and_not_behind(
    kafka_server: KafkaAddress,
    log: KafkaLog,
    names: Names,
    sql: Database,
    sql_settings: Settings,
) -> None:
    """Its process was killed before its last mark was kept; what it had published is gone."""
    await log.apply({}, {}, [])
    late, true = (position_group(source_name(shard, names.source)) for shard in (0, 1))
    marks = SqlMarks(sql)
    for group in (late, true):
        marks.note(group, tuple(POSITION), Committed(7))
    await marks.close()
    async with sql.transaction() as tx:
        await shards.prepare(tx, (0, 1))
        for shard, last in enumerate((9, 7)):
            where = outbox_shards.c.shard == shard
            await tx.execute(update(outbox_shards).where(where).values(counter=last))
    there = {"log": f"kafka://{kafka_server.bootstrap}", "outbox": names.source}
    found = await restore_command(sql_settings.model_copy(update=there))
    assert sorted(found.put_back) == [(late, *POSITION, 9), (true, *POSITION, 7)]


async def test_an_edge_puts_back_its_positions_at_its_cluster(
    kafka_server: KafkaAddress,
    log: KafkaLog,
    names: Names,
    sql: Database,
    sql_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await log.apply({}, {}, [])
    marks, edge = SqlMarks(sql), sql_settings.model_copy(update={"stages": "ingest,bridge"})
    marks.note(position_group(names.source), tuple(POSITION), Committed(34))
    await marks.close()
    given = {
        "LOG": f"kafka://{kafka_server.bootstrap}",
        "CLUSTER_KEY": "ab" * 32,
        "OBJECTS": "s3://voxrelay",
        "S3_ENDPOINT": "http://nowhere:1",
        "S3_ACCESS_KEY": "access",
        "S3_SECRET_KEY": "secret",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"VOXRELAY_BRIDGE_{name}", value)
    found = await restore_command(edge)
    assert found.put_back == [(position_group(names.source), *POSITION, 34)]
    async with log.source(names.source) as source:
        assert source.position == 34


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
    async with admin_of(server) as admin:  # it answers before it says so

        async def says_so() -> bool:
            told = await admin.list_consumer_group_offsets(group, partitions=[place])
            return bool(told[place].offset == offset)

        await until_seen(says_so)
