"""From one record to the messages that answer it: open, handle, seal, or say why not.

Knows the kinds of failure and how each ends. Refuses to know windows, claims and commits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from relay.codec import decode, encode, head_of
from relay.errors import BadRecord, PersonErased
from relay.keys import KeyStore, PersonKey
from relay.letters import bury, exhume, meant_for
from relay.log.port import MOST_BYTES, Message, Record
from relay.retry import until_available
from relay.stage import Context, DeadReader, Stage
from relay.telemetry import Health
from schemas.envelope import Cause, Head
from schemas.events import Event, JobFailed
from schemas.topics import topic_of

T = TypeVar("T")
Waits = Callable[[], None] | None
"""Who is told that a record waits for our world."""


def code_version() -> str:
    """Version of the running code, for dead letters and verdicts."""
    try:
        return version("voxrelay")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "0"


@dataclass(frozen=True, slots=True)
class Answer:
    """The messages that answer a record, and how it ended."""

    messages: tuple[Message, ...]
    outcome: str
    """`answered`, `failed` (its job ended with a code), `undecodable`, `dead`, or `passed`."""

    @property
    def bad(self) -> bool:
        """Whether it counts against the dead-letter limit."""
        return self.outcome in ("dead", "undecodable")


class Answerer:
    """Answers records for one stage."""

    def __init__(self, stage: Stage, keys: KeyStore, health: Health) -> None:
        self._stage, self._keys, self._health = stage, keys, health
        self._version = code_version()

    async def answer(self, record: Record, waits: Waits = None) -> Answer:
        """Handle `record`, waiting for our world as long as it takes; `waits` is told of it.

        What is not a failure of our world, of the record or of erasure is a bug, and is raised.
        """
        if record.topic.endswith("-dead"):
            return await self._mourn(record, waits)
        if not meant_for(record, self._stage.name):
            return Answer((), "passed")
        try:
            head = head_of(record)
        except BadRecord as why:
            return self.dead(record, why)
        return await self._answer(record, head, waits)

    def dead(self, record: Record, why: BadRecord) -> Answer:
        """The record becomes a dead letter, or, being one already, is left where it is."""
        if record.topic.endswith("-dead"):
            return Answer((), "dead")
        return Answer((bury(record, self._stage.name, why, self._version),), "dead")

    async def _answer(self, record: Record, head: Head, waits: Waits) -> Answer:
        try:
            key = await self._key(record, head, waits)
            event = decode(record, head, key)
        except PersonErased:
            return self._failed(record, head, BadRecord("erased", "This person's data was erased."))
        except BadRecord as why:
            ended = self._ended(record, head, why)
            return Answer(ended.messages, "undecodable")
        try:
            recipe_key = key.recipe_key if key else b""
            context = Context(head, recipe_key, record.appended)
            events = await self._until_up(
                lambda: self._stage.handle(event, context), self._stage.name, record, waits
            )
            messages = self._messages(record, head, events, key)
            if _too_long(messages):
                raise BadRecord(
                    "answer_too_large", "What follows from this is too large to pass on."
                )
        except BadRecord as why:
            return self._ended(record, head, why)
        return Answer(messages, "answered")

    async def _key(self, record: Record, head: Head, waits: Waits) -> PersonKey | None:
        if not self._stage.opens:
            return None
        return await self._until_up(lambda: self._keys.key(head.person), "keys", record, waits)

    async def _mourn(self, record: Record, waits: Waits) -> Answer:
        if not isinstance(self._stage, DeadReader):
            return Answer((), "passed")
        reader, letter = self._stage, exhume(record)
        await self._until_up(lambda: reader.mourn(letter), self._stage.name, record, waits)
        return Answer((), "answered")

    async def _until_up(
        self,
        call: Callable[[], Awaitable[T]],
        part: str,
        record: Record,
        waits: Waits,
    ) -> T:
        """What `call` answers; meanwhile readiness names the record that waits for `part`."""
        place = f"{record.topic}/{record.partition}/{record.offset}"
        return await until_available(call, part, self._health, place=place, waits=waits)

    def _messages(
        self, record: Record, head: Head, events: Sequence[Event], key: PersonKey | None
    ) -> tuple[Message, ...]:
        cause = Cause(record.topic, record.appended)
        numbered: dict[str, int] = {}
        messages = []
        for event in events:
            topic = topic_of(event)
            n = numbered.setdefault(topic, 0)
            numbered[topic] += 1
            messages.append(encode(event, head.child(topic, n, event.TYPE, cause), key))
        return tuple(messages)

    def _ended(self, record: Record, head: Head, why: BadRecord) -> Answer:
        if self._stage.ends_jobs:
            failed = self._failed(record, head, why)
            if not _too_long(failed.messages):  # else it inherits headers of some stranger's size
                return failed
        return self.dead(record, why)

    def _failed(self, record: Record, head: Head, why: BadRecord) -> Answer:
        if not self._stage.ends_jobs:
            return Answer((), "passed")
        event = JobFailed(stage=self._stage.name, code=why.code, message=why.message)
        return Answer(self._messages(record, head, (event,), None), "failed")


def _too_long(messages: Sequence[Message]) -> bool:
    """Whether a log would refuse them, again and again; better known before the commit."""
    return any(message.size > MOST_BYTES for message in messages)
