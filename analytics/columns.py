"""Events as rows of plain columns, for files and questions: what a stranger may see of each.

Knows which field stands in which column. Refuses to open a personal field; there is no column for
one. A column is only ever added, so files of all ages are read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

import pyarrow as pa

from relay.codec import decode, head_of
from relay.errors import BadRecord
from relay.log.port import Record
from schemas.events import BY_TYPE, Event
from schemas.states import STATE_OF

_TIME = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("id", pa.string()),
        ("job", pa.string()),
        ("person", pa.string()),
        ("source", pa.string()),
        ("accepted_at", _TIME),
        ("appended_at", _TIME),
        ("state", pa.string()),
        ("style", pa.string()),
        ("mode", pa.string()),
        ("door", pa.string()),
        ("format", pa.string()),
        ("language", pa.string()),
        ("seconds", pa.float64()),
        ("policy", pa.string()),
        ("code_version", pa.string()),
        ("rules", pa.list_(pa.string())),
        ("review_approved", pa.bool_()),
        ("cached", pa.bool_()),
        ("cloned", pa.bool_()),
        ("engine", pa.string()),
        ("voice", pa.string()),
        ("voice_version", pa.string()),
        ("stage", pa.string()),
        ("code", pa.string()),
        ("stars", pa.int32()),
        ("complaint", pa.string()),
        ("upheld", pa.bool_()),
    ]
)
"""`person` is the random id that stands for the same person in every event."""


def row(record: Record) -> dict[str, Any]:
    """The columns of `record`; of one that is no event of ours, those of its place alone."""
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended_at": record.appended,
    }
    try:
        head = head_of(record)
        event = decode(record, head, None)
    except BadRecord:
        return place
    return {
        **place,
        "id": str(head.id),
        "job": head.key,
        "person": str(head.person),
        "source": head.source,
        "accepted_at": head.time,
        "state": _plain(STATE_OF.get(BY_TYPE[event.TYPE])),
        **_told(event),
    }


def table(records: Sequence[Record]) -> pa.Table:
    """`records` as a table, in their order."""
    return pa.Table.from_pylist([row(record) for record in records], schema=SCHEMA)


_PATHS = {
    "style": "style",
    "mode": "mode",
    "door": "door",
    "format": "format",
    "language": "heard_language",
    "policy": "verdict.policy",
    "code_version": "verdict.code_version",
    "review_approved": "approved",
    "cached": "cached",
    "cloned": "spoken.cloned",
    "engine": "spoken.engine",
    "voice": "spoken.voice",
    "voice_version": "spoken.version",
    "stage": "stage",
    "code": "code",
    "stars": "stars",
    "complaint": "reason",
    "upheld": "upheld",
}
"""Where a column's value stands in the events that have it; none of them is personal."""
_SOUND = ("recording", "speech", "audio")


def _told(event: Event) -> dict[str, Any]:
    fields = type(event).model_fields
    told = {
        column: _plain(attrgetter(path)(event))
        for column, path in _PATHS.items()
        if path.partition(".")[0] in fields
    }
    if "verdict" in fields:
        told["rules"] = sorted({reason.rule for reason in attrgetter("verdict.reasons")(event)})
    for name in _SOUND:
        if name in fields:
            told["seconds"] = attrgetter(f"{name}.seconds")(event)
    return told


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
