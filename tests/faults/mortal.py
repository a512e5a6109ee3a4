"""Makes this process mortal: where it passes a point that somebody has armed, it is hit.

Knows where the points of `tests.faults.instants` lie in the parts that a process leans on, and
wraps those parts, in this process alone. Production code knows nothing of it.

A point is armed by a file that says how (`kill`, `freeze`) and at which passage; the process that
takes the file away is hit, so each arming hits once. What it leaves tells who it was.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from relay import spine
from relay.log.marks import Marks
from relay.log.port import Claim, Committed, Consumer, Member, Message
from relay.note import Note
from relay.objects.open import open_store
from relay.objects.port import ObjectStore
from relay.settings import Settings
from relay.sql.database import Transaction
from tests.faults import instants
from tests.faults.instants import instant

HOW = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}
SLOW = 1.0
"""Seconds that a slow store takes: neighbours of such a record are answered before it."""

Reach = Callable[[str], None]
"""Called with a point as it is passed; does not return where it was armed to kill."""


class Arms:
    """The folder where points are armed, as the driver and the processes see it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, target: str, how: str, passage: int = 1) -> None:
        """Hit, `how`, whoever is the first to pass the instant `target` for the n-th time."""
        self.victim(target, forget=True)
        unfinished = self._folder / f"{target}.new"
        unfinished.write_text(f"{how} {passage}")
        unfinished.rename(self._folder / target)

    def victim(self, target: str, *, forget: bool = False) -> str | None:
        """Which process was hit there, if any was yet."""
        for hit in self._folder.glob(f"{target}.hit.*"):
            if forget:
                hit.unlink()
            return hit.name.rpartition(".")[2]
        return None

    def disarm(self, target: str) -> bool:
        """Hit nobody any more; False where somebody was."""
        try:
            (self._folder / target).unlink()
        except FileNotFoundError:
            return False
        return True

    def armed(self, target: str) -> tuple[signal.Signals, int] | None:
        """How, and at which passage, whoever passes `target` is to be hit."""
        try:
            how, passage = (self._folder / target).read_text().split()
        except FileNotFoundError:
            return None
        return HOW[how], int(passage)

    def take(self, target: str, name: str) -> bool:
        """Be the one that is hit; False where another was quicker."""
        try:
            (self._folder / target).rename(self._folder / f"{target}.hit.{name}")
        except FileNotFoundError:
            return False
        return True


class Mortal:
    """This process, `name` of its stage, and how often it has passed what is armed."""

    def __init__(self, arms: Arms, name: str) -> None:
        self._arms, self._name = arms, name
        self._stage = name.partition("-")[0]
        self._passed: dict[str, int] = {}

    def reach(self, point: str) -> None:
        """Pass a point."""
        target = instant(self._stage, point)
        if (armed := self._arms.armed(target)) is None:
            return
        how, passage = armed
        self._passed[target] = self._passed.get(target, 0) + 1
        if self._passed[target] >= passage and self._arms.take(target, self._name):
            self._passed[target] = 0
            os.kill(os.getpid(), how)


def install(reach: Reach, session: float) -> None:
    """Wrap what this process is about to open. `session` is how long its log waits for the dead."""
    spine.open_store = lambda settings: MortalStore(open_store(settings), reach)
    spine.open_log = lambda settings, marks, _: MortalLog(
        _open_log(settings, reach, session, marks), reach
    )


def install_ingest(reach: Reach) -> None:
    """Wrap what only the gateway does: jobs are accepted and viewed, parts and voices kept."""
    from ingest import accept, uploads, view, voices

    accept.enqueue = _followed(accept.enqueue, partial(reach, instants.ACCEPTED))
    view.write = _followed(view.write, partial(reach, instants.VIEWED))
    voices.enqueue = _followed(voices.enqueue, partial(reach, instants.VOICE))
    parts = uploads.Uploads
    parts._append = _followed(parts._append, partial(reach, instants.PART))


def _followed(write: Callable[..., Any], committed: Callable[[], None]) -> Callable[..., Any]:
    """`write`, and `committed` as soon as its transaction is."""

    async def written(*words: Any, **options: Any) -> Any:
        answer = await write(*words, **options)
        (tx,) = (word for word in words if isinstance(word, Transaction))
        tx.afterwards(committed)
        return answer

    return written


class MortalStore:
    """An object store whose puts have a before and an after, and one in ten of which is slow."""

    def __init__(self, store: ObjectStore, reach: Reach) -> None:
        self._store, self._reach = store, reach

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        self._reach(instants.OBJECT_BEFORE)
        await asyncio.sleep(SLOW if random.random() < 0.1 else 0)
        stored = await self._store.put(key, data, content_type)
        self._reach(instants.OBJECT_AFTER)
        return stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class MortalLog:
    """A log whose members are told of claims at points."""

    def __init__(self, log: Any, reach: Reach) -> None:
        self._log, self._reach = log, reach

    async def join(self, group: str, topics: Sequence[str], member: Member) -> Consumer:
        return await self._log.join(group, topics, MortalMember(member, self._reach))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class MortalMember:
    """A member that passes a point where a claim comes and where one goes."""

    def __init__(self, member: Member, reach: Reach) -> None:
        self._member, self._reach = member, reach

    async def assigned(self, claim: Claim) -> None:
        self._reach(instants.ASSIGNED)
        await self._member.assigned(claim)

    async def revoked(self, claim: Claim) -> None:
        self._reach(instants.REVOKED)
        await self._member.revoked(claim)


def _open_log(settings: Settings, reach: Reach, session: float, marks: Marks) -> Any:
    if settings.embedded:
        return _open_sqlite(settings, reach, session)
    return _open_kafka(settings, reach, session, marks)


def _open_sqlite(settings: Settings, reach: Reach, session: float) -> Any:
    from relay.log.sqlite import SqliteLog, log
    from relay.log.sqlite.consumer import SqliteClaim
    from relay.log.sqlite.schema import prepare

    log.prepare = lambda path: MortalLine(prepare(path), reach)
    SqliteClaim.commit = _mid_window(SqliteClaim.commit, reach)
    return SqliteLog(settings.data / "log.db", session=session)


class MortalLine:
    """A connection to the embedded log: a transaction that appends has a before and an after."""

    def __init__(self, line: sqlite3.Connection, reach: Reach) -> None:
        self._line, self._reach = line, reach
        self._appends = False

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement.startswith("begin"):
            self._appends = False
        self._appends |= statement.startswith("insert into batches")
        commits = self._appends and statement == "commit"
        if commits:
            self._reach(instants.SENT)
        answer = self._line.execute(statement, *values)
        if commits:
            self._reach(instants.KEPT)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


def _open_kafka(settings: Settings, reach: Reach, session: float, marks: Marks) -> Any:
    from aiokafka import AIOKafkaProducer

    from relay.log.kafka import KafkaLog, Timing, link
    from relay.log.kafka.claims import KafkaClaim

    class MortalProducer(AIOKafkaProducer):
        """A producer: a transaction that appends has a before and an after."""

        _appends = False

        async def send_batch(self, *batch: Any, **where: Any) -> Any:
            self._appends = True
            return await super().send_batch(*batch, **where)

        async def commit_transaction(self) -> None:
            appends, self._appends = self._appends, False
            if appends:
                reach(instants.SENT)
            await super().commit_transaction()
            if appends:
                reach(instants.KEPT)

    link.AIOKafkaProducer = MortalProducer
    KafkaClaim.commit = _mid_window(KafkaClaim.commit, reach)
    return KafkaLog(settings, Timing(session=session, heartbeat=session / 3), marks)


def _mid_window(
    commit: Callable[..., Awaitable[None]], reach: Reach
) -> Callable[..., Awaitable[None]]:
    """`commit`, and a point after those that keep answers beyond an unanswered record."""

    async def committed(claim: Claim, mark: Committed, messages: Sequence[Message]) -> None:
        await commit(claim, mark, messages)
        if messages and Note.read(mark.offset, mark.metadata).finished:
            reach(instants.MID_WINDOW)

    return committed
