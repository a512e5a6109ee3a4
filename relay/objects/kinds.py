"""Kinds of objects that no job owns: parts of uploads, voices that may be taken back, old hours.

Knows their names. Refuses to know when they go: `relay.sweep` does.
"""

from __future__ import annotations

from datetime import UTC, datetime

UPLOAD = "upload"
"""A part of an upload; none lives for longer than a day."""
VOICE = "voice"
"""A saved voice, `voice/<person>/<voice>`: gone from the instant at which it is revoked."""
ARCHIVE = "archive"
"""The log's hours: `archive/hours/<hour>` is one, `archive/records/<hour>.<part>` is of one."""

_HOUR = "%Y-%m-%dT%H"
_HOUR_LENGTH = len("2026-03-01T10")


def revocable(key: str) -> bool:
    """Whether what lies under `key` may be taken back while jobs still name it."""
    return key.startswith(f"{VOICE}/")


def hour_name(hour: datetime) -> str:
    """How an hour is spelled in keys: their order is the hours'."""
    return f"{hour:{_HOUR}}"


def hour_in(key: str) -> datetime | None:
    """The hour of the log whose archive `key` belongs to; None where it is of another kind."""
    kind, _, rest = key.partition("/")
    name = rest.rpartition("/")[2][:_HOUR_LENGTH]
    try:
        return datetime.strptime(name, _HOUR).replace(tzinfo=UTC) if kind == ARCHIVE else None
    except ValueError:
        return None
