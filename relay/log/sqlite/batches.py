"""Records as rows of `batches`, and back.

Knows the form of a row. Refuses to know transactions and who reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from relay.log.port import Message, Record

MOST, MOST_BYTES = 256, 1_000_000
"""Records in one row, and bytes of their values; a reader takes whole rows."""

Row = tuple[int, int, int, int, str, bytes]
"""partition, last, first, appended, heads, body."""

_json = json.JSONEncoder(separators=(",", ":")).encode


def rows(partition: int, first: int, appended: int, messages: Sequence[Message]) -> Iterator[Row]:
    """The rows that hold `messages` from offset `first` on."""
    at = first
    for part in _parts(messages):
        heads = _json([_head(m) for m in part])
        body = b"".join([m.value for m in part])
        yield partition, at + len(part) - 1, at, appended, heads, body
        at += len(part)


def _parts(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """`messages` in pieces of a row's size; one message is never too much."""
    start, size = 0, 0
    for end, message in enumerate(messages):
        size += len(message.value)
        if end > start and (end - start == MOST or size > MOST_BYTES):
            yield messages[start:end]
            start, size = end, len(message.value)
    if messages:
        yield messages[start:]


def _head(message: Message) -> list[str | int]:
    head: list[str | int] = [message.key, len(message.value)]
    for name, value in message.headers:
        head += (name, value.decode("latin-1"))  # any bytes, and readable where they are ASCII
    return head


def records(
    topic: str, number: int, since: int, row: tuple[int, int, str, bytes]
) -> Iterator[Record]:
    """The records in `row` (first, appended, heads, body) from offset `since` on."""
    offset, appended, heads, body = row
    time = moment(appended)
    start = 0
    for key, length, *flat in json.loads(heads):
        end = start + length
        if offset >= since:
            values = [value.encode("latin-1") for value in flat[1::2]]
            headers = tuple(zip(flat[::2], values, strict=True))
            yield Record(topic, number, offset, key, body[start:end], headers, time)
        offset, start = offset + 1, end


def moment(microseconds: int) -> datetime:
    """The instant `microseconds` after 1970, exactly."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def microseconds(time: datetime) -> int:
    """Inverse of `moment`."""
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000 + time.microsecond
