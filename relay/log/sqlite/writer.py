"""The one writer of a process: a thread that commits whatever waits in one transaction.

Knows appends, what fences them, and calls that want to be inside a transaction. Refuses to know
members and readers: it tells its owner which partitions grew.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from relay.errors import OutcomeUnknown, RelayError, Unavailable
from relay.log.sqlite.appends import Append, Fence, Placed, write

T = TypeVar("T")

_MOST_RECORDS = 4096
"""A transaction takes no more appends beyond this many records, so that it stays short."""


@dataclass(slots=True)
class _Job:
    """An append, or a call that runs inside the transaction; and who waits for it."""

    future: asyncio.Future[Any]
    append: Append | None = None
    call: Callable[[sqlite3.Connection], Any] | None = None

    @property
    def weight(self) -> int:
        return len(self.append.messages) if self.append else 1


_Outcome = tuple["asyncio.Future[Any]", Any]


class Writer:
    """Group commit over one connection, which is the writer's from here on.

    `ring` is called in the thread with the partitions that grew, right after their commit;
    `landed` in the loop, after the callers' futures were answered.
    """

    def __init__(
        self,
        line: sqlite3.Connection,
        ring: Callable[[frozenset[int]], None],
        landed: Callable[[frozenset[int]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._ring = ring
        self._landed = landed
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    async def append(self, fence: Fence, messages: Sequence[Placed]) -> None:
        """Append and move what `fence` names: both or neither.

        `Fenced` where somebody else holds it, `Unavailable` where nothing was written,
        `OutcomeUnknown` where the commit itself failed.
        """
        await self._put(_Job(self._loop.create_future(), append=Append(fence, messages)))

    async def call(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """What `run` answers inside a transaction; it may raise only before it writes."""
        answer: T = await self._put(_Job(self._loop.create_future(), call=run))
        return answer

    async def close(self) -> None:
        """Commit what waits, then end the thread."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _put(self, job: _Job) -> Any:
        if self._closed:
            raise Unavailable("the log is closed")
        self._queue.put(job)
        return await job.future

    def _run(self) -> None:
        try:
            while jobs := self._next():
                outcomes, grown = _transact(self._line, jobs)
                if grown:
                    self._ring(grown)
                self._tell(outcomes, grown)
        finally:
            self._line.close()

    def _next(self) -> list[_Job]:
        """All jobs that wait, at least one; empty at the end."""
        job = self._queue.get()
        jobs: list[_Job] = []
        weight = 0
        while job is not None:
            jobs.append(job)
            weight += job.weight
            if weight >= _MOST_RECORDS:
                return jobs
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs
        if jobs:
            self._queue.put(None)  # the end comes after what was put before it
        return jobs

    def _tell(self, outcomes: list[_Outcome], grown: frozenset[int]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer, outcomes, grown)

    def _answer(self, outcomes: list[_Outcome], grown: frozenset[int]) -> None:
        for future, outcome in outcomes:
            if future.done():
                continue  # its caller went away
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        if grown:
            self._landed(grown)


def _transact(line: sqlite3.Connection, jobs: list[_Job]) -> tuple[list[_Outcome], frozenset[int]]:
    """Run `jobs` in one transaction; one that is refused fails alone, a broken one fails all."""
    outcomes: list[_Outcome] = []
    commits = False
    try:
        line.execute("begin immediate")
        outcomes += [(job.future, _attempt(line, job.call)) for job in jobs if job.call]
        appends = [job for job in jobs if job.append]
        refused, grown = write(line, [job.append for job in appends if job.append])
        outcomes += [(job.future, why) for job, why in zip(appends, refused, strict=True)]
        commits = True
        line.execute("commit")
        return outcomes, grown
    except Exception as failed:  # noqa: BLE001 - it is handed to every caller, none is swallowed
        with contextlib.suppress(sqlite3.Error):  # else nobody would be told, nor served again
            if line.in_transaction:
                line.execute("rollback")
        # A call may be made again whatever came of it; an append may not.
        return [(j.future, _reason(failed, commits and j.append)) for j in jobs], frozenset()


def _attempt(line: sqlite3.Connection, call: Callable[[sqlite3.Connection], Any]) -> Any:
    try:
        return call(line)
    except RelayError as refused:
        return refused


def _reason(failed: Exception, unknown: object) -> Exception:
    if not isinstance(failed, sqlite3.OperationalError):
        return failed
    if unknown:
        return OutcomeUnknown(f"the log's commit failed: {failed}")
    return Unavailable(f"the log cannot be written: {failed}")
