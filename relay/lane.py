"""One claim's lane: its window, and the task that commits whatever is ready.

Knows when to commit and what a failed commit means. Refuses to know handlers and budgets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from relay.errors import Fenced, OutcomeUnknown, Unavailable
from relay.log.port import Claim, Record
from relay.retry import until_available
from relay.telemetry import COMMIT_SECONDS, Health
from relay.window import Step, Window

CLOSING_SECONDS = 5.0
"""How long a commit that is under way may hold up the closing of its lane."""

REST_SECONDS = 5.0
"""After so long without work the ceiling is lowered: who dies idle leaves no suspects."""

_SLOW_SECONDS = 0.025
_LONGEST_BREATH = 0.1

log = logging.getLogger(__name__)


class Lane:
    """The window of one claim and its committer; `lost` once the claim is no longer ours."""

    def __init__(self, claim: Claim, group: str, health: Health, window: Window) -> None:
        self._claim, self._group, self._health = claim, group, health
        self.window = window
        self.lost = False
        self._paused = False
        self._closing = False
        self._ready = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def where(self) -> tuple[str, int]:
        """Topic and partition."""
        return self._claim.topic, self._claim.partition

    @property
    def _part(self) -> str:
        """What readiness calls it: to be polled the log needs less than to be written to."""
        return "log {}/{}".format(*self.where)

    def start(
        self, on_commit: Callable[[], None], on_error: Callable[[BaseException], None]
    ) -> None:
        """Start committing; `on_commit` follows each commit that was kept.

        `on_error` is told what a commit raised that no claim should raise.
        """
        self._task = asyncio.create_task(self._commits(on_commit))
        self._task.add_done_callback(
            lambda task: (
                None
                if task.cancelled() or task.exception() is None
                else on_error(task.exception() or RuntimeError())
            )
        )
        self.nudge()

    def offer(self, records: Sequence[Record]) -> None:
        """Take fetched records, and stop the fetching where enough is held."""
        self.window.offer(records)
        self._throttle()

    def nudge(self) -> None:
        """Let the committer look whether a commit is wanted."""
        if self.window.wants_commit:
            self._ready.set()

    async def commit(self, *, closing: bool = False) -> bool:
        """Commit what is answered now; False where the claim turned out to be lost."""
        async with self._lock:
            if self.lost:
                return False
            step = self.window.step(closing=closing)
            started = time.perf_counter()
            try:
                await until_available(lambda: self._keep(step), self._part, self._health)
            except (Fenced, OutcomeUnknown) as why:
                log.warning("%s: %s/%d: %s", self._group, *self.where, type(why).__name__)
                self.lost = True
                return False
            except asyncio.CancelledError:  # in mid-commit: to commit that again could double it
                self.lost = True
                raise
            COMMIT_SECONDS.labels(self._group).observe(time.perf_counter() - started)
            self.window.committed(step)
        self._throttle()
        return True

    async def _keep(self, step: Step) -> None:
        with self._health.expecting(self._part):
            await self._claim.commit(step.mark, step.messages)

    async def close(self) -> None:
        """Commit what is answered, lower the ceiling, and stop committing.

        Whatever cannot be committed now is done again by the next owner.
        """
        self._closing = True
        self._ready.set()
        try:
            await self._close()
        finally:
            self._health.well(self._part)  # it is somebody else's now

    async def _close(self) -> None:
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=CLOSING_SECONDS)
            if not done:  # a commit that keeps being refused: leave it to the next owner
                self._task.cancel()
                await asyncio.wait([self._task])
                self.lost = True
        if self.lost:
            return
        step = self.window.step(closing=True)
        try:
            await self._claim.commit(step.mark, step.messages)
        except (Fenced, OutcomeUnknown, Unavailable) as why:
            log.info("%s: %s/%d left uncommitted: %s", self._group, *self.where, type(why).__name__)
        self.lost = True

    async def _commits(self, on_commit: Callable[[], None]) -> None:
        free_at = 0.0
        while not (self.lost or self._closing):
            if not await self._wanted():
                self.window.rest()
                if await self.commit(closing=True):
                    on_commit()
                continue
            await asyncio.sleep(max(0.0, free_at - time.perf_counter()))
            self._ready.clear()
            started = time.perf_counter()
            if not self._closing and self.window.wants_commit and await self.commit():
                on_commit()
            free_at = time.perf_counter() + _breath(time.perf_counter() - started)

    async def _wanted(self) -> bool:
        """True as soon as somebody nudges; False where nothing has been done for a while."""
        while True:
            try:
                async with asyncio.timeout(REST_SECONDS):
                    return await self._ready.wait()
            except TimeoutError:
                if self.window.may_rest:
                    return False

    def _throttle(self) -> None:
        if self.window.full != self._paused:
            self._paused = not self._paused
            if self._paused:
                self._claim.pause()
            else:
                self._claim.resume()


def _breath(took: float) -> float:
    """Seconds from a commit to the earliest start of the next one, both in one lane.

    A commit that took long says that log or process is busy: fewer and larger ones then do more.
    Where commits are quick or seldom nobody waits.
    """
    return min(took / 2, _LONGEST_BREATH) if took > _SLOW_SECONDS else 0.0
