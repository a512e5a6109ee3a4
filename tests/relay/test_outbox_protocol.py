"""The outbox's holders and their source, broken at any instant: once each, in order.

Real SQL and the real feed; the log keeps a position in memory, and its answers get lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from relay.errors import Fenced, OutcomeUnknown, Unavailable
from relay.feed import Feed
from relay.log.port import Message
from relay.sql import shards
from relay.sql.database import Database
from relay.sql.open import open_database
from relay.sql.schema import outbox, outbox_shards
from relay.telemetry import Health
from tests.sql import settings_of

LIFE = timedelta(seconds=6)
FATES = ("kept", "down", "unknown kept", "unknown lost", "died kept", "died lost", "frozen")


class Died(BaseException):
    """The process ended in mid-append."""


class Sources:
    """One source: its epoch, its position and what was appended."""

    def __init__(self) -> None:
        self.epoch, self.position = 0, 0
        self.appended: list[str] = []
        self.fate = "kept"
        self.frozen: list[Callable[[], None]] = []
        """What holders who froze were about to append."""

    @asynccontextmanager
    async def source(self, name: str) -> AsyncIterator[Held]:
        self.epoch += 1
        yield Held(self, self.epoch, self.position)


class Held:
    """The source as one holder sees it."""

    def __init__(self, of: Sources, epoch: int, position: int) -> None:
        self._of, self._epoch, self.position = of, epoch, position

    async def append(self, messages: Sequence[Message], position: int) -> None:
        fate, self._of.fate = self._of.fate, "kept"
        if fate == "down":
            raise Unavailable("the log does not answer")
        if fate == "frozen":
            self._of.frozen.append(lambda: self._keep(messages, position))
            raise Died
        if not self._owns():
            raise Fenced("another feeds")
        if fate.endswith("kept"):
            self._keep(messages, position)
        if fate.startswith("unknown"):
            raise OutcomeUnknown("the connection broke")
        if fate.startswith("died"):
            raise Died
        self.position = position

    def _keep(self, messages: Sequence[Message], position: int) -> None:
        if self._owns():
            self._of.appended += [message.key for message in messages]
            self._of.position = position

    def _owns(self) -> bool:
        return self._of.epoch == self._epoch


class Publishing(RuleBasedStateMachine):
    """Two holders of one shard, either of which may freeze or die, on a clock that is told."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    database: ClassVar[Database]
    now: ClassVar[datetime] = datetime(2026, 1, 1, tzinfo=UTC)

    @initialize()
    def begin(self) -> None:
        self.log = Sources()
        self.put: list[str] = []
        self.feeds: dict[int, Feed] = {}
        self.lives = 0
        self.wait(self._empty())
        self.accept(3, commits=True)  # what most lives begin with: there is work, and a holder
        self.take(0)

    def wait(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    async def _empty(self) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(delete(outbox))
            await tx.execute(delete(outbox_shards))
            await shards.prepare(tx, [0])

    @rule(count=st.integers(1, 3), commits=st.booleans())
    def accept(self, count: int, commits: bool) -> None:
        """Put some aside; who rolls back leaves holes in what the table draws."""
        keys = [f"{len(self.put) + n}" for n in range(count)]

        async def put() -> None:
            async with self.database.transaction() as tx:
                for key in keys:
                    await shards.put(tx, 0, Message("t", key, b""))
                if not commits:
                    raise InterruptedError

        with contextlib.suppress(InterruptedError):
            self.wait(put())
            self.put += keys

    @rule(who=st.integers(0, 1))
    def take(self, who: int) -> None:
        """Lease the shard, if nobody holds it."""
        self.lives += 1
        owner = f"{who}-{self.lives}"
        leases = self.wait(self.database.run(lambda tx: shards.take(tx, owner, LIFE, 1)))
        for lease in leases:
            self.feeds[who] = Feed(lease, "s", self.database, self.log, Health())  # type: ignore[arg-type]

    @precondition(lambda self: self.feeds)
    @rule(who=st.integers(0, 1), fate=st.sampled_from(FATES))
    def publish(self, who: int, fate: str) -> None:
        """One step of a holder, whether or not it still is one."""
        who = who if who in self.feeds else next(iter(self.feeds))
        self.log.fate = fate
        try:
            self.wait(self.feeds[who]._step())
        except Unavailable:
            return
        except (Fenced, Died):
            del self.feeds[who]

    @precondition(lambda self: self.feeds)
    @rule(who=st.integers(0, 1))
    def die(self, who: int) -> None:
        self.feeds.pop(who, None)

    @precondition(lambda self: self.log.frozen)
    @rule()
    def thaw(self) -> None:
        """Somebody who froze in mid-append goes on."""
        self.log.frozen.pop()()

    @rule()
    def expire(self) -> None:
        """Time enough for a lease to run out; its holder is frozen and knows nothing of it."""
        Publishing.now += LIFE

    @invariant()
    def once_each_and_in_order(self) -> None:
        if hasattr(self, "log"):
            assert self.log.appended == self.put[: len(self.log.appended)]

    def teardown(self) -> None:
        """Left alone, the next holder publishes everything."""
        if not hasattr(self, "log"):
            return
        self.expire()
        self.feeds.clear()
        self.take(0)
        for _ in range(2):
            self.publish(0, "kept")
        assert self.log.appended == self.put


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[Publishing]]:
    loop = asyncio.new_event_loop()
    opening = open_database(settings_of(tmp_path), lambda: Publishing.now)
    Publishing.loop, Publishing.database = loop, loop.run_until_complete(opening)
    yield Publishing
    loop.run_until_complete(Publishing.database.close())
    loop.close()


QUICK = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_publishing(machine: type[Publishing]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)  # type: ignore[no-untyped-call]


def fence_nobody(patch: pytest.MonkeyPatch) -> None:
    """A holder of old goes on appending."""
    patch.setattr(Held, "_owns", lambda self: True)


def trust_the_own_position(patch: pytest.MonkeyPatch) -> None:
    """After a commit without an answer the source is not opened anew."""

    async def nothing(self: Feed) -> None: ...

    patch.setattr(Feed, "_shut", nothing)


@pytest.mark.parametrize(
    ("mistake", "steps"),
    [
        (
            fence_nobody,
            [
                ("publish", 0, "frozen"),
                ("expire",),
                ("take", 1),
                ("publish", 1, "kept"),
                ("thaw",),
            ],
        ),
        (trust_the_own_position, [("publish", 0, "unknown kept"), ("publish", 0, "kept")]),
    ],
)
def test_a_mistake_in_publishing_is_seen(
    mistake: Callable[[pytest.MonkeyPatch], None],
    steps: Sequence[tuple[Any, ...]],
    machine: type[Publishing],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live(machine(), steps)
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        live(machine(), steps)


def live(life: Publishing, steps: Sequence[tuple[Any, ...]]) -> None:
    """One history, step by step."""
    life.begin()
    for name, *words in steps:
        getattr(life, name)(*words)
    life.once_each_and_in_order()
    life.teardown()
