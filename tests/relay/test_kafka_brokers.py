"""The Kafka log with brokers that die, and forget."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from relay.errors import Fenced, OutcomeUnknown, Unavailable
from relay.log.kafka import KafkaLog, writer
from relay.log.kafka.writer import transact
from relay.log.port import Claim, Committed, Message, Record
from relay.settings import Settings
from relay.sql.marks import SqlMarks
from relay.sql.open import open_database
from tests.relay.kafka_hands import QUICK, joined, read, set_up, take_over
from tests.relay.kafka_mortal import Mortal
from tests.relay.log_contract import Hand, Names, append, until
from tests.sql import settings_of

T = TypeVar("T")


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def marked(mortal: Mortal, tmp_path: Path) -> AsyncIterator[KafkaLog]:
    """A log that believes no offset of old: a broker that was killed may tell one."""
    database = await open_database(settings_of(tmp_path))
    marks = SqlMarks(database)
    log = KafkaLog(Settings(log=f"kafka://{mortal.bootstrap}"), QUICK, marks)
    yield log
    await log.close()
    await marks.close()
    await database.close()


async def test_a_forgotten_producer_goes_on_by_itself_unless_another_has(
    mortal: Mortal, make_kafka: Callable[[str], KafkaLog], names: Names
) -> None:
    log = await set_up(make_kafka(mortal.bootstrap), names, partitions=2)
    hand = Hand()
    hand.consumer = await log.join(names.group, [names.first], hand)
    await until(lambda: len(hand.claims) == 2, hand)
    taken, claim = hand.claim(0), hand.claim(1)
    witness = AIOKafkaProducer(bootstrap_servers=mortal.bootstrap, transactional_id=names.second)
    async with log.source(names.source) as source, witness:
        await source.append([Message(names.second, "k", b"0")], 1)
        await claim.commit(Committed(0, "1"), [Message(names.second, "k", b"1")])
        await taken.commit(Committed(0, "ours"), [])
        async with witness.transaction():
            await witness.send_and_wait(names.second, b"witness", key=b"k")
        await asyncio.sleep(4)  # the broker tells nobody that it forgets
        with pytest.raises(KafkaError):
            async with witness.transaction():
                await witness.send_and_wait(names.second, b"never", key=b"k")
        await claim.commit(Committed(0, "2"), [Message(names.second, "k", b"2")])
        await source.append([Message(names.second, "k", b"3")], 2)
        await take_over(mortal.bootstrap, names)
        with pytest.raises(Fenced):
            await taken.commit(Committed(1), [Message(names.second, "k", b"never")])
    assert await read(log, names.second) == [b"0", b"1", b"witness", b"2", b"3"]


async def test_a_producer_forgotten_twice_in_a_row_stands_and_is_told_to_try_again(
    mortal: Mortal,
    make_kafka: Callable[[str], KafkaLog],
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = await set_up(make_kafka(mortal.bootstrap), names, partitions=2)
    naps = 2

    async def slept(*given: Any) -> None:
        nonlocal naps
        if naps:
            naps -= 1
            await asyncio.sleep(4)  # as a process does that is frozen just here
        await transact(*given)

    async with log.source(names.source) as source:
        await source.append([Message(names.second, "k", b"0")], 1)
        monkeypatch.setattr(writer, "transact", slept)
        with pytest.raises(Unavailable):
            await source.append([Message(names.second, "k", b"1")], 2)
        assert naps == 0
        await source.append([Message(names.second, "k", b"1")], 2)
    assert await read(log, names.second) == [b"0", b"1"]


class Echo(Hand):
    """Answers records one by one, with the errors of a commit understood as a Runner does."""

    commits = 0

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    async def run(self) -> None:
        assert self.consumer is not None
        while True:
            fetched = await patiently(lambda: self.consumer.poll(0.2))  # type: ignore[union-attr]
            for claim, records in fetched.items():
                await self._echo(claim, records)

    async def _echo(self, claim: Claim, records: Sequence[Record]) -> None:
        assert self.consumer is not None
        for record in records:
            reply = Message(self._target, record.key, record.value)
            mark = Committed(record.offset + 1)
            try:
                await patiently(lambda m=mark, r=reply: claim.commit(m, [r]))  # type: ignore[misc]
            except (Fenced, OutcomeUnknown):
                await patiently(lambda: self.consumer.reclaim(claim))  # type: ignore[union-attr]
                return
            self.commits += 1


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` answers, once the broker is there."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(0.1)


async def test_a_commit_meets_a_dying_broker_and_nothing_is_lost_or_twice(
    mortal: Mortal, marked: KafkaLog, names: Names
) -> None:
    count, deaths = 160, 2
    log = await set_up(marked, names, partitions=2)
    sent = [Message(names.first, f"k{n % 5}", b"%d" % n) for n in range(count)]
    await append(log, names.source, sent, 1)
    echo = Echo(names.second)
    echo.consumer = await log.join(names.group, [names.first], echo)
    echoing = asyncio.create_task(echo.run())
    for death in range(deaths):
        await until(lambda goal=(death + 1) * 40: echo.commits >= goal or echoing.done())  # type: ignore[misc]
        mortal.kill()
        await mortal.start()
    async with asyncio.timeout(60):
        while await patiently(lambda: log.lag(names.group, [names.first])):
            await asyncio.wait({echoing}, timeout=0.1)
    assert not echoing.done()
    echoing.cancel()
    by_key = defaultdict(list)
    async for record in log.read([names.second]):
        by_key[record.key].append(int(record.value))
    assert by_key == {f"k{k}": list(range(k, count, 5)) for k in range(5)}


async def test_a_broker_that_is_away_is_unavailable_and_the_claim_outlives_it(
    mortal: Mortal, marked: KafkaLog, names: Names
) -> None:
    log = await set_up(marked, names)
    claim = (await joined(log, names)).claim(0)
    await claim.commit(Committed(1), [Message(names.second, "k", b"before")])
    mortal.kill()
    try:
        with pytest.raises(Unavailable):
            await log.check()
        with pytest.raises(Unavailable):
            await log.join(names.group, [names.first], Hand())
        with pytest.raises(Unavailable):
            await claim.commit(Committed(2), [Message(names.second, "k", b"after")])
        with pytest.raises(Unavailable):
            await claim.commit(Committed(2), [Message(names.second, "k", b"after")])
    finally:
        await mortal.start()
    await patiently(lambda: claim.commit(Committed(2), [Message(names.second, "k", b"after")]))
    assert await read(log, names.second) == [b"before", b"after"]
