"""From one record to the messages that answer it: open, handle, seal, or say why not.

Knows the kinds of failure and how each ends. Refuses to know windows, claims and commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from relay.codec import decode, encode, head_of
from relay.errors import BadRecord, PersonErased
from relay.keys import KeyStore, PersonKey
from relay.letters import bury, exhume, meant_for
from relay.log.port import Message, Record
from relay.retry import until_available
from relay.stage import Context, DeadReader, Stage
from relay.telemetry import Health
from schemas.envelope import Head
from schemas.events import Event, JobFailed
from schemas.topics import topic_of


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

    async def answer(self, record: Record) -> Answer:
        """Handle `record`, waiting for our world as long as it takes.

        What is not a failure of our world, of the record or of erasure is a bug, and is raised.
        """
        if record.topic.endswith("-dead"):
            return await self._mourn(record)
        if not meant_for(record, self._stage.name):
            return Answer((), "passed")
        try:
            head = head_of(record)
        except BadRecord as why:
            return self.dead(record, why)
        return await self._answer(record, head)

    def dead(self, record: Record, why: BadRecord) -> Answer:
        """The record becomes a dead letter, or, being one already, is left where it is."""
        if record.topic.endswith("-dead"):
            return Answer((), "dead")
        return Answer((bury(record, self._stage.name, why, self._version),), "dead")

    async def _answer(self, record: Record, head: Head) -> Answer:
        try:
            key = await self._key(head)
            event = decode(record, head, key)
        except PersonErased:
            return self._failed(head, BadRecord("erased", "This person's data was erased."))
        except BadRecord as why:
            ended = self._ended(record, head, why)
            return Answer(ended.messages, "undecodable")
        try:
            recipe_key = key.recipe_key if key else b""
            events = await self._handle(event, Context(head, recipe_key, record.appended))
        except BadRecord as why:
            return self._ended(record, head, why)
        return Answer(self._messages(head, events, key), "answered")

    async def _key(self, head: Head) -> PersonKey | None:
        if not self._stage.opens:
            return None
        return await until_available(lambda: self._keys.key(head.person), "keys", self._health)

    async def _handle(self, event: Event, context: Context) -> Sequence[Event]:
        return await until_available(
            lambda: self._stage.handle(event, context), self._stage.name, self._health
        )

    async def _mourn(self, record: Record) -> Answer:
        if not isinstance(self._stage, DeadReader):
            return Answer((), "passed")
        reader, letter = self._stage, exhume(record)
        await until_available(lambda: reader.mourn(letter), self._stage.name, self._health)
        return Answer((), "answered")

    def _messages(
        self, head: Head, events: Sequence[Event], key: PersonKey | None
    ) -> tuple[Message, ...]:
        numbered: dict[str, int] = {}
        messages = []
        for event in events:
            topic = topic_of(event)
            n = numbered.setdefault(topic, 0)
            numbered[topic] += 1
            messages.append(encode(event, head.child(topic, n, event.TYPE), key))
        return tuple(messages)

    def _ended(self, record: Record, head: Head, why: BadRecord) -> Answer:
        if self._stage.ends_jobs:
            return self._failed(head, why)
        return self.dead(record, why)

    def _failed(self, head: Head, why: BadRecord) -> Answer:
        if not self._stage.ends_jobs:
            return Answer((), "passed")
        event = JobFailed(stage=self._stage.name, code=why.code, message=why.message)
        return Answer(self._messages(head, (event,), None), "failed")
