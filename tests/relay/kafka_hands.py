"""What tests of the Kafka log do again and again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from relay.log.kafka import KafkaLog, Timing
from tests.relay.log_contract import Hand, Names, until
from tests.servers import KafkaAddress

QUICK = Timing(
    session=6.0, heartbeat=0.5, metadata=1.0, request=4.0, commit=10.0, first_offset=2.0, stop=3.0
)


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


async def take_over(bootstrap: str, names: Names) -> None:
    """Commit for the first partition, as an heir would."""
    async with raw_producer(bootstrap, names) as heir, heir.transaction():
        moved = {TopicPartition(names.first, 0): OffsetAndMetadata(0, "theirs")}
        await heir.send_offsets_to_transaction(moved, names.group)
