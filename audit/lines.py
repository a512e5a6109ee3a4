"""A record as one line of an archive: JSON that keeps every byte, the same each time.

Knows the form that `docs/audit.md` publishes, and how records are ordered. Opens no field.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from relay.log.port import Record
from schemas.envelope import format_time, parse_time

HOUR = timedelta(hours=1)

Place = tuple[str, int, int]
"""Topic, partition, offset: what an hour's records are ordered by, too."""


@dataclass(frozen=True, slots=True)
class Named:
    """Where a record stands and what it calls itself; fit for a finding."""

    place: Place
    id: str | None

    def __str__(self) -> str:
        topic, partition, offset = self.place
        return f"{topic}, partition {partition}, offset {offset}, ce_id {self.id}"


def line_of(record: Record) -> bytes:
    """The line, without its end."""
    said = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended": format_time(record.appended),
        "key": _text(record.key.encode("utf-8", "surrogateescape")),
        "headers": [[name, _text(value)] for name, value in record.headers],
        "value": _text(record.value),
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def record_of(line: bytes) -> Record:
    """The record in a line; `ValueError` where it is no such line."""
    try:
        said = from_json(line)
        return Record(
            topic=str(said["topic"]),
            partition=int(said["partition"]),
            offset=int(said["offset"]),
            key=_bytes(said["key"]).decode("utf-8", "surrogateescape"),
            value=_bytes(said["value"]),
            headers=tuple((str(name), _bytes(value)) for name, value in said["headers"]),
            appended=parse_time(said["appended"]),
        )
    except (TypeError, KeyError) as wrong:
        raise ValueError(f"not a line of a record: {type(wrong).__name__}") from None


def named(record: Record) -> Named:
    """How a finding calls `record`."""
    id_ = dict(record.headers).get("ce_id")
    place = (record.topic, record.partition, record.offset)
    return Named(place, None if id_ is None else id_.decode(errors="replace"))


def named_in(line: bytes) -> Named | None:
    """How a finding calls the record in `line`; None where it is no such line."""
    try:
        said = from_json(line)
        place = (str(said["topic"]), int(said["partition"]), int(said["offset"]))
        ids = [value for name, value in said["headers"] if name == "ce_id"]
        return Named(place, str(ids[-1]) if ids else None)
    except (ValueError, TypeError, KeyError):
        return None


def hour_of(time: datetime) -> datetime:
    """The full hour that `time` lies in."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _text(data: bytes) -> Any:
    """`data` as a string where it is UTF-8, else in base64 and marked as such."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


def _bytes(said: Any) -> bytes:
    """The bytes that `_text` has spelled so."""
    return b64decode(said["base64"]) if isinstance(said, dict) else str(said).encode()
