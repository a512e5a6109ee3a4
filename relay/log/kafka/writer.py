"""The one writer under a stable transactional.id, and the committed offset that it alone moves.

Knows transactions. Refuses to know who owns it: a claim of a partition and a source are the same
to it. To open a writer fences the earlier holder of its id and settles what that one left open;
only then is the offset read, so it is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Fenced, OutcomeUnknown, Unavailable
from relay.log.kafka.batches import batches
from relay.log.kafka.failures import FORGOTTEN, causes, translate, translating
from relay.log.kafka.link import Link
from relay.log.port import Committed, Message, refuse_long

MOST_METADATA = 4000
_BROKEN = (KafkaError, IllegalOperation, AssertionError, OSError)
"""What aiokafka raises where a transaction goes wrong; it asserts its own states."""


class Forgotten(Unavailable):
    """The broker has dropped our producer id; nothing of this transaction was committed."""

    def __init__(self) -> None:
        super().__init__("Kafka has forgotten who we are")


class Writer:
    """Appends messages and moves one committed offset, both or neither, while nobody fences it.

    A transaction that breaks before its end was asked for takes only its producer with it: the
    next commit opens another, and goes on if nobody else has moved the offset.
    """

    def __init__(self, link: Link, name: str, group: str, place: TopicPartition) -> None:
        self._link = link
        self._name = name
        self._group = group
        self._place = place
        self._producer: AIOKafkaProducer | None = None
        self._over = False
        self._turn = asyncio.Lock()
        self.fenced = False
        self.committed = Committed(0)

    async def open(self) -> None:
        """Become the writer; raises `NoOffset` where nothing was ever committed."""
        producer = self._link.producer(self._name)
        await self._link.start(producer)
        try:
            found = await self._link.offsets.begun(self._group, [self._place])
        except BaseException:
            self._link.abandon(producer)
            raise
        self._producer, self.committed = producer, found[self._place]

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        """Append and move to `mark`, or raise.

        `ValueError`, `Unavailable`, `Misconfigured`: nothing happened, and we still stand. After
        `Fenced` and `OutcomeUnknown` we are no more.
        """
        _check(mark, messages)
        async with self._turn:
            try:
                await self._commit(mark, messages)
            except Forgotten:  # once is the way of an idle producer; twice is a process that slept
                await self._commit(mark, messages)
            self.committed = mark
            self._link.offsets.note(self._group, self._place, mark)

    async def close(self) -> None:
        """End; what was being committed is settled by whoever opens next."""
        self._over = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._link.stop(producer)

    def kill(self) -> None:
        """End at once: from here on a commit raises `Fenced`."""
        self._over = True
        producer, self._producer = self._producer, None
        if producer is not None:
            self._link.abandon(producer)

    async def _commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        await self._stand()
        await self._know_topics({message.topic for message in messages})
        # Taken out for the time of the transaction: a producer whose transaction broke is lost.
        producer, self._producer = self._producer, None
        if producer is None:
            raise Fenced(f"{self._name} was closed meanwhile")
        moves = {self._place: OffsetAndMetadata(mark.offset, mark.metadata)}
        try:
            await transact(self._link, producer, self._group, moves, messages)
            if not self._over:
                self._producer = producer
        except (Fenced, OutcomeUnknown) as error:
            self._over = True
            self.fenced = isinstance(error, Fenced) or _is_fenced(error)
            raise
        except asyncio.CancelledError:
            self._over = True
            raise
        finally:
            if self._producer is None:
                self._link.abandon(producer)

    async def _stand(self) -> None:
        """Have a producer again after one broke, if nobody has moved the offset since we did."""
        if self._over:
            raise Fenced(f"{self._name} is not ours any more")
        if self._producer is not None:
            return
        known = self.committed
        await self.open()
        if self._over or self.committed != known:
            self.fenced = self.committed != known
            self.kill()
            raise Fenced(f"{self._name} was taken over meanwhile")

    async def _know_topics(self, topics: Set[str]) -> None:
        """Have the topics' partitions at hand, so that nothing waits inside the transaction.

        We ask first ourselves: aiokafka would wait long for a topic that is missing, and a broker
        set up so would make it.
        """
        producer = self._producer
        if producer is None:
            return
        unknown = topics - producer.client.cluster.topics()
        if unknown:
            await self._link.partitions(unknown)
        with translating():
            for topic in topics:
                await producer.partitions_for(topic)


async def transact(
    link: Link,
    producer: AIOKafkaProducer,
    group: str,
    moves: Mapping[TopicPartition, OffsetAndMetadata],
    messages: Sequence[Message],
) -> None:
    """One transaction: `messages`, and `group`'s offsets to `moves`.

    `Fenced`, `Forgotten`, `Misconfigured`, `Unavailable`: nothing was committed, nor will be, since
    the end was never asked for. `OutcomeUnknown`: it was. After any the producer is of no more use.
    """
    try:
        async with asyncio.timeout(link.timing.request):
            await producer.begin_transaction()
            await _fill(producer, group, moves, messages)
    except _BROKEN as error:
        raise _why(producer, error) from error
    try:
        async with asyncio.timeout(link.timing.commit):
            await producer.commit_transaction()
    except _BROKEN as error:
        told = _why(producer, error)
        raise OutcomeUnknown(f"a commit broke: {type(told).__name__}") from (
            told if isinstance(told, Fenced) else error
        )


async def _fill(
    producer: AIOKafkaProducer,
    group: str,
    moves: Mapping[TopicPartition, OffsetAndMetadata],
    messages: Sequence[Message],
) -> None:
    """Send everything and see it acknowledged.

    The offset first: while the broker still writes the markers of the transaction before this one,
    aiokafka asks again after 5 ms for an offset and after 20 for messages. And every answer is
    looked at, since it would commit a transaction of which a batch was refused.
    """
    await producer.send_offsets_to_transaction(dict(moves), group)
    sent = [
        await producer.send_batch(batch, place.topic, partition=place.partition)
        for place, batch in batches(producer, messages)
    ]
    for answer in await asyncio.gather(*sent, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


def _why(producer: AIOKafkaProducer, error: BaseException) -> Exception:
    """What broke a transaction that raised `error`."""
    seen = list(causes([error, *_sender_failure(producer)]))
    if any(isinstance(cause, ProducerFenced) for cause in seen):
        return Fenced("another writer took over, or the broker ended a transaction of ours")
    if any(isinstance(cause, FORGOTTEN) for cause in seen):
        return Forgotten()
    return translate(error)


def _is_fenced(error: BaseException) -> bool:
    return any(isinstance(cause, Fenced) for cause in causes([error]))


def _sender_failure(producer: AIOKafkaProducer) -> list[BaseException]:
    """What ended aiokafka's sender; its futures carry copies that have lost their cause."""
    waiter = producer._txn_manager.wait_for_transaction_end()
    if waiter is not None and waiter.done() and not waiter.cancelled():
        waiter.exception()  # or asyncio complains that nobody asked
    task = producer._sender.sender_task
    if task is None or not task.done() or task.cancelled():
        return []
    error = task.exception()
    return [error] if error else []


def _check(mark: Committed, messages: Sequence[Message]) -> None:
    """Refuse what Kafka would refuse, before anything is begun."""
    if len(mark.metadata) > MOST_METADATA or not mark.metadata.isascii():
        raise ValueError(f"an offset's metadata is at most {MOST_METADATA} bytes of ASCII")
    refuse_long(messages)
