"""Messages as the batches that a producer sends: few futures, whatever their number.

Knows partitions by key and how full a batch is. Refuses to know transactions. Sent one by one, a
message would cost more in waiting for room and for its own answer than all the rest of its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2

from relay.log.port import Message


def batches(
    producer: AIOKafkaProducer, messages: Sequence[Message]
) -> Iterator[tuple[TopicPartition, Any]]:
    """Partition and batch, in order per partition; the topics' partitions have to be known."""
    filling: dict[TopicPartition, Any] = {}
    for message in messages:
        key = key_bytes(message.key)
        place = _place(producer, message.topic, key)
        batch = filling.get(place)
        if batch is None or not _append(batch, key, message):
            if batch is not None:
                yield place, batch
            batch = filling[place] = producer.create_batch()
            _append(batch, key, message)
    yield from filling.items()


def _append(batch: Any, key: bytes, message: Message) -> bool:
    """Whether it found room; an empty batch has room for any message."""
    headers = list(message.headers)
    added = batch.append(timestamp=None, key=key, value=message.value, headers=headers)
    return added is not None


def _place(producer: AIOKafkaProducer, topic: str, key: bytes) -> TopicPartition:
    count = len(producer.client.cluster.partitions_for_topic(topic))
    return TopicPartition(topic, number_of(key, count))


def number_of(key: bytes, partitions: int) -> int:
    """Where every Kafka client puts `key` by default."""
    return (_hash(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=16_384)
def _hash(key: bytes) -> int:
    """Kafka's own hash, slow in Python; a job's key comes by once a hop."""
    return int(murmur2(key))


def key_bytes(key: str) -> bytes:
    """A key as it lies on the log; the reverse of how records are read, for any bytes."""
    return key.encode("utf-8", "surrogateescape")
