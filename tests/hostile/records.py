"""What may lie on a topic that is no event: every harm done to every kind of record.

Knows messages, heads and seals. Refuses to know stages. Pure but for the ids that are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

from relay.codec import encode
from relay.keys import PersonKey
from relay.letters import CODE, GROUP, MESSAGE, REDRIVE
from relay.log.port import Message
from schemas.envelope import Head
from schemas.events import Event
from schemas.topics import DEAD, TOPICS
from tests.schemas import make_examples

_CHAIN = {topic.event for topic in TOPICS}
EXAMPLES = {name: event for name, event in make_examples.EXAMPLES.items() if type(event) in _CHAIN}
"""Of the topics that stages read; nobody answers what the ledger's hold."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whose events these are."""

    id: UUID
    key: PersonKey


@dataclass(frozen=True, slots=True)
class Victim:
    """A valid message, and all that it takes to make it a bad one."""

    draw: Random
    event: Event
    head: Head
    message: Message
    other: Person

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.message.value)
        return found

    def value(self, value: bytes) -> Message:
        """The message with another value."""
        return replace(self.message, value=value)

    def field(self, value: Any) -> Message:
        """The message with `value` in one of its fields."""
        changed = self.json
        changed[self.draw.choice(sorted(changed))] = value
        return self.value(json.dumps(changed).encode())

    def header(self, name: str, value: bytes | None) -> Message:
        """The message with another header, or without it."""
        kept = tuple(pair for pair in self.message.headers if pair[0] != name)
        return replace(self.message, headers=kept if value is None else (*kept, (name, value)))


Harm = Callable[[Victim], Message]

_HEADERS = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_person")


def victim(draw: Random, name: str, person: Person, other: Person) -> Victim:
    """The example `name`, as an event of `person`'s."""
    event = EXAMPLES[name]
    head = Head(
        id=_uuid(draw),
        type=event.TYPE,
        source="voxrelay://test",
        time=datetime(2026, 1, 2, tzinfo=UTC),
        person=person.id,
        key=str(_uuid(draw)),
    )
    return Victim(draw, event, head, encode(event, head, person.key), other)


def harmed(draw: Random, person: Person, other: Person) -> Iterator[tuple[str, Message]]:
    """Every harm done to every example, by the name of both."""
    for name in EXAMPLES:
        for what, harm in HARMS.items():
            yield f"{name}: {what}", harm(victim(draw, name, person, other))


def letters(draw: Random) -> Iterator[Message]:
    """Dead letters that no stage wrote."""
    for topic in DEAD:
        for key in (str(_uuid(draw)), "no id", ""):
            yield Message(topic, key, draw.randbytes(40), ())
            yield Message(topic, key, b"[" * 9_000, ((GROUP, b"moderation"),))
            said = ((GROUP, b"synth\x1b[2J"), (CODE, b"\xff\xfe"), (MESSAGE, b"\x00" * 90))
            yield Message(topic, key, b'"\\ud800"', (*said, ("ce_id", b"x"), (REDRIVE, b"\xff")))


def _uuid(draw: Random) -> UUID:
    return UUID(int=draw.getrandbits(128), version=4)


def _deeper(found: Victim) -> Message:
    """A wrong value inside a field that is an object."""
    changed = found.json
    inner = [name for name, value in changed.items() if isinstance(value, dict)]
    if not inner:
        return found.field({"a": {}})
    chosen = changed[found.draw.choice(sorted(inner))]
    chosen[found.draw.choice(sorted(chosen))] = found.draw.choice([None, [], {}, "x", 1e308, -1])
    return found.value(json.dumps(changed).encode())


def _climbs(found: Victim) -> Message:
    """Objects under keys that lead elsewhere."""
    key = found.draw.choice(["../../etc/passwd", "a//b", "/", "x" * 9_000, "recording/\u202e/x"])
    return found.value(_with_keys(found.json, key))


def _with_keys(changed: dict[str, Any], key: str) -> bytes:
    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {n: key if n == "key" else walk(v) for n, v in value.items()}
        return value

    return json.dumps(walk(changed)).encode()


def _sealed_for_another(found: Victim) -> Message:
    return replace(encode(found.event, found.head, found.other.key), headers=found.head.headers())


def _sealed_in_another_event(found: Victim) -> Message:
    return found.header("ce_id", str(_uuid(found.draw)).encode())


def _sealed_scraps(found: Victim) -> Message:
    scraps = found.draw.choice(["", "====", "AAAA", "A" * 50_000, "no base64", None, 5])
    changed = {n: {"sealed": scraps} if _is_sealed(v) else v for n, v in found.json.items()}
    return found.value(json.dumps(changed).encode())


def _is_sealed(value: Any) -> bool:
    return isinstance(value, dict) and "sealed" in value


def _misplaced(found: Victim) -> Message:
    """An event of another type than its topic's, otherwise in order."""
    other = victim(
        found.draw,
        found.draw.choice([n for n in EXAMPLES if EXAMPLES[n].TYPE != found.event.TYPE]),
        Person(found.head.person, found.other.key),
        found.other,
    )
    return replace(other.message, topic=found.message.topic)


HARMS: Mapping[str, Harm] = {
    "nothing": lambda v: v.value(b""),
    "noise": lambda v: v.value(v.draw.randbytes(300)),
    "no UTF-8": lambda v: v.value(v.message.value.replace(b"e", b"\xff")),
    "cut off": lambda v: v.value(v.message.value[:-9]),
    "a list": lambda v: v.value(b"[1, 2]"),
    "a word": lambda v: v.value(b'"prompt"'),
    "NaN": lambda v: v.value(v.message.value[:-1] + b', "speed": NaN}'),
    "endless": lambda v: v.value(v.message.value[:-1] + b', "speed": 1e999}'),
    "brackets": lambda v: v.value(b'{"text":' * 20_000),
    "twice": lambda v: v.value(v.message.value[:-1] + b"," + v.message.value[1:]),
    "digits": lambda v: v.value(v.message.value[:-1] + b', "seed": ' + b"9" * 20_000 + b"}"),
    "NUL": lambda v: v.field("a\0b"),
    "half a character": lambda v: v.value(v.message.value[:-1] + b', "stage": "\\ud800"}'),
    "a lone list": lambda v: v.field([]),
    "no value": lambda v: v.field(None),
    "a number": lambda v: v.field(-1),
    "a large number": lambda v: v.field(10**30),
    "a long text": lambda v: v.field("字" * 90_000),
    "a text that moves": lambda v: v.field("\x1b[2J\u202e\u2028"),
    "within": _deeper,
    "climbing": _climbs,
    "another's seal": _sealed_for_another,
    "another event's seal": _sealed_in_another_event,
    "scraps of a seal": _sealed_scraps,
    "misplaced": _misplaced,
    "a newer version": lambda v: v.header("ce_type", v.event.TYPE.replace("v1", "v9").encode()),
    "an endless type": lambda v: v.header("ce_type", b"x" * 60_000),
    "a missing header": lambda v: v.header(v.draw.choice(_HEADERS), None),
    "a broken header": lambda v: v.header(v.draw.choice(_HEADERS), v.draw.randbytes(12)),
    "a header of NUL": lambda v: v.header("ce_source", b"voxrelay://\0"),
    "before all time": lambda v: v.header("ce_time", b"0001-01-01T00:00:00+14:00"),
    "after all time": lambda v: v.header("ce_time", b"9999-12-31T23:59:59-12:00"),
    "without a zone": lambda v: v.header("ce_time", b"2026-01-01T00:00:00"),
    "no trace": lambda v: v.header("traceparent", v.draw.randbytes(40)),
    "a trace without end": lambda v: v.header("traceparent", b"00-" + b"f" * 70_000),
    "no cause": lambda v: v.header("ce_cause", v.draw.randbytes(40)),
    "for nobody": lambda v: v.header(REDRIVE, b"\xff\x00"),
    "no headers": lambda v: replace(v.message, headers=()),
    "two of each": lambda v: replace(v.message, headers=v.message.headers * 2),
    "no id for a key": lambda v: replace(v.message, key=v.draw.choice(["", "x", "作业", "a/b"])),
    "a key without end": lambda v: replace(v.message, key="k" * 20_000),
}
