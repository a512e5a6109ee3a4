"""The Runner over a log in memory, broken at any instant: each record is answered once.

A property-based machine feeds, finishes out of order, commits, revokes, fences and kills; what it
finds is a mistake in the protocol, in seconds and without a broker. That it would find one is a
test, too.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from relay.errors import OutcomeUnknown, Unavailable
from relay.limits import Limits
from relay.log.port import Committed, Message
from relay.note import Note
from relay.runner import Runner, StageBroken
from relay.window import Window
from schemas.events import PromptUploaded
from tests.relay.memory_log import (
    FATES,
    Jumping,
    MemoryClaim,
    MemoryLog,
    Process,
)
from tests.relay.stages import Approving, Keys, uploaded

TOPIC, ANSWERS = "prompt-uploaded", "prompt-approved"
LIMITS = Limits(in_flight=4, waiting=6, drain=0.0, exceptions=10_000, deaths=10_000, poll=0.2)
"""Nobody is buried here: who would be is another test's."""


@cache
def asked(n: int) -> Message:
    """The `n`-th record; six jobs have them all."""
    plain = uploaded(n)
    return Message(plain.topic, uploaded(n % 6).key, plain.value, plain.headers)


@cache
def answer_id(n: int) -> bytes:
    """The id of the answer to the `n`-th record."""
    id_ = UUID(dict(asked(n).headers)["ce_id"].decode())
    return str(uuid5(id_, f"{ANSWERS}/0")).encode()


class Life:
    """One process with one runner; its handlers wait until they are told how to end."""

    def __init__(self, loop: Jumping, log: MemoryLog) -> None:
        self.process = Process(loop)
        self.waiting: list[tuple[str, asyncio.Future[str]]] = []
        self.runner = Runner(Approving(self._act), log, Keys(), LIMITS)  # type: ignore[arg-type]
        self.task = self.process.run(self.runner.run())

    async def _act(self, event: PromptUploaded) -> None:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting.append((event.text, told))
        how = await told
        if how == "down":
            raise Unavailable("our world is down")
        if how == "bug":
            raise ZeroDivisionError

    def tell(self, which: int, how: str) -> None:
        """End the `which`-th handler that waits."""
        self.waiting = [(text, told) for text, told in self.waiting if not told.done()]
        if self.waiting:
            self.waiting[which % len(self.waiting)][1].set_result(how)


class Protocol(RuleBasedStateMachine):
    """Two processes at most, two partitions, one log."""

    @initialize()
    def begin(self) -> None:
        self.loop = Jumping()
        self.log = MemoryLog(partitions=2)
        self.asked = 0
        self.lives: list[Life] = []
        self.start()

    @precondition(lambda self: len(self.lives) < 2)
    @rule()
    def start(self) -> None:
        self.lives.append(Life(self.loop, self.log))
        self.pass_()

    @rule(count=st.integers(1, 6))
    def append(self, count: int) -> None:
        self.log.append([asked(n) for n in range(self.asked, self.asked + count)])
        self.asked += count
        self.pass_()

    @precondition(lambda self: self.lives)
    @rule(
        life=st.integers(0, 1), which=st.integers(0, 3), how=st.sampled_from(["ok", "ok", "down"])
    )
    def finish(self, life: int, which: int, how: str) -> None:
        self.lives[life % len(self.lives)].tell(which, how)
        self.pass_()

    @precondition(lambda self: self.lives)
    @rule(which=st.integers(0, 3))
    def raise_(self, which: int) -> None:
        self.lives[0].tell(which, "bug")
        self.pass_()

    @rule(fate=st.sampled_from(FATES), after=st.integers(0, 1))
    def break_a_commit(self, fate: str, after: int) -> None:
        self.log.fates = [*["kept"] * after, fate]

    @precondition(lambda self: self.lives)
    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        life = self.lives.pop(which % len(self.lives))
        life.process.kill()
        self.log.bury()
        self.pass_()

    @precondition(lambda self: self.lives)
    @rule()
    def stop(self) -> None:
        self.lives[0].runner.stop()
        self.pass_()

    @precondition(lambda self: self.log.members)
    @rule(partition=st.integers(0, 1), to=st.integers(0, 1))
    def rebalance(self, partition: int, to: int) -> None:
        """Whoever had it goes on for a while, as one who froze does."""
        self.log.give((TOPIC, partition), self.log.members[to % len(self.log.members)])

    def deafen(self) -> None:
        """The first member hears of nothing any more."""
        self.log.members[0].deaf = True

    @rule(partition=st.integers(0, 1))
    def fence(self, partition: int) -> None:
        """The owner stays the owner, and finds out."""
        self.log.fence((TOPIC, partition))

    @rule()
    def pass_(self, seconds: float = 0.3) -> None:
        """Time goes by; a process that ended is gone."""
        self.loop.run(seconds)
        for life in [life for life in self.lives if life.task.done()]:
            self.lives.remove(life)
            if (error := life.task.exception()) is not None:
                assert isinstance(error, StageBroken), error

    @invariant()
    def nothing_twice_and_each_job_in_order(self) -> None:
        if not hasattr(self, "log"):
            return
        by_job: dict[str, list[bytes]] = defaultdict(list)
        for n in range(2):
            for record in self.log.records[ANSWERS, n]:
                by_job[record.key].append(dict(record.headers)["ce_id"])
        for job, ids in by_job.items():
            expected = self.expected(job)
            assert ids == expected[: len(ids)]

    def expected(self, job: str) -> list[bytes]:
        """Ids of the answers to what was asked for a job, in order."""
        return [answer_id(n) for n in range(self.asked) if asked(n).key == job]

    def teardown(self) -> None:
        """Left alone, whoever is there finishes everything."""
        if not hasattr(self, "log"):
            return
        try:
            self.log.fates.clear()
            for _ in range(60):
                if not self.lives:
                    self.start()
                for life in self.lives:
                    for which in range(LIMITS.in_flight):
                        life.tell(which, "ok")
                self.pass_(12.0)
                self.nothing_twice_and_each_job_in_order()
                if self.answered == self.asked:
                    break
            assert self.answered == self.asked
        finally:
            for life in self.lives:
                life.process.kill()
            self.loop.close()

    @property
    def answered(self) -> int:
        return sum(len(self.log.records[ANSWERS, n]) for n in range(2))


Protocol.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_protocol = Protocol.TestCase


# -- mistakes that have to be found ---------------------------------------------------------------


def count_instead_of_offset(patch: pytest.MonkeyPatch) -> None:
    """The base moves on by how many were answered."""
    patch.setattr(Window, "_lowest", lambda self: self._base + len(self._done))


def forget_the_bitmap(patch: pytest.MonkeyPatch) -> None:
    """What was answered beyond the base is not written down."""
    write = Note.write

    def bare(self: Note, base: int) -> str:
        return write(replace(self, finished=frozenset()), base)

    patch.setattr(Note, "write", bare)


def commit_again_what_is_unknown(patch: pytest.MonkeyPatch) -> None:
    """A commit without an answer is made once more."""
    commit = MemoryClaim.commit

    async def again(self: MemoryClaim, mark: Committed, messages: Sequence[Message]) -> None:
        try:
            await commit(self, mark, messages)
        except OutcomeUnknown:
            self.over = False
            await commit(self, mark, messages)

    patch.setattr(MemoryClaim, "commit", again)


def fence_nobody(patch: pytest.MonkeyPatch) -> None:
    """Who froze and comes back goes on writing."""
    patch.setattr(MemoryClaim, "_owns", lambda self: True)


def run_a_job_at_once(patch: pytest.MonkeyPatch) -> None:
    """Records of one job run beside each other."""
    patch.setattr(Window, "_startable", lambda self, queue: queue[0] if queue else None)


@pytest.mark.parametrize("mistake", [count_instead_of_offset, forget_the_bitmap, run_a_job_at_once])
def test_a_mistake_in_the_protocol_is_found(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    quick = settings(
        Protocol.TestCase.settings,
        max_examples=300,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    with pytest.raises((AssertionError, KeyError, BaseExceptionGroup)):
        run_state_machine_as_test(Protocol, settings=quick)


@pytest.mark.parametrize(
    ("mistake", "steps"),
    [
        (
            commit_again_what_is_unknown,
            [("append", 1), ("break_a_commit", "unknown kept", 0), ("finish", 0, 0, "ok")],
        ),
        (
            fence_nobody,
            [
                ("append", 1),
                ("start",),
                ("deafen",),
                ("rebalance", 0, 1),
                ("rebalance", 1, 1),
                ("finish", 0, 0, "ok"),
            ],
        ),
    ],
)
def test_a_mistake_in_the_protocol_is_seen(
    mistake: Callable[[pytest.MonkeyPatch], None],
    steps: Sequence[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Histories that chance comes by too seldom."""
    live(steps)
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        live(steps)


def live(steps: Sequence[tuple[Any, ...]]) -> None:
    """One history, step by step, to its end."""
    life = Protocol()
    life.begin()
    for name, *words in steps:
        getattr(life, name)(*words)
    life.teardown()
