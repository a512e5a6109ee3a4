"""A stage run again over what it was given then, beside the log, and compared byte for byte.

Knows how a stage is kept from the live log and store: it reads a log of its own and writes into a
folder, where what it made then is hidden from it. Holds every input in memory: a model takes
longer over them than they take room. Refuses to know what a stage does.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from audit.overlay import Overlay
from audit.reading import Eyes, Personal, Seen
from audit.replay import LAG, Scope
from audit.trail import named
from relay.letters import REDRIVE
from relay.log.port import Log, Message, Record
from relay.log.sqlite import SqliteLog
from relay.objects.disk import DiskStore
from relay.process import Build
from relay.runner import Limits, Runner
from relay.spine import Spine
from relay.stage import Stage
from schemas.envelope import Head
from schemas.events import EVENTS
from schemas.topics import TOPICS, topic_of

MOST = 20
"""Differences that are told one by one."""
_SOURCE = "sandbox"
_LOOK_AGAIN = 0.05


@dataclass(slots=True)
class Comparison:
    """What came of it."""

    inputs: int = 0
    same: int = 0
    different: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def told(self) -> dict[str, Any]:
        """The same as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def differs(self, job: str, what: Sequence[str]) -> None:
        """One more answer that is not as it was."""
        self.different += 1
        if len(self.differences) < MOST:
            self.differences.append({"job": job, "differs": list(what)})


@dataclass(frozen=True, slots=True)
class _Case:
    """An input and what was answered to it then."""

    record: Record
    head: Head
    answers: Sequence[Record]
    fields: Sequence[dict[str, Any]]

    @property
    def cached(self) -> bool:
        """Whether another input's work was adopted."""
        return any(each.get("cached") for each in self.fields)


async def compare(
    spine: Spine, build: Build, topics: Sequence[str], scope: Scope, folder: Path
) -> Comparison:
    """Run what `build` opens over the inputs in `topics`; its answers against the log's."""
    found = Comparison()
    cases = {case.head.id: case async for case in _cases(spine, topics, scope, found)}
    found.inputs = len(cases)
    hidden = {key for case in cases.values() for key in _made(case)}
    store = Overlay(spine.store, DiskStore(folder / "objects"), hidden)
    log = SqliteLog(folder / "log.db")
    try:
        inner = replace(spine, log=log, store=store)
        async with (
            build(inner) as stage,
            _running(stage, inner) as runner,
            log.source(_SOURCE) as source,
        ):
            # What was adopted then is adopted again only if it is there first.
            for adopts in (False, True):
                wave = [_message(c.record) for c in cases.values() if c.cached is adopts]
                await source.append(wave, source.position + 1)
                await _answered(log, stage, runner)
        await _judge(log, cases, found)
    finally:
        await log.close()
    return found


async def _cases(
    spine: Spine, topics: Sequence[str], scope: Scope, found: Comparison
) -> AsyncIterator[_Case]:
    """Inputs that were answered, with their answers."""
    eyes = Eyes(spine.keys)
    answers = await _answers(spine, topics, scope)
    async for record in spine.log.read(topics, scope.since, until=scope.until):
        # One that was sent again has the bytes of the first.
        if not scope.holds(record) or any(name == REDRIVE for name, _ in record.headers):
            continue
        seen = await eyes.see(record)
        if seen.head is None or seen.event is None:
            found.left_out["unreadable"] += 1
        elif seen.personal is Personal.ERASED:
            found.left_out["erased"] += 1
        elif not (then := [answers[id_] for id_ in _children(seen.head) if id_ in answers]):
            found.left_out["never answered"] += 1
        else:
            fields = [each.fields for each in then]
            yield _Case(record, seen.head, [each.record for each in then], fields)


async def _answers(spine: Spine, topics: Sequence[str], scope: Scope) -> dict[UUID, Seen]:
    """What any stage answered from then on, by id."""
    others = [topic.name for topic in TOPICS if topic.name not in topics]
    until = scope.until + LAG if scope.until else None
    eyes, found = Eyes(None), dict[UUID, Seen]()
    async for record in spine.log.read(others, scope.since, until=until):
        if scope.holds(record) and (seen := await eyes.see(record)).head is not None:
            found[seen.head.id] = seen
    return found


def _children(head: Head) -> list[UUID]:
    """Ids that a stage's answers to that event may have: each kind's first."""
    return [head.child(topic_of(event), 0, event.TYPE).id for event in EVENTS]


def _made(case: _Case) -> set[str]:
    """Keys of the objects that were made for this input."""
    if case.cached:
        return set()
    given = json.loads(case.record.value)
    before = {key for key, _ in named(given)}
    return {k for each in case.fields for k, sha in named(each) if sha} - before


def _message(record: Record) -> Message:
    return Message(record.topic, record.key, record.value, record.headers)


@asynccontextmanager
async def _running(stage: Stage, spine: Spine) -> AsyncIterator[asyncio.Task[None]]:
    """The stage at work on the sandbox's log, under the same loop as ever."""
    topics = [topic.name for topic in TOPICS]
    dead = [topic.dead for topic in TOPICS]
    reads = [topic_of(event) for event in stage.consumes]
    await spine.log.apply(dict.fromkeys((*topics, *dead), 4), {stage.name: reads}, [_SOURCE])
    runner = Runner(stage, spine.log, spine.keys, Limits(in_flight=8))
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        runner.stop()
        await task


async def _answered(log: Log, stage: Stage, task: asyncio.Task[None]) -> None:
    """Return once nothing waits; raises what broke the stage."""
    reads = [topic_of(event) for event in stage.consumes]
    while await log.lag(stage.name, reads):
        await asyncio.wait([task], timeout=_LOOK_AGAIN)
        if task.done():
            task.result()
            return


async def _judge(log: Log, cases: dict[UUID, _Case], found: Comparison) -> None:
    wanted = {_id(r): r for case in cases.values() for r in case.answers}
    inputs = {case.record.topic for case in cases.values()}
    others = [topic.name for topic in TOPICS if topic.name not in inputs]
    async for record in log.read([*others, *(topic.dead for topic in TOPICS)]):
        then = wanted.pop(_id(record), None)
        if then is None:
            found.differs(record.key, [f"{record.topic} was not answered then"])
        elif what := list(_differences(then, record)):
            found.differs(record.key, what)
        else:
            found.same += 1
    for then in wanted.values():
        found.differs(then.key, [f"{then.topic} is not answered now"])


def _differences(then: Record, now: Record) -> list[str]:
    """Names of what is not the same: a header of the envelope, or a field of the event."""
    heads = dict(then.headers), dict(now.headers)
    wrong = [n for n in ("ce_id", "ce_type", "ce_source") if heads[0].get(n) != heads[1].get(n)]
    if then.value == now.value:
        return wrong
    before, after = json.loads(then.value), json.loads(now.value)
    names = before.keys() | after.keys()
    return wrong + (sorted(n for n in names if before.get(n) != after.get(n)) or ["bytes"])


def _id(record: Record) -> bytes | None:
    return dict(record.headers).get("ce_id")
