"""What only the Kafka log has to stand: brokers that die, zombies, what aiokafka hides."""

import asyncio
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from pydantic import SecretStr

from relay.errors import Fenced, Misconfigured, OutcomeUnknown, Unavailable
from relay.log.kafka import KafkaLog, Timing
from relay.log.kafka.link import Client, Link
from relay.log.kafka.writer import Writer
from relay.log.port import Claim, Committed, Message, Record
from relay.settings import KafkaSecurity, Settings
from tests.relay.kafka_mortal import Mortal
from tests.relay.log_contract import Hand, Names, append, until
from tests.servers import KafkaAddress, SecureKafkaAddress

T = TypeVar("T")

QUICK = Timing(
    session=6.0, heartbeat=0.5, metadata=1.0, request=4.0, commit=10.0, first_offset=2.0, stop=3.0
)


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def make_log() -> AsyncIterator[Callable[[str], KafkaLog]]:
    """Logs by the address of their broker, closed at the end."""
    made: list[KafkaLog] = []

    def make(bootstrap: str) -> KafkaLog:
        made.append(KafkaLog(Settings(log=f"kafka://{bootstrap}"), QUICK))
        return made[-1]

    yield make
    for log in made:
        await log.close()


@pytest.fixture
async def log(
    kafka_server: KafkaAddress, make_log: Callable[[str], KafkaLog], names: Names
) -> KafkaLog:
    return await set_up(make_log(kafka_server.bootstrap), names)


async def set_up(log: KafkaLog, names: Names, partitions: int = 1) -> KafkaLog:
    """Two topics, a group on the first, and a source."""
    topics = {names.first: partitions, names.second: partitions}
    await log.apply(topics, {names.group: [names.first]}, [names.source])
    return log


async def joined(log: KafkaLog, names: Names, hand: Hand | None = None) -> Hand:
    """A member that holds all partitions of the first topic."""
    hand = hand or Hand()
    hand.consumer = await log.join(names.group, [names.first], hand)
    await until(lambda: hand.claims, hand)
    return hand


async def read(log: KafkaLog, topic: str) -> list[bytes]:
    return [record.value async for record in log.read([topic])]


@asynccontextmanager
async def admin_of(server: KafkaAddress) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    yield admin
    await admin.close()


def raw_producer(bootstrap: str, names: Names) -> AIOKafkaProducer:
    """What a claim on the first partition writes with."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{names.group}.{names.first}.0"
    )


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
    kafka_server: KafkaAddress, make_log: Callable[[str], KafkaLog], log: KafkaLog, names: Names
) -> None:
    hand = Breaks("revoked")
    await joined(log, names, hand)
    other = Hand()
    other.consumer = await make_log(kafka_server.bootstrap).join(names.group, [names.first], other)
    with pytest.raises(ZeroDivisionError):
        await until(lambda: False, hand)
    with pytest.raises(Fenced):
        await hand.seen[0].commit(Committed(1), [])
    hand.where = ""


async def test_a_partition_without_a_first_offset_refuses_after_a_while(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    hand = await joined(log, names)
    async with admin_of(kafka_server) as admin:
        await admin.create_partitions({names.first: NewPartitions(2)})
    with pytest.raises(Misconfigured, match="no committed offset"):
        await until(lambda: False, hand)
    await log.apply({}, {names.group: [names.first]}, [])
    await joined(log, names)


async def test_an_offset_beyond_the_end_refuses_and_one_below_the_start_does_not(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    for n in range(3):
        await append(log, names.source, [Message(names.first, "k", b"%d" % n)], n + 1)
    async with admin_of(kafka_server) as admin:
        await admin.delete_records({TopicPartition(names.first, 0): RecordsToDelete(4)})
    hand = await joined(log, names)
    await until(lambda: hand.got, hand)
    assert [r.value for r in hand.got] == [b"2"]
    await hand.claim(0).commit(Committed(99), [])
    assert hand.consumer is not None
    await hand.consumer.close()
    with pytest.raises(Misconfigured, match="made anew"):
        await until(lambda: False, await joined(log, names))


async def test_more_replicas_than_brokers_are_refused_by_the_settings_name(
    kafka_server: KafkaAddress, names: Names
) -> None:
    settings = Settings(log=f"kafka://{kafka_server.bootstrap}", kafka_replication=30)
    log = KafkaLog(settings, QUICK)
    with pytest.raises(Misconfigured, match="VOXRELAY_KAFKA_REPLICATION"):
        await log.apply({names.first: 1}, {}, [])
    await log.close()


async def test_following_goes_into_partitions_that_are_added(log: KafkaLog, names: Names) -> None:
    async with aclosing(log.read([names.first], follow=True)) as records:  # type: ignore[type-var]
        got: list[Record] = []

        async def follow() -> None:
            async for record in records:
                got.append(record)

        following = asyncio.create_task(follow())
        await append(log, names.source, [Message(names.first, "k", b"0")], 1)
        await until(lambda: got)
        await log.apply({names.first: 4}, {}, [])
        sent = [Message(names.first, f"k{n}", b"1") for n in range(20)]
        async with log.source(names.source) as source:
            await source.append(sent, 2)
        await until(lambda: len(got) == 21)
        following.cancel()
        await asyncio.wait([following])
    assert {record.partition for record in got} == {0, 1, 2, 3}


# -- what only sometimes goes wrong ---------------------------------------------------------------


class Answers(Link):
    """A link whose questions are answered from a list, the last one for ever."""

    def __init__(self, *answers: object) -> None:
        super().__init__("nowhere:1", {}, Timing(start=0.5))
        self._answers = list(answers)

    async def ask(self, question: str, *args: object, **kwargs: object) -> object:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def test_an_offset_absent_from_the_answer_is_asked_for_again_and_never_means_none() -> None:
    place, other = TopicPartition("t", 0), TopicPartition("t", 1)
    whole = {place: OffsetAndMetadata(7, "note"), other: OffsetAndMetadata(-1, "")}
    link = Answers({}, {other: OffsetAndMetadata(-1, "")}, whole)
    assert await link.offsets("g", [place, other]) == {place: Committed(7, "note"), other: None}
    with pytest.raises(Unavailable):
        await Answers({}).committed("g", [place])
    with pytest.raises(Misconfigured):
        await Answers(whole).committed("g", [place, other])


# -- brokers that die, and forget ---------------------------------------------------------------


async def test_a_forgotten_producer_goes_on_by_itself_unless_another_has(
    mortal: Mortal, make_log: Callable[[str], KafkaLog], names: Names
) -> None:
    log = await set_up(make_log(mortal.bootstrap), names, partitions=2)
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


async def take_over(bootstrap: str, names: Names) -> None:
    """Commit for the first partition, as an heir would."""
    async with raw_producer(bootstrap, names) as heir, heir.transaction():
        moved = {TopicPartition(names.first, 0): OffsetAndMetadata(0, "theirs")}
        await heir.send_offsets_to_transaction(moved, names.group)


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
    mortal: Mortal, make_log: Callable[[str], KafkaLog], names: Names
) -> None:
    count, deaths = 160, 2
    log = await set_up(make_log(mortal.bootstrap), names, partitions=2)
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
    mortal: Mortal, make_log: Callable[[str], KafkaLog], names: Names
) -> None:
    log = await set_up(make_log(mortal.bootstrap), names)
    claim = (await joined(log, names)).claim(0)
    await claim.commit(Committed(0, "before"), [Message(names.second, "k", b"before")])
    mortal.kill()
    try:
        with pytest.raises(Unavailable):
            await log.check()
        with pytest.raises(Unavailable):
            await log.join(names.group, [names.first], Hand())
        with pytest.raises(Unavailable):
            await claim.commit(Committed(0, "after"), [Message(names.second, "k", b"after")])
        with pytest.raises(Unavailable):
            await claim.commit(Committed(0, "after"), [Message(names.second, "k", b"after")])
    finally:
        await mortal.start()
    await claim.commit(Committed(0, "after"), [Message(names.second, "k", b"after")])
    assert await read(log, names.second) == [b"before", b"after"]


# -- security -----------------------------------------------------------------------------------


def secure(server: SecureKafkaAddress, **changes: object) -> Settings:
    options = {
        "log": f"kafka://{server.bootstrap}",
        "kafka_security": KafkaSecurity.SASL_SSL,
        "kafka_username": server.username,
        "kafka_password": SecretStr(server.password),
        "kafka_ca_file": server.ca_file,
    }
    return Settings.model_validate(options | changes)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
async def test_everything_goes_over_sasl_and_tls(
    secure_kafka_server: SecureKafkaAddress, names: Names, mechanism: str
) -> None:
    log = KafkaLog(secure(secure_kafka_server, kafka_sasl_mechanism=mechanism), QUICK)
    try:
        await set_up(log, names)
        await append(log, names.source, [Message(names.first, "k", b"0")], 1)
        hand = await joined(log, names)
        await until(lambda: hand.got, hand)
        await hand.claim(0).commit(Committed(1), [Message(names.second, "k", b"1")])
        assert await read(log, names.second) == [b"1"]
    finally:
        await log.close()


async def test_wrong_credentials_are_named(
    secure_kafka_server: SecureKafkaAddress, tmp_path: Path
) -> None:
    wrong = KafkaLog(secure(secure_kafka_server, kafka_password=SecretStr("no")), QUICK)
    with pytest.raises(Misconfigured, match="VOXRELAY_KAFKA_PASSWORD"):
        await wrong.check()
    strangers = KafkaLog(secure(secure_kafka_server, kafka_ca_file=None), QUICK)
    with pytest.raises(Misconfigured, match="VOXRELAY_KAFKA_CA_FILE"):
        await strangers.check()
    with pytest.raises(Misconfigured, match="VOXRELAY_KAFKA_CA_FILE"):
        KafkaLog(secure(secure_kafka_server, kafka_ca_file=tmp_path / "missing.pem"), QUICK)
