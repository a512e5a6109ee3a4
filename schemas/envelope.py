"""The envelope of every event: CloudEvents 1.0, binary mode, as Kafka headers.

Knows the headers, and how an id follows from its parent's. Refuses to know what an event says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid5

Headers = tuple[tuple[str, bytes], ...]

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Of W3C Trace Context, level 1."""
_LONGEST = 512
_YEARS = (1970, 9_000)
_REQUIRED = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_person")


class EnvelopeError(ValueError):
    """The headers are not those of one of our events."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What an event answers: a record of `topic` that the log took at `appended`."""

    topic: str
    appended: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """Who an event is: its headers and its key.

    `time` is when the job was accepted and `source` the site that accepted it; every descendant
    inherits both, so the same input gives the same bytes. `key` is the job id, or the person where
    an event belongs to no job. `cause` is there where a stage answered: a reader of this event
    alone knows how long that took.
    """

    id: UUID
    type: str
    source: str
    time: datetime
    person: UUID
    key: str
    traceparent: str | None = None
    cause: Cause | None = None

    def child(self, topic: str, n: int, type_: str, cause: Cause | None = None) -> Head:
        """The head of the `n`-th event that a handler of this one appends to `topic`."""
        id_ = uuid5(self.id, f"{topic}/{n}")
        return replace(self, id=id_, type=type_, cause=cause)

    def headers(self) -> Headers:
        """The headers on the log, in one fixed order."""
        pairs = (
            ("ce_specversion", SPEC_VERSION.encode()),
            ("ce_id", str(self.id).encode()),
            ("ce_type", self.type.encode()),
            ("ce_source", self.source.encode()),
            ("ce_time", format_time(self.time).encode()),
            ("ce_person", str(self.person).encode()),
            ("content-type", CONTENT_TYPE.encode()),
        )
        traced = () if self.traceparent is None else (("traceparent", self.traceparent.encode()),)
        caused = () if self.cause is None else (("ce_cause", _spelled(self.cause)),)
        return (*pairs, *traced, *caused)


def _spelled(cause: Cause) -> bytes:
    return f"{cause.topic} {format_time(cause.appended)}".encode()


def read_head(key: str, headers: Iterable[tuple[str, bytes]]) -> Head:
    """The head that `headers` spell; `EnvelopeError` names the header that is missing or wrong."""
    found = dict(headers)
    try:
        text = {name: _text(found[name]) for name in _REQUIRED}
        if text["ce_specversion"] != SPEC_VERSION:
            raise EnvelopeError(f"ce_specversion is not {SPEC_VERSION}")
        return Head(
            id=UUID(text["ce_id"]),
            type=text["ce_type"],
            source=text["ce_source"],
            time=_sane(parse_time(text["ce_time"])),
            person=UUID(text["ce_person"]),
            key=key,
            traceparent=_traced(found.get("traceparent")),
            cause=_caused(found.get("ce_cause")),
        )
    except KeyError as missing:
        raise EnvelopeError(f"header {missing.args[0]} is missing") from None
    except UnicodeDecodeError:
        raise EnvelopeError("a header is not UTF-8") from None
    except EnvelopeError:
        raise
    except ValueError:
        raise EnvelopeError("a header is malformed") from None


def _text(value: bytes) -> str:
    """A header's text: short, and nothing in it that a database or a terminal would choke on."""
    text = value.decode()
    if len(value) > _LONGEST or not text.isprintable():
        raise EnvelopeError("a header is too long, or holds what cannot be printed")
    return text


def _sane(time: datetime) -> datetime:
    """`time`, if there is room around it for other zones and for terms that count from it."""
    if not _YEARS[0] <= time.year <= _YEARS[1]:
        raise EnvelopeError("ce_time lies outside the years we know")
    return time


def _traced(value: bytes | None) -> str | None:
    """A traceparent; what is none is passed over, as its standard says."""
    text = "" if value is None else value.decode(errors="replace")
    return text if TRACEPARENT.fullmatch(text) else None


def _caused(value: bytes | None) -> Cause | None:
    """A cause; what is none is passed over: it is there for figures, and older events have none."""
    try:
        topic, time = _text(value or b"").split(" ")
        return Cause(topic, _sane(parse_time(time)))
    except ValueError:
        return None


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always the same length."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """The instant that an RFC 3339 `text` names; `ValueError` where it names none with a zone."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time beyond all calendars") from None
