"""What only the Kafka log has to stand: transactions, zombies, members that break."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Fenced, Misconfigured
from relay.log.kafka import KafkaLog
from relay.log.kafka.link import Client, Link
from relay.log.kafka.reader import spans_of
from relay.log.kafka.writer import Writer
from relay.log.port import Claim, Committed, Message
from tests.relay.kafka_hands import QUICK, admin_of, joined, raw_producer, read, set_up, take_over
from tests.relay.log_contract import Hand, Names, append, until
from tests.servers import KafkaAddress


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def log(
    kafka_server: KafkaAddress, make_kafka: Callable[[str], KafkaLog], names: Names
) -> KafkaLog:
    return await set_up(make_kafka(kafka_server.bootstrap), names)


# -- transactions -------------------------------------------------------------------------------


async def test_what_an_owner_left_open_is_settled_before_its_heir_reads_the_offset(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    await append(log, names.source, [Message(names.first, "k", b"0")], 1)
    async with raw_producer(kafka_server.bootstrap, names) as dead:
        await dead.begin_transaction()
        await dead.send_and_wait(names.second, b"never")
        place = TopicPartition(names.first, 0)
        await dead.send_offsets_to_transaction({place: OffsetAndMetadata(1, "x")}, names.group)
        hand = await joined(log, names)
        assert hand.claim(0).committed == Committed(0, "")
        await until(lambda: hand.got, hand)
        await hand.claim(0).commit(Committed(1, "y"), [Message(names.second, "k", b"once")])
    assert await read(log, names.second) == [b"once"]  # and no open transaction holds it back


async def test_what_an_owner_commits_at_the_last_moment_is_known_to_its_heir(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    class Late(Link):
        """The old owner commits just before the new one fences it."""

        async def start(self, client: Client) -> None:
            if isinstance(client, AIOKafkaProducer):
                await take_over(kafka_server.bootstrap, names)
            await super().start(client)

    place = TopicPartition(names.first, 0)
    link = Late(kafka_server.bootstrap, {}, QUICK)
    heir = Writer(link, f"{names.group}.{names.first}.0", names.group, place)
    await heir.open()
    assert heir.committed == Committed(0, "theirs")
    await heir.close()
    await link.close()


async def test_aborted_messages_are_seen_by_nobody_and_leave_holes(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    await append(log, names.source, [Message(names.first, "k", b"0")], 1)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka_server.bootstrap, transactional_id=names.second
    ) as other:
        for _ in range(3):
            await other.begin_transaction()
            await other.send_and_wait(names.first, b"aborted", key=b"k")
            await other.abort_transaction()
    await append(log, names.source, [Message(names.first, "k", b"1")], 2)
    hand = await joined(log, names)
    await until(lambda: len(hand.got) == 2, hand)
    assert [r.value for r in hand.got] == [b"0", b"1"]
    assert hand.got[1].offset > hand.got[0].offset + 6
    assert await read(log, names.first) == [b"0", b"1"]
    assert await log.lag(names.group, [names.first]) == 2
    await hand.claim(0).commit(Committed(hand.got[1].offset + 1), [])
    assert await log.lag(names.group, [names.first]) == 0


async def test_a_consumer_that_asked_for_lag_asks_again_unless_it_was_cut_short(
    log: KafkaLog, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Names()
    await set_up(log, other)
    made: list[AIOKafkaConsumer] = []

    def consumer(self: Link, group: str | None = None) -> AIOKafkaConsumer:
        made.append(make(self, group))
        return made[-1]

    make = Link.consumer
    monkeypatch.setattr(Link, "consumer", consumer)
    for n in range(1, 4):
        await append(log, names.source, [Message(names.first, "k", b"1")], n)
        await append(log, other.source, [Message(other.first, "k", b"1")] * 2, n)
        assert await log.lag(names.group, [names.first]) == n
        assert await log.lag(other.group, [other.first]) == 2 * n
    assert len(made) == 1

    def ask() -> Coroutine[Any, Any, int]:
        return log.lag(names.group, [names.first])

    assert await asyncio.gather(ask(), ask(), ask()) == [3, 3, 3]
    assert len(made) == 3

    async def never(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    begun = asyncio.Event()
    with monkeypatch.context() as unheard:
        unheard.setattr("relay.log.kafka.lag.spans_of", never)
        asked = asyncio.create_task(ask())
        await begun.wait()
        asked.cancel()
        await asyncio.wait([asked])
    assert asked.cancelled()
    assert await asyncio.gather(ask(), ask(), ask()) == [3, 3, 3]
    assert len(made) == 4

    async def late(*given: Any) -> Any:
        begun.set()
        await closed.wait()
        return await spans_of(*given)

    begun, closed = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("relay.log.kafka.lag.spans_of", late)
    asked = asyncio.create_task(ask())
    await begun.wait()
    await log.close()
    closed.set()
    assert await asked == 3
    assert all(each._closed for each in made)


async def test_a_message_too_large_is_refused_before_anything_happens(
    log: KafkaLog, names: Names
) -> None:
    claim = (await joined(log, names)).claim(0)
    with pytest.raises(ValueError, match="too large"):
        await claim.commit(Committed(5), [Message(names.second, "k", b"x" * 1_100_000)])
    await claim.commit(Committed(0, "still ours"), [Message(names.second, "k", b"x" * 900_000)])
    assert [len(value) for value in await read(log, names.second)] == [900_000]


async def test_a_transaction_of_which_the_broker_refuses_a_message_commits_nothing(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    small = ConfigResource(ConfigResourceType.TOPIC, names.second, {"max.message.bytes": "2000"})
    async with admin_of(kafka_server) as admin:
        await admin.alter_configs([small])
    claim = (await joined(log, names)).claim(0)
    ok, refused = Message(names.first, "k", b"ok"), Message(names.second, "k", b"x" * 5000)
    with pytest.raises(Misconfigured, match="TooLarge"):
        await claim.commit(Committed(7), [ok, refused])
    await claim.commit(Committed(0, "still ours"), [])
    assert await read(log, names.first) == await read(log, names.second) == []


async def test_a_cancelled_commit_ends_its_claim(log: KafkaLog, names: Names) -> None:
    hand = await joined(log, names)
    claim = hand.claim(0)
    await claim.commit(Committed(0, "kept"), [Message(names.second, "k", b"kept")])
    committing = asyncio.create_task(
        claim.commit(Committed(0, "?"), [Message(names.second, "k", b"?")])
    )
    await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    with pytest.raises(Fenced):
        await claim.commit(Committed(0), [])
    assert hand.consumer is not None
    again = await hand.consumer.reclaim(claim)
    assert again is not None
    assert again.committed == Committed(0, "kept")
    await again.commit(Committed(0), [Message(names.second, "k", b"!")])
    assert await read(log, names.second) == [b"kept", b"!"]


# -- zombies ------------------------------------------------------------------------------------


async def test_a_zombie_is_told_that_it_is_fenced(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    zombie = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ZOMBIE, kafka_server.bootstrap),
        *(names.group, names.first, names.second),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert zombie.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await zombie.stdout.readline() == b"holding\n"
            zombie.send_signal(signal.SIGSTOP)
            heir = await joined(log, names)  # it was taken for dead
            zombie.send_signal(signal.SIGCONT)
            said, _ = await zombie.communicate(b"commit\n")
    finally:
        if zombie.returncode is None:
            zombie.kill()
    assert said == b"Fenced\n"
    await until(lambda: heir.claims, heir)  # the zombie joined again and left: a rebalance each
    await heir.claim(0).commit(Committed(0, "heir"), [Message(names.second, "k", b"heir")])
    assert await read(log, names.second) == [b"heir"]


ZOMBIE = """
import asyncio, sys
from relay.errors import RelayError
from relay.log.port import Committed, Message
from tests.relay.kafka_mortal import Mortal
from tests.relay.log_contract import Hand, until
from tests.relay.log_worker import open_log_at

async def main(place, group, source, target):
    hand = Hand()
    log = open_log_at(f"kafka:{place}")
    hand.consumer = await log.join(group, [source], hand)
    await until(lambda: hand.claims, hand)
    print("holding", flush=True)
    sys.stdin.readline()
    try:
        await hand.claim(0).commit(Committed(9), [Message(target, "k", b"ghost")])
    except RelayError as error:
        print(type(error).__name__, flush=True)
    await log.close()

asyncio.run(main(*sys.argv[1:]))
"""


# -- what aiokafka would swallow ----------------------------------------------------------------


class Breaks(Hand):
    """A member that fails where aiokafka would only log it."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.seen = where, list[Claim]()

    async def assigned(self, claim: Claim) -> None:
        self.seen.append(claim)
        if self.where == "assigned":
            raise ZeroDivisionError
        await super().assigned(claim)

    async def revoked(self, claim: Claim) -> None:
        if self.where == "revoked":
            raise ZeroDivisionError


async def test_what_breaks_when_a_claim_comes_breaks_the_next_poll(
    log: KafkaLog, names: Names
) -> None:
    hand = Breaks("assigned")
    with pytest.raises(ZeroDivisionError):
        await joined(log, names, hand)
    with pytest.raises(Fenced):
        await hand.seen[0].commit(Committed(1), [])
    with pytest.raises(ZeroDivisionError):
        await hand.poll()


async def test_what_breaks_when_a_claim_goes_breaks_the_next_poll(
    kafka_server: KafkaAddress, make_kafka: Callable[[str], KafkaLog], log: KafkaLog, names: Names
) -> None:
    hand = Breaks("revoked")
    await joined(log, names, hand)
    other = Hand()
    other.consumer = await make_kafka(kafka_server.bootstrap).join(
        names.group, [names.first], other
    )
    with pytest.raises(ZeroDivisionError):
        await until(lambda: False, hand)
    with pytest.raises(Fenced):
        await hand.seen[0].commit(Committed(1), [])
    hand.where = ""
