"""What the Kafka log finds set up wrongly, or changed; and its security."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata
from pydantic import SecretStr

from relay.errors import Misconfigured, Unavailable
from relay.log.kafka import KafkaLog, Timing, restore, setup
from relay.log.kafka.link import Link
from relay.log.port import Committed, Message, Record
from relay.settings import KafkaSecurity, Settings
from tests.relay.kafka_hands import QUICK, admin_of, joined, read, set_up
from tests.relay.log_contract import Hand, Names, append, until
from tests.servers import KafkaAddress, SecureKafkaAddress


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def log(
    kafka_server: KafkaAddress, make_kafka: Callable[[str], KafkaLog], names: Names
) -> KafkaLog:
    return await set_up(make_kafka(kafka_server.bootstrap), names)


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


async def test_a_group_without_offsets_is_not_sent_to_the_start_of_what_it_may_have_done(
    kafka_server: KafkaAddress, log: KafkaLog, names: Names
) -> None:
    other = Names()
    await append(log, names.source, [Message(names.first, "k", b"0")], 1)
    with pytest.raises(Misconfigured, match=f"topics apply --begin {other.group}"):
        await log.apply({}, {other.group: [names.first]}, [])
    with pytest.raises(Misconfigured, match="no committed offset"):
        await log.join(other.group, [names.first], Hand())
    address = Settings(log=f"kafka://{kafka_server.bootstrap}")
    begun = KafkaLog(address, QUICK, begin=[other.group])
    await begun.apply({}, {other.group: [names.first]}, [])
    await begun.close()
    assert await log.lag(other.group, [names.first]) == 1


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
        self.left = list(answers)

    async def ask(self, question: str, *args: object, **kwargs: object) -> object:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


async def test_an_offset_absent_from_the_answer_is_asked_for_again_and_never_means_none() -> None:
    place, other = TopicPartition("t", 0), TopicPartition("t", 1)
    whole = {place: OffsetAndMetadata(7, "note"), other: OffsetAndMetadata(-1, "")}
    link = Answers({}, {other: OffsetAndMetadata(-1, "")}, whole)
    assert await link.offsets.of("g", [place, other]) == {place: Committed(7, "note"), other: None}
    with pytest.raises(Unavailable):
        await Answers({}).offsets.committed("g", [place])
    with pytest.raises(Misconfigured):
        await Answers(whole).offsets.committed("g", [place, other])


PLACE = TopicPartition("t", 0)
NONE = {PLACE: OffsetAndMetadata(-1, "")}


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is committed by way of an `Answers`, none of it to a broker."""
    moved = list[object]()

    async def nothing(*_: object) -> None: ...

    async def transact(*given: object) -> None:
        moved.append(given[3])

    for module in (setup, restore):
        monkeypatch.setattr(module, "transact", transact)
    for name in ("start", "stop"):
        monkeypatch.setattr(Answers, name, nothing)
    monkeypatch.setattr(Answers, "producer", lambda *_: None)
    return moved


async def test_first_offsets_are_set_only_once_the_broker_tells_them(
    committed: list[object],
) -> None:
    told = {PLACE: OffsetAndMetadata(0, "")}
    link = Answers(NONE, NONE, NONE, NONE, told)
    await setup.Setup(link, 1, Settings().retention)._first_offsets("g", [PLACE])
    assert committed == [told]
    assert link.left == [told], "it asked until then"


async def test_offsets_are_put_back_only_once_the_broker_tells_them(
    committed: list[object],
) -> None:
    topics = [{"topic": "t", "partitions": [0]}]
    told = {PLACE: OffsetAndMetadata(7, "")}
    link = Answers(topics, NONE, topics, NONE, NONE, told)
    put_back = await restore.restore(link, {"g": {("t", 0): Committed(7)}})
    assert put_back == [("g", "t", 0, 7)]
    assert committed == [told]
    assert link.left == [told], "it asked until then"


async def test_settings_of_a_topic_that_a_broker_does_not_tell_are_left_as_they_are() -> None:
    """To alter one sets back all that are not named; a broker may not know a topic yet."""
    unknown = UnknownTopicOrPartitionError.errno, None, ConfigResourceType.TOPIC, "t", []
    altered = [SimpleNamespace(resources=[])]
    link = Answers([SimpleNamespace(resources=[unknown])], altered, altered)
    with pytest.raises(Unavailable, match="t: "):
        await setup.Setup(link, 1, Settings().retention)._retain(["t"])
    assert link.left == [altered, altered], "it asked once, and altered nothing"


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
