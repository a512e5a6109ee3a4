"""A member's claims: how they come and go with aiokafka's assignments.

Knows partitions, writers and the member that is told. Refuses to do anything slow in aiokafka's
listener, which only logs what fails in it and sends no heartbeat while it gives out partitions:
claims are opened beside it. Refuses to know how records are fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from relay.errors import Unavailable
from relay.log.kafka.failures import translating
from relay.log.kafka.link import Link
from relay.log.kafka.writer import Writer
from relay.log.port import Committed, Member, Message

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_AT_ONCE = 16
"""Writers that are opened at the same time; each costs a few connections and requests."""


class KafkaClaim:
    """Ownership of one input partition: a writer nobody else may be."""

    def __init__(self, owner: Claims, place: TopicPartition, writer: Writer, start: int) -> None:
        self._owner = owner
        self._born = writer.committed
        self.place = place
        self.writer = writer
        self.start = start
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


class Claims(ConsumerRebalanceListener):  # type: ignore[misc]
    """What one member holds.

    `_held` are the claims the member was told of, `delivering` those of them whose records flow;
    `_round` counts what ended them all, so that whatever took long can see that it came too late.
    `_calls` is held while the member is told. `failed` gets what nobody was there to be told.
    """

    def __init__(self, link: Link, group: str, kafka: AIOKafkaConsumer, member: Member) -> None:
        self._link = link
        self._group = group
        self._kafka = kafka
        self._member = member
        self.delivering: dict[TopicPartition, KafkaClaim] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held: dict[TopicPartition, KafkaClaim] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: dict[TopicPartition, tuple[float, Unavailable]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._calls = asyncio.Lock()
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._round = 0
        self._ended = asyncio.Event()
        self._closed = False
        self._clock = asyncio.get_running_loop().time

    def holds(self, claim: KafkaClaim) -> bool:
        """Whether the member was told of `claim`, and not yet that it is gone."""
        return self._held.get(claim.place) is claim

    def demand_opened(self) -> None:
        """Raise `Unavailable` where a claim cannot be opened for long."""
        late = self._clock() - self._link.timing.request
        for place, (since, error) in self._waiting.items():
            if since < late:
                raise Unavailable(f"{place.topic}/{place.partition} waits: {error}")

    def heed(self, claim: KafkaClaim) -> None:
        """Pause or resume as `claim` wishes; nothing, where it does not deliver."""
        if self.delivering.get(claim.place) is claim and claim.place in self._kafka.assignment():
            (self._kafka.pause if claim.paused else self._kafka.resume)(claim.place)

    async def close(self) -> None:
        """Give up everything, and take nothing more."""
        self._closed = True
        await self._give_up()

    # What aiokafka tells

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        try:
            await self._give_up()
        except Exception as error:  # noqa: BLE001 aiokafka would only log it
            self._fail(error)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._closed or self.failed.done():
            return
        self._ended = asyncio.Event()
        try:
            for place in assigned:
                self._begin(place)
        except Exception as error:  # noqa: BLE001 aiokafka would only log it
            self._fail(error)

    # Claims come

    async def reclaim(self, claim: KafkaClaim) -> KafkaClaim | None:
        """A fresh claim in place of a dead one, or None where it is not ours any more."""
        if not self.holds(claim):
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
        if self._round != round_ or not self.holds(claim):
            await fresh.writer.close()
            return None
        claim.writer.kill()
        self._deliver(fresh)
        return fresh

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
            if self._round == round_:  # else it is about to be revoked
                self._deliver(claim)

    async def _open_patiently(self, place: TopicPartition) -> KafkaClaim:
        """Again and again while Kafka is away, or says what cannot be true."""
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    async with self._few:
                        return await self._open(place)
                except Unavailable as error:
                    log.warning("%s waits for %s/%s: %s", self._group, *place, error)
                    since, _ = self._waiting.get(place, (self._clock(), error))
                    self._waiting[place] = since, error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._waiting.pop(place, None)

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
        # Retention may have taken what lies between, commit markers behind the last record too.
        return KafkaClaim(self, place, writer, max(first, writer.committed.offset))

    def _deliver(self, claim: KafkaClaim) -> None:
        """Let records of `claim` come, from where it was born."""
        self._held[claim.place] = self.delivering[claim.place] = claim
        self._kafka.seek(claim.place, claim.start)
        self.heed(claim)

    def _hold_back(self, claim: KafkaClaim) -> None:
        """Let no record of `claim` come any more."""
        if self.delivering.pop(claim.place, None) is not None:
            self._kafka.pause(claim.place)

    # Claims go

    async def _give_up(self) -> None:
        """Every claim is revoked, and then nobody's; what is still being opened is not told."""
        self._round += 1
        self._ended.set()
        self.delivering.clear()
        for task in list(self._opening):
            task.cancel()
        async with self._calls:
            claims = list(self._held.values())
            try:
                await self._revoke(claims)
            finally:
                self._held.clear()
                await asyncio.gather(*(claim.writer.close() for claim in claims))

    async def _revoke(self, claims: Sequence[KafkaClaim]) -> None:
        """Tell the member, one claim after another, with half a rebalance's time for all.

        Who is told later than that cannot commit any more: with the broker away each would wait.
        """
        clock = asyncio.get_running_loop().time
        late = clock() + self._link.timing.rebalance / 2
        for claim in claims:
            if clock() > late:
                claim.writer.kill()
            await self._member.revoked(claim)

    def _fail(self, error: Exception) -> None:
        """From now on nothing is committed, and every poll raises `error`."""
        log.error("%s fails: %s", self._group, type(error).__name__)
        self._round += 1
        self._ended.set()
        self.delivering.clear()
        for claim in self._held.values():
            claim.writer.kill()
        if not self.failed.done():
            self.failed.set_exception(error)


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for `event`, but no longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
