"""A member of a group on Kafka: claims, their delivery, and what a rebalance does to them.

Knows assignments and claims. Refuses to do anything slow in aiokafka's listener, which only logs
what fails in it and sends no heartbeat while it gives out partitions: claims are opened beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from relay.errors import Misconfigured, RelayError, Unavailable
from relay.log.kafka.failures import NoOffset, translating
from relay.log.kafka.link import Link
from relay.log.kafka.records import to_record
from relay.log.kafka.writer import Writer
from relay.log.port import Claim, Committed, Member, Message, Record

log = logging.getLogger(__name__)

_MOST_RECORDS = 512
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class KafkaClaim:
    """Ownership of one input partition: a writer nobody else may be."""

    def __init__(
        self, owner: KafkaConsumer, place: TopicPartition, writer: Writer, start: int
    ) -> None:
        self._owner = owner
        self.start = start
        self._born = writer.committed
        self.place = place
        self.writer = writer
        self.paused = False

    @property
    def topic(self) -> str:
        return str(self.place.topic)

    @property
    def partition(self) -> int:
        return int(self.place.partition)

    @property
    def committed(self) -> Committed:
        return self._born

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        await self.writer.commit(mark, messages)

    def pause(self) -> None:
        self.paused = True
        self._owner.heed(self)

    def resume(self) -> None:
        self.paused = False
        self._owner.heed(self)


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of a group.

    `_held` are the claims the member was told of, `_delivering` those of them whose records flow;
    `_round` counts what ended them all, so that whatever took long can see that it came too late.
    `_calls` is held while the member is told.
    """

    def __init__(self, link: Link, group: str, kafka: AIOKafkaConsumer, member: Member) -> None:
        self._link = link
        self._group = group
        self._kafka = kafka
        self._member = member
        self._held: dict[TopicPartition, KafkaClaim] = {}
        self._delivering: dict[TopicPartition, KafkaClaim] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._calls = asyncio.Lock()
        self._round = 0
        self._ended = asyncio.Event()
        self._fetching: asyncio.Task[dict[KafkaClaim, list[Record]]] | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = False

    # What the port asks for

    async def poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        """Records per claim; raises what a callback or an opening raised, and then for ever."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + max_wait
        found = await self._poll(max_wait)
        while not found and (left := deadline - clock()) > 0:
            found = await self._poll(left)
        return found

    async def _poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        """One look. A fetch that outlasts its poll goes on, and the next poll has its records."""
        if self._fetching is None and not self._failed.done():
            self._fetching = asyncio.create_task(self._fetch(max_wait))
        waited = {task for task in (self._fetching, self._failed) if task is not None}
        await asyncio.wait(waited, timeout=max_wait, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            self._failed.result()
        if self._fetching is None or not self._fetching.done():
            return {}
        fetching, self._fetching = self._fetching, None
        return {c: found for c, found in fetching.result().items() if self._holds(c)}

    async def reclaim(self, claim: Claim) -> KafkaClaim | None:
        if not isinstance(claim, KafkaClaim) or not self._holds(claim):
            return None
        self._hold_back(claim)
        ended, round_ = self._ended, self._round
        if claim.writer.fenced:
            # By whom? If we are a zombie, the next heartbeat says so: to claim again before that
            # would fence the rightful owner.
            await _within(ended, self._link.timing.heartbeat + 0.5)
        if self._round != round_:
            return None
        fresh = await self._open(claim.place)
        if self._round != round_ or not self._holds(claim):
            await fresh.writer.close()
            return None
        claim.writer.kill()
        self._deliver(fresh)
        return fresh

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._give_up()
        finally:
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.wait({self._fetching})
            await self._link.stop(self._kafka)
            if self._failed.done():
                self._failed.exception()  # or asyncio complains that nobody asked

    # What aiokafka tells

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        try:
            await self._give_up()
        except Exception as error:  # noqa: BLE001 aiokafka would only log it
            self._fail(error)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._closed or self._failed.done():
            return
        self._ended = asyncio.Event()
        try:
            for place in assigned:
                self._begin(place)
        except Exception as error:  # noqa: BLE001 aiokafka would only log it
            self._fail(error)

    # Claims come

    def _begin(self, place: TopicPartition) -> None:
        self._kafka.pause(place)
        # With a position, however wrong, aiokafka does not look for one by itself.
        self._kafka.seek(place, 0)
        task = asyncio.create_task(self._claim(place, self._round))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _claim(self, place: TopicPartition, round_: int) -> None:
        """Open the claim, however long that takes, and tell the member; for one round only."""
        task = asyncio.current_task()
        assert task is not None
        try:
            claim = await self._open_patiently(place)
            self._opening.discard(task)  # from here on nobody may cancel us
            self._telling.add(task)
            try:
                await self._tell(claim, round_)
            finally:
                self._telling.discard(task)
        except Exception as error:  # noqa: BLE001 it belongs to whoever polls
            self._fail(error)

    async def _tell(self, claim: KafkaClaim, round_: int) -> None:
        async with self._calls:
            if self._round != round_:
                await claim.writer.close()
                return
            self._held[claim.place] = claim
            await self._member.assigned(claim)
            self._deliver(claim)

    async def _open_patiently(self, place: TopicPartition) -> KafkaClaim:
        """Again and again while Kafka is away, or while `apply` is about to write an offset."""
        clock = asyncio.get_running_loop().time
        patience = clock() + self._link.timing.first_offset
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._open(place)
            except NoOffset:
                if clock() > patience:
                    raise
            except Unavailable as error:
                log.warning("%s waits for %s/%s: %s", self._group, *place, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _open(self, place: TopicPartition) -> KafkaClaim:
        name = f"{self._group}.{place.topic}.{place.partition}"
        writer = Writer(self._link, name, self._group, place)
        await writer.open()
        try:
            with translating():
                first = (await self._kafka.beginning_offsets([place]))[place]
        except BaseException:
            writer.kill()
            raise
        # Retention may have taken what lies between; commit markers outlive no record.
        return KafkaClaim(self, place, writer, max(first, writer.committed.offset))

    def _deliver(self, claim: KafkaClaim) -> None:
        """Let records of `claim` come, from where it was born."""
        self._held[claim.place] = self._delivering[claim.place] = claim
        self._kafka.seek(claim.place, claim.start)
        self.heed(claim)

    def _hold_back(self, claim: KafkaClaim) -> None:
        """Let no record of `claim` come any more."""
        if self._delivering.pop(claim.place, None) is not None:
            self._kafka.pause(claim.place)

    # Claims go

    async def _give_up(self) -> None:
        """Every claim is revoked, and then nobody's; what is still being opened is not told."""
        self._round += 1
        self._ended.set()
        for task in list(self._opening):
            task.cancel()
        async with self._calls:
            claims = list(self._held.values())
            try:
                for claim in claims:
                    await self._member.revoked(claim)
            finally:
                self._held.clear()
                self._delivering.clear()
                await asyncio.gather(*(claim.writer.close() for claim in claims))

    def _fail(self, error: Exception) -> None:
        """From now on nothing is committed, and every poll raises `error`."""
        log.error("%s fails: %s", self._group, type(error).__name__)
        self._round += 1
        self._ended.set()
        for claim in self._held.values():
            claim.writer.kill()
        if not self._failed.done():
            self._failed.set_exception(error)

    # Records

    async def _fetch(self, max_wait: float) -> dict[KafkaClaim, list[Record]]:
        """What aiokafka has; bound to its claims before anybody else can run."""
        try:
            self._demand_life()
            with translating():
                found = await self._kafka.getmany(
                    timeout_ms=round(max_wait * 1000), max_records=_MOST_RECORDS
                )
        except RelayError as error:
            self._demand_life()
            return self._explain(error)
        return {
            self._delivering[place]: [to_record(record) for record in records]
            for place, records in found.items()
            if place in self._delivering
        }

    def _explain(self, error: RelayError) -> dict[KafkaClaim, list[Record]]:
        cause = error.__cause__
        if isinstance(cause, NoOffsetForPartitionError):
            return {}  # aiokafka looked for itself before it told us; `_open` says it better
        if isinstance(cause, OffsetOutOfRangeError):
            raise Misconfigured(
                f"Group {self._group} has committed an offset that its topic does not have: the "
                "topic was made anew, or has lost its end"
            ) from cause
        raise error

    def _demand_life(self) -> None:
        """Raise if a loop of aiokafka itself has died: it says so once, and is dead for ever."""
        for task in (self._kafka._coordinator._coordination_task, self._kafka._fetcher._fetch_task):
            if task.done():
                raise RuntimeError("a loop of the Kafka client has ended") from task.exception()

    def _holds(self, claim: KafkaClaim) -> bool:
        return self._held.get(claim.place) is claim

    def heed(self, claim: KafkaClaim) -> None:
        """Pause or resume as `claim` wishes; nothing, where it does not deliver."""
        if self._delivering.get(claim.place) is claim and claim.place in self._kafka.assignment():
            (self._kafka.pause if claim.paused else self._kafka.resume)(claim.place)


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for `event`, but no longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
