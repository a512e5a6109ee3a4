"""The one writer under a stable transactional.id, and the committed offset that it alone moves.

Knows transactions. Refuses to know who owns it: a claim of a partition and a source are the same
to it. To open a writer fences the earlier holder of its id and settles what that one left open;
only then is the offset read, so it is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    ProducerFenced,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Fenced, Misconfigured, OutcomeUnknown, RelayError, Unavailable
from relay.log.kafka.failures import FORGOTTEN, causes, translate
from relay.log.kafka.link import MOST_BYTES, Link
from relay.log.port import Committed, Message

MOST_METADATA = 4000
_OVERHEAD = 200  # of a record and its headers' lengths, generously
_BROKEN = (KafkaError, IllegalOperation, AssertionError, OSError)
"""What aiokafka raises where a transaction goes wrong; it asserts its own states."""


class Forgotten(Exception):
    """The broker has dropped our producer id; nothing of this transaction was committed."""


class Writer:
    """Appends messages and moves one committed offset, both or neither, while nobody fences it."""

    def __init__(self, link: Link, name: str, group: str, place: TopicPartition) -> None:
        self._link = link
        self._name = name
        self._group = group
        self._place = place
        self._producer: AIOKafkaProducer | None = None
        self._closed = False
        self.fenced = False
        self.committed = Committed(0)

    async def open(self) -> None:
        """Become the writer; raises `NoOffset` where nothing was ever committed."""
        producer = self._link.producer(self._name)
        await self._link.start(producer)
        try:
            found = await self._link.committed(self._group, [self._place])
        except BaseException:
            self._link.abandon(producer)
            raise
        self._producer, self.committed = producer, found[self._place]

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        """Append and move to `mark`, or raise; after any error but `ValueError` we are no more."""
        _check(mark, messages)
        try:
            await self._commit(mark, messages)
        except Forgotten:
            await self._open_again()
            await self._commit(mark, messages)
        self.committed = mark

    async def close(self) -> None:
        """End; what was being committed is settled by whoever opens next."""
        self._closed = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._link.stop(producer)

    def kill(self) -> None:
        """End at once: from here on a commit raises `Fenced`."""
        self._closed = True
        producer, self._producer = self._producer, None
        if producer is not None:
            self._link.abandon(producer)

    async def _commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        # Taken out for the time of the transaction: one that fails never comes back.
        producer, self._producer = self._producer, None
        if producer is None or self._closed:
            raise Fenced(f"{self._name} is not ours any more")
        moves = {self._place: OffsetAndMetadata(mark.offset, mark.metadata)}
        try:
            await transact(self._link, producer, self._group, moves, messages)
        except Fenced:
            self.fenced = True
            self._link.abandon(producer)
            raise
        except BaseException:
            self._link.abandon(producer)
            raise
        if self._closed:
            self._link.abandon(producer)
        else:
            self._producer = producer

    async def _open_again(self) -> None:
        """A new producer, if nobody has moved the offset since we did: then we still stand."""
        known = self.committed
        await self.open()
        if self.committed != known:
            self.fenced = True
            self.kill()
            raise Fenced(f"{self._name} was taken over while we were idle")


async def transact(
    link: Link,
    producer: AIOKafkaProducer,
    group: str,
    moves: Mapping[TopicPartition, OffsetAndMetadata],
    messages: Sequence[Message],
) -> None:
    """One transaction: `messages`, and `group`'s offsets to `moves`.

    `Fenced`, `Forgotten`, `Misconfigured`: nothing was committed. `OutcomeUnknown`: whatever else.
    After any of them the producer is of no more use.
    """
    try:
        async with asyncio.timeout(link.timing.commit):
            await _know_topics(link, producer, messages)
            await producer.begin_transaction()
            await _fill(producer, group, moves, messages)
            await producer.commit_transaction()
    except _BROKEN as error:
        raise _verdict(producer, error) from error


async def _know_topics(link: Link, producer: AIOKafkaProducer, messages: Sequence[Message]) -> None:
    """Have the topics' partitions at hand, so that nothing waits inside the transaction."""
    topics = {message.topic for message in messages}
    try:
        for topic in topics:
            await producer.partitions_for(topic)
    except UnknownTopicOrPartitionError as error:
        await link.partitions(topics)  # says whether the topic or the broker is missing
        raise Unavailable("Kafka does not tell yet where a new topic lies") from error


async def _fill(
    producer: AIOKafkaProducer,
    group: str,
    moves: Mapping[TopicPartition, OffsetAndMetadata],
    messages: Sequence[Message],
) -> None:
    """Send everything and see it acknowledged.

    aiokafka commits a transaction of which a batch was refused, so each answer is looked at.
    """
    sent = [
        await producer.send(m.topic, m.value, key=key_bytes(m.key), headers=list(m.headers))
        for m in messages
    ]
    answers = await asyncio.gather(
        producer.send_offsets_to_transaction(dict(moves), group), *sent, return_exceptions=True
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    for failure in causes(failures):
        if isinstance(failure, FORGOTTEN):
            raise Forgotten from failure
    for failure in failures:
        raise failure


def _verdict(producer: AIOKafkaProducer, error: BaseException) -> Exception:
    """What became of a transaction that raised `error`."""
    seen = list(causes([error, *_sender_failure(producer)]))
    if any(isinstance(cause, ProducerFenced) for cause in seen):
        return Fenced("another writer took over, or the broker ended a transaction of ours")
    told = next((c for c in seen if isinstance(c, RelayError)), None) or translate(error)
    if isinstance(told, Misconfigured | Fenced):
        return told
    return OutcomeUnknown(f"a commit broke: {str(error) or type(error).__name__}")


def _sender_failure(producer: AIOKafkaProducer) -> list[BaseException]:
    """What ended aiokafka's sender; its futures carry copies that have lost their cause."""
    task = producer._sender.sender_task
    if task is None or not task.done() or task.cancelled():
        return []
    error = task.exception()
    return [error] if error else []


def _check(mark: Committed, messages: Sequence[Message]) -> None:
    """Refuse what Kafka would refuse, before anything is begun."""
    if len(mark.metadata) > MOST_METADATA or not mark.metadata.isascii():
        raise ValueError(f"an offset's metadata is at most {MOST_METADATA} bytes of ASCII")
    for message in messages:
        size = len(message.value) + len(key_bytes(message.key)) + _OVERHEAD
        size += sum(len(name) + len(value) + 10 for name, value in message.headers)
        if size > MOST_BYTES:
            raise ValueError(f"a message for {message.topic} is too large: {size} bytes")


def key_bytes(key: str) -> bytes:
    """A key as it lies on the log; the reverse of how records are read, for any bytes."""
    return key.encode("utf-8", "surrogateescape")
