"""The Runner: the only consumer loop in the repository.

Knows claims, windows, a budget of records in flight, and when to commit. Refuses to know what an
event means (`relay.answer` asks the stage) and how a log keeps its promises.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from relay.answer import Answer, Answerer
from relay.brake import Brake
from relay.errors import Lost, Unavailable
from relay.keys import KeyStore
from relay.lane import Lane
from relay.letters import DeadLetterLimit
from relay.limits import Limits as Limits
from relay.log.port import Claim, Consumer, Log, Record
from relay.retry import until_available
from relay.stage import DeadReader, Stage
from relay.stopping import unless_stopped
from relay.telemetry import ANSWERED, CLAIMS, HANDLE_SECONDS, IN_FLIGHT, Health
from relay.window import Window
from schemas.topics import DEAD, topic_of

T = TypeVar("T")

log = logging.getLogger(__name__)


class StageBroken(Exception):
    """A handler raised what it should not, or all records are bad: the process has to end."""


class Runner:
    """Runs one stage as one member of its group until `stop`, or until something breaks it."""

    def __init__(
        self,
        stage: Stage,
        log_: Log,
        keys: KeyStore,
        limits: Limits | None = None,
        health: Health | None = None,
        dead_letters: DeadLetterLimit | None = None,
        brake: Brake | None = None,
    ) -> None:
        self._stage, self._log = stage, log_
        self._limits = limits or Limits()
        self.health = health or Health()
        self._answerer = Answerer(stage, keys, self.health)
        self._dead_letters = dead_letters or DeadLetterLimit()
        self._brake = brake
        # Looked up once: finding a labelled child costs more than counting in it.
        IN_FLIGHT.labels(stage.name).set_function(lambda: len(self._tasks))
        self._handle_seconds = HANDLE_SECONDS.labels(stage.name)
        self._lanes: dict[Claim, Lane] = {}
        self._tasks: dict[asyncio.Task[None], tuple[Lane, Record]] = {}
        self._turn = 0
        self._dealing_soon = False
        self._broken: BaseException | None = None
        self._stopping = asyncio.Event()

    @property
    def topics(self) -> tuple[str, ...]:
        """What the stage reads."""
        dead = DEAD if isinstance(self._stage, DeadReader) else ()
        return (*(topic_of(event) for event in self._stage.consumes), *dead)

    @property
    def _group(self) -> str:
        """What readiness calls our membership: a log that is away lets polls end empty for long."""
        return f"group {self._stage.name}"

    def stop(self) -> None:
        """Begin to drain: start nothing more, finish and commit what runs, leave the group."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop`; raises `StageBroken` or `Misconfigured` where it cannot go on."""
        consumer = await self._join()
        if consumer is None:  # stopped while our world was down
            return
        try:
            await self._consume(consumer)
            await self._drain(consumer)
        finally:
            await consumer.close()
        if self._brake is not None and self._dead_letters.reached:
            await self._until_up(self._brake.pull, "dead letters")
        if self._broken is not None:
            raise self._broken

    async def _join(self) -> Consumer | None:
        if self._brake is not None:
            await self._until_up(self._brake.check, "dead letters")
        await self._until_up(self._stage.check, self._stage.name)
        return await self._until_up(
            lambda: self._log.join(self._stage.name, self.topics, self), "log"
        )

    async def _until_up(self, call: Callable[[], Awaitable[T]], part: str) -> T | None:
        """What `call` answers as soon as our world is up; None where `stop` comes before that."""
        return await unless_stopped(until_available(call, part, self.health), self._stopping)

    # -- told by the log ----------------------------------------------------------------------

    async def assigned(self, claim: Claim) -> None:
        """Open a lane for a claim."""
        limits = self._limits
        window = Window(
            claim.committed,
            waiting=limits.waiting,
            waiting_bytes=limits.waiting_bytes,
            ahead=2 * limits.in_flight,
        )
        lane = Lane(claim, self._stage.name, self.health, window)
        lane.start(on_commit=self._deal, on_error=self._break)
        self._lanes[claim] = lane
        CLAIMS.labels(self._stage.name).inc()

    async def revoked(self, claim: Claim) -> None:
        """Close the claim's lane: what runs is cancelled, what is answered is committed."""
        lane = self._lanes.pop(claim, None)
        if lane is None:
            return
        CLAIMS.labels(self._stage.name).dec()
        await self._abandon(lane)
        try:
            await lane.close()
        except Exception as error:  # noqa: BLE001 - ends the process, but other lanes commit first
            self._break(error)

    # -- the loop -----------------------------------------------------------------------------

    async def _consume(self, consumer: Consumer) -> None:
        while not self._stopping.is_set() and self._broken is None:
            await self._reclaim(consumer)
            if not await self._poll(consumer, self._limits.poll):
                await asyncio.sleep(self._limits.poll)

    async def _poll(self, consumer: Consumer, max_wait: float) -> bool:
        """Take what was fetched; False where the log does not answer."""
        try:
            fetched = await consumer.poll(max_wait)
        except Unavailable as error:
            self.health.trouble(self._group, str(error))
            return False
        self._take(fetched)
        try:
            consumer.demand_claims()
        except Unavailable as error:  # of a part of our work: the rest goes on
            self.health.trouble(self._group, str(error))
        else:
            self.health.well(self._group)
        return True

    def _take(self, fetched: Mapping[Claim, Sequence[Record]]) -> None:
        for claim, records in fetched.items():
            lane = self._lanes.get(claim)
            if lane is not None:
                lane.offer(records)
        self._deal()

    def _deal(self) -> None:
        """Start what may start: one budget, partitions taking turns, suspects alone."""
        self._dealing_soon = False
        if self._stopping.is_set() or self._broken is not None:
            return
        for lane in self._lanes.values():
            suspect = lane.window.suspect()
            if suspect is not None:
                if not self._tasks and not lane.lost:
                    self._spawn(lane, suspect, alone=True)
                return
        self._deal_evenly()
        for lane in self._lanes.values():
            lane.nudge()

    def _deal_evenly(self) -> None:
        lanes = [lane for lane in self._lanes.values() if not lane.lost]
        refused = 0
        while len(self._tasks) < self._limits.in_flight and refused < len(lanes):
            self._turn = (self._turn + 1) % len(lanes)
            record = lanes[self._turn].window.start()
            if record is None:
                refused += 1
                continue
            refused = 0
            self._spawn(lanes[self._turn], record, alone=False)

    def _spawn(self, lane: Lane, record: Record, *, alone: bool) -> None:
        work = self._work_alone(lane, record) if alone else self._work(lane, record)
        task = asyncio.create_task(work)
        self._tasks[task] = (lane, record)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)
        if not self._dealing_soon:  # once for all that end in one turn of the loop
            self._dealing_soon = True
            asyncio.get_running_loop().call_soon(self._deal)

    # -- one record ---------------------------------------------------------------------------

    async def _work(self, lane: Lane, record: Record, *, alone: bool = False) -> None:
        started = time.perf_counter()
        try:
            answer = await self._answer(lane, record, alone=alone)
        except asyncio.CancelledError:
            lane.window.give_up(record)
            raise
        except Lost as lost:
            lane.window.give_up(record)
            self._break(StageBroken(f"{self._stage.name}: {lost}"))
            return
        except Exception as bug:  # noqa: BLE001 - any exception of a handler belongs to its record
            self._blame(lane, record, bug)
            return
        if answer is None:
            lane.window.give_up(record)
            return
        self._handle_seconds.observe(time.perf_counter() - started)
        self._answered(lane, record, answer)

    async def _answer(self, lane: Lane, record: Record, *, alone: bool) -> Answer | None:
        """The answer to `record`; None where it is `alone` and would wait for our world so."""
        waiting = asyncio.Event()

        def waits() -> None:
            lane.window.acquit(record)
            lane.nudge()
            waiting.set()

        answering = self._answerer.answer(record, waits)
        return await (unless_stopped(answering, waiting) if alone else answering)

    async def _work_alone(self, lane: Lane, record: Record) -> None:
        """Handle a suspect with nothing beside it, after a commit that says so."""
        before = lane.window.accuse(record)
        if not await lane.commit():
            return
        lane.window.start_alone(record)
        why = self._limits.guilty(before)
        if why is not None:
            self._answered(lane, record, self._answerer.dead(record, why))
            return
        await self._work(lane, record, alone=True)

    def _answered(self, lane: Lane, record: Record, answer: Answer) -> None:
        lane.window.answer(record, answer.messages)
        ANSWERED.labels(self._stage.name, answer.outcome).inc()
        self._dead_letters.saw(bad=answer.bad)
        if self._dead_letters.reached:
            self._break(StageBroken(f"{self._stage.name}: nearly every record is a dead letter"))
        lane.nudge()

    def _blame(self, lane: Lane, record: Record, bug: Exception) -> None:
        where = f"{record.topic}/{record.partition}/{record.offset}"
        # The type alone: a message may quote what a user wrote.
        log.error("%s: %s raised by %s", self._stage.name, type(bug).__name__, where)
        lane.window.fail(record)
        broken = StageBroken(f"{self._stage.name}: {type(bug).__name__} raised by {where}")
        broken.__cause__ = bug
        self._break(broken)
        lane.nudge()

    def _break(self, error: BaseException) -> None:
        self._broken = self._broken or error

    # -- claims lost and given back -----------------------------------------------------------

    async def _reclaim(self, consumer: Consumer) -> None:
        for claim, lane in [(c, lane) for c, lane in self._lanes.items() if lane.lost]:
            await self._abandon(lane)
            await lane.close()
            if self._lanes.pop(claim, None) is None:
                continue  # revoked meanwhile: the log may tell so while we wait
            CLAIMS.labels(self._stage.name).dec()
            await self._until_up(
                lambda claim=claim: self._claim_again(consumer, claim),  # type: ignore[misc]
                "log",
            )

    async def _claim_again(self, consumer: Consumer, claim: Claim) -> None:
        again = await consumer.reclaim(claim)
        if again is not None:  # at once: from here on it may be revoked
            await self.assigned(again)

    async def _abandon(self, lane: Lane) -> None:
        tasks = [task for task, (of, _) in self._tasks.items() if of is lane]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, consumer: Consumer) -> None:
        """Neighbours finish and are committed by `consumer.close`, which revokes every claim.

        Polls meanwhile, which starts nothing: who polls no more loses its claims.
        """
        until = time.monotonic() + self._limits.drain
        while self._tasks and (left := until - time.monotonic()) > 0:
            await asyncio.wait(list(self._tasks), timeout=min(left, self._limits.poll))
            if self._tasks:
                await self._poll(consumer, 0)
