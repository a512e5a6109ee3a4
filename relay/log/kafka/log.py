"""`KafkaLog`: the `Log` port over a cluster, put together from its parts."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

from relay.log.kafka.batches import key_bytes, number_of
from relay.log.kafka.consumer import KafkaConsumer
from relay.log.kafka.lag import Lag
from relay.log.kafka.link import Link
from relay.log.kafka.reader import Reader
from relay.log.kafka.setup import POSITION, Setup, position_group
from relay.log.kafka.timing import Timing
from relay.log.kafka.writer import Writer
from relay.log.marks import Marks
from relay.log.port import Committed, Member, Message, Place, Record
from relay.settings import Settings

_FILES = 8192


class KafkaLog:
    """A log on the cluster that the settings name; nothing is opened before the first call."""

    def __init__(
        self,
        settings: Settings,
        timing: Timing | None = None,
        marks: Marks | None = None,
        begin: Collection[str] = (),
    ) -> None:
        self._link = Link.of(settings, timing or Timing(), marks)
        self._setup = Setup(self._link, settings.kafka_replication, settings.retention, begin)
        self._reader = Reader(self._link)
        self._lag = Lag(self._link)
        self._open = AsyncExitStack()
        self._open.push_async_callback(self._link.close)
        self._open.push_async_callback(self._lag.close)

    async def join(self, group: str, topics: Sequence[str], member: Member) -> KafkaConsumer:
        _allow_files()
        # Refuse what is not set up here, not at the first assignment.
        await self._link.offsets.begun(group, await self._link.partitions(topics))
        kafka = self._link.consumer(group)
        await self._link.start(kafka)
        consumer = KafkaConsumer(self._link, group, kafka, member)
        consumer.subscribe(topics)
        self._open.push_async_callback(consumer.close)
        return consumer

    @asynccontextmanager
    async def source(self, name: str) -> AsyncIterator[KafkaSource]:
        """The source `name`; its offset is that of a group nobody joins, on an empty topic."""
        writer = Writer(self._link, f"source.{name}", position_group(name), POSITION)
        await writer.open()
        try:
            yield KafkaSource(writer)
        finally:
            await writer.close()

    def read(
        self,
        topics: Sequence[str],
        since: datetime | None = None,
        follow: bool = False,
        *,
        until: datetime | None = None,
        key: str | None = None,
        start: Mapping[Place, int] | None = None,
        numbers: Collection[int] | None = None,
    ) -> AsyncIterator[Record]:
        return self._reader.read(topics, since, follow, until, key, start or {}, numbers)

    async def starts(self, topics: Sequence[str]) -> Mapping[Place, int]:
        return await self._reader.starts(topics)

    async def ends(
        self, topics: Sequence[str], until: datetime | None = None
    ) -> Mapping[Place, int]:
        return await self._reader.ends(topics, until)

    def partition_of(self, key: str, partitions: int) -> int:
        return number_of(key_bytes(key), partitions)

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        return await self._lag.of(group, topics)

    async def apply(
        self,
        partitions: Mapping[str, int],
        groups: Mapping[str, Sequence[str]],
        sources: Sequence[str],
    ) -> None:
        await self._setup.apply(partitions, groups, sources)

    async def trim(self, kept: Mapping[str, timedelta]) -> int:
        return 0  # `retention.ms` of each topic

    async def check(self) -> None:
        await self._link.ask("describe_cluster")

    async def close(self) -> None:
        await self._open.aclose()


class KafkaSource:
    """A feeder with its position inside the transaction that appends."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @property
    def position(self) -> int:
        return self._writer.committed.offset

    async def append(self, messages: Sequence[Message], position: int) -> None:
        await self._writer.commit(Committed(position), messages)


def _allow_files() -> None:
    """Let this process open connections enough: each partition's writer has its own two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
