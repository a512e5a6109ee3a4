"""The outbox: what was accepted in SQL and has to reach the log, once each and in order.

Knows how messages are put aside in the accepting transaction. Publishing is `relay.publisher`'s.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from sqlalchemy import insert

from relay.log.port import Message
from relay.sql.database import Transaction
from relay.sql.schema import outbox

SHARDS = 4
"""Shares of the outbox; gateways lease them. Fixed for ever: a key keeps its shard."""

WOKEN = "outbox"
"""The signal of this process that says: something was put aside."""


def source_name(shard: int) -> str:
    """The log's source that feeds on `shard`."""
    return f"outbox-{shard}"


SOURCES = tuple(source_name(shard) for shard in range(SHARDS))
"""What `Log.apply` has to prepare."""


def shard_of(key: str) -> int:
    """The shard of messages with this key: equal keys keep their order."""
    return crc32(key.encode()) % SHARDS


async def enqueue(tx: Transaction, messages: Sequence[Message]) -> None:
    """Put `messages` aside in `tx`: they reach the log if, and only if, `tx` commits."""
    if not messages:
        return
    await tx.execute(insert(outbox), [_row(message) for message in messages])
    tx.wake(WOKEN)


def _row(message: Message) -> dict[str, Any]:
    headers = [[name, base64.b64encode(value).decode()] for name, value in message.headers]
    return {
        "shard": shard_of(message.key),
        "topic": message.topic,
        "key": message.key,
        "value": message.value,
        "headers": headers,
    }
