"""Making what is missing: topics, partitions, and everybody's first offsets.

Knows how each topic is kept. Refuses to change what exists: a setting of a topic (but for how long
it is kept), an offset, a partition count that is higher than asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidPartitionsError, TopicAlreadyExistsError, for_code
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Misconfigured, Unavailable
from relay.log.kafka.failures import translate, translating
from relay.log.kafka.link import Link
from relay.log.kafka.writer import transact
from relay.log.port import LONGEST
from relay.retention import Retention
from schemas.topics import BY_NAME, POSITIONS, RETENTION_DAYS

log = logging.getLogger(__name__)

POSITION = TopicPartition(POSITIONS, 0)
_HEAD_BYTES = 48_576  # of a batch, and some
_RETENTION = "retention.ms"
_TOPICS_OWN = 1
"""`DYNAMIC_TOPIC_CONFIG`: set for this topic, not inherited."""
_LOOK_AGAIN = 0.05


_POSITION = "position."


def position_group(source: str) -> str:
    """The group whose committed offset is the position of `source`."""
    return _POSITION + source


def source_of(group: str) -> str:
    """The source whose position is `group`'s committed offset."""
    return group.removeprefix(_POSITION)


async def until_told(link: Link, group: str, places: Sequence[TopicPartition]) -> None:
    """Wait until what was committed is told: the broker answers a commit before it shows it.

    Whoever starts right after us would find no offset, and refuse to.
    """
    try:
        async with asyncio.timeout(link.timing.start):
            while True:
                if None not in (await link.offsets.of(group, places)).values():
                    return
                await asyncio.sleep(_LOOK_AGAIN)
    except TimeoutError:
        raise Unavailable(f"Kafka does not show what group {group} has committed") from None


class Setup:
    """One application of a table of topics to a cluster."""

    def __init__(
        self, link: Link, replication: int, kept: Retention, begin: Collection[str] = ()
    ) -> None:
        """`begin` are groups that may begin at records of old; see `_refuse_to_repeat`."""
        self._kept = kept.topics
        self._link = link
        self._replication = replication
        self._begin = set(begin)

    async def apply(
        self,
        partitions: Mapping[str, int],
        groups: Mapping[str, Sequence[str]],
        sources: Sequence[str],
    ) -> None:
        """Topics first, then the offsets of groups and sources in them."""
        await self._look_at_retention()
        await self._topics({**partitions, POSITIONS: 1})
        for group, topics in groups.items():
            places = await self._link.partitions(topics)
            if group in self._begin:
                await self._link.offsets.forget(group)
            else:
                await self._refuse_to_repeat(group, places)
            await self._first_offsets(group, places)
        for source in sources:
            await self._first_offsets(position_group(source), [POSITION])

    async def _topics(self, wanted: Mapping[str, int]) -> None:
        have = await self._link.counts()
        missing = [self._new(name, count) for name, count in wanted.items() if name not in have]
        if missing:
            answer = await self._link.ask("create_topics", missing)
            for name, code, *rest in answer.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise translate(error(f"{name}: {rest[0] if rest else ''}"))
        for name, count in wanted.items():
            if have.get(name, count) < count:
                await self._widen(name, count)
        await self._until_there(wanted)
        await self._retain(name for name in have if name in self._kept)

    def _new(self, name: str, partitions: int) -> NewTopic:
        base = BY_NAME.get(name)
        configs = {
            "cleanup.policy": "compact" if base and base.compacted else "delete",
            _RETENTION: self._milliseconds(name),
            "retention.bytes": "-1",
            "max.message.bytes": str(LONGEST + _HEAD_BYTES),
            "min.insync.replicas": str(max(1, self._replication - 1)),
            # A record's time is when it was appended, by the broker's clock and in order.
            "message.timestamp.type": "LogAppendTime",
        }
        return NewTopic(name, partitions, self._replication, topic_configs=configs)

    def _milliseconds(self, topic: str) -> str:
        kept = self._kept.get(topic, timedelta(days=RETENTION_DAYS))
        return str(kept // timedelta(milliseconds=1))

    async def _retain(self, topics: Iterable[str]) -> None:
        """Let each topic be kept as the settings say; its other settings stay as they are."""
        wishes = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        answers = await self._link.ask("describe_configs", wishes)
        changed = list[ConfigResource]()
        for resource in [found for answer in answers for found in answer.resources]:
            if code := resource[0]:  # told nothing, we would set back all that we do not name
                raise translate(for_code(code)(f"{resource[3]}: {resource[1] or ''}"))
            own = {entry[0]: entry[1] for entry in resource[4] if entry[3] == _TOPICS_OWN}
            if own.get(_RETENTION) != (days := self._milliseconds(resource[3])):
                own[_RETENTION] = days
                changed.append(ConfigResource(ConfigResourceType.TOPIC, resource[3], own))
                log.info("Topic %s is kept for %s ms from now on", resource[3], days)
        if changed:
            for answer in await self._link.ask("alter_configs", changed):
                for code, message, *_ in answer.resources:
                    if code:
                        raise translate(for_code(code)(message or ""))

    async def _widen(self, name: str, count: int) -> None:
        try:
            await self._link.ask("create_partitions", {name: NewPartitions(count)})
        except Unavailable as error:
            if not isinstance(error.__cause__, InvalidPartitionsError):
                raise  # that one says that somebody else was faster
        log.info("Topic %s now has %d partitions", name, count)

    async def _until_there(self, wanted: Mapping[str, int]) -> None:
        """Wait until brokers tell of what the controller has made."""
        try:
            async with asyncio.timeout(self._link.timing.start):
                while True:
                    have = await self._link.counts()
                    if all(have.get(name, 0) >= count for name, count in wanted.items()):
                        return
                    await asyncio.sleep(_LOOK_AGAIN)
        except TimeoutError:
            raise Unavailable("Kafka has not made our topics in time") from None

    async def _first_offsets(self, group: str, places: Sequence[TopicPartition]) -> None:
        """Offset 0 where `group` has none.

        Within a transaction, since a group with members takes no other commit from outside. Only
        one at a time can be between reading and writing (the id fences), and no member can commit
        for a partition without a first offset, so nothing that exists is overwritten.
        """
        if not await self._lacking(group, places):
            return
        producer = self._link.producer(f"apply.{group}")
        await self._link.start(producer)
        try:
            lacking = await self._lacking(group, places)
            if lacking:
                moves = dict.fromkeys(lacking, OffsetAndMetadata(0, ""))
                await transact(self._link, producer, group, moves, ())
                await until_told(self._link, group, lacking)
        finally:
            await self._link.stop(producer)

    async def _refuse_to_repeat(self, group: str, places: Sequence[TopicPartition]) -> None:
        """`Misconfigured` where `group` has no offset in all of a topic, and records lie in it.

        A group whose offsets the broker has dropped looks like a new one, and would repeat all its
        work from 0. Where other partitions of the topic have one, this one was only added.
        """
        lacking = set(await self._lacking(group, places))
        kept = {place.topic for place in places if place not in lacking}
        for topic in sorted({place.topic for place in lacking} - kept):
            if await self._holds_records([p for p in places if p.topic == topic]):
                raise Misconfigured(
                    f"Group {group} has no committed offset on topic {topic}, which holds records: "
                    "it is new, or Kafka has dropped its offsets. docs/reliability.md says how to "
                    "put an old group where it was; to let a new one begin at the first record run "
                    f"`voxrelay topics apply --begin {group}`"
                )

    async def _holds_records(self, places: Sequence[TopicPartition]) -> bool:
        kafka = self._link.consumer()
        await self._link.start(kafka)
        try:
            with translating():
                return any((await kafka.end_offsets(places)).values())
        finally:
            await self._link.stop(kafka)

    async def _look_at_retention(self) -> None:
        """Say so where the broker drops an idle group's offsets before its topics' records."""
        name = "offsets.retention.minutes"
        try:
            cluster = await self._link.ask("describe_cluster")
            node = str(cluster["brokers"][0]["node_id"])
            wish = ConfigResource(ConfigResourceType.BROKER, node, {name: None})
            answers = await self._link.ask("describe_configs", [wish])
        except Misconfigured:
            return  # who may not look is not to be told
        entries = [entry for answer in answers for found in answer.resources for entry in found[4]]
        minutes = next((int(entry[1]) for entry in entries if entry[0] == name), None)
        if minutes is not None and minutes < RETENTION_DAYS * 24 * 60:
            log.warning(
                "%s is %d minutes on this cluster, shorter than our topics are kept: a stage or a "
                "source that rests for longer loses its place, and waits for `topics restore`",
                *(name, minutes),
            )

    async def _lacking(self, group: str, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        found = await self._link.offsets.of(group, places)
        return [place for place in places if found[place] is None]
