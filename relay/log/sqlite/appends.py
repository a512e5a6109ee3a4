"""Appends as a few statements, however many they are.

Knows fences, offsets and rows inside a transaction that somebody else began. Refuses to know
threads and futures.

A statement takes the rows of all appends at once, and an answer is one row of JSON: each step of
SQLite gives up the interpreter's lock, and to get it back from a busy event loop takes long.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from relay.errors import Fenced
from relay.log.port import Committed, Message
from relay.log.sqlite.batches import Row, rows

_COLUMNS = 6
_MOST_ROWS = 128


@dataclass(frozen=True, slots=True)
class ClaimFence:
    """The append goes with an offset, and stands only while the claim `id` has this epoch."""

    id: int
    epoch: int
    mark: Committed


@dataclass(frozen=True, slots=True)
class SourceFence:
    """The append goes with a position, and stands only while the source has this epoch."""

    name: str
    epoch: int
    position: int


Fence = ClaimFence | SourceFence
Placed = tuple[int, Message]
"""Partition (its id) and what is appended to it."""


@dataclass(frozen=True, slots=True)
class Append:
    """What goes in together or not at all."""

    fence: Fence
    messages: Sequence[Placed]


def write(
    line: sqlite3.Connection, appends: Sequence[Append]
) -> tuple[list[Fenced | None], frozenset[int]]:
    """Write `appends` in order; per append None or why it was refused, and what partitions grew."""
    refused = _refused(line, appends)
    good = [append for append, why in zip(appends, refused, strict=True) if why is None]
    grown = _append(line, [placed for append in good for placed in append.messages])
    _move(line, good)
    return refused, grown


def _refused(line: sqlite3.Connection, appends: Sequence[Append]) -> list[Fenced | None]:
    claims = [a.fence.id for a in appends if isinstance(a.fence, ClaimFence)]
    sources = [a.fence.name for a in appends if isinstance(a.fence, SourceFence)]
    epochs: dict[int | str, int] = {}
    if claims:
        epochs |= {int(k): v for k, v in _object(line, _CLAIM_EPOCHS, claims).items()}
    if sources:
        epochs.update(_object(line, _SOURCE_EPOCHS, sources))
    return [_judge(a.fence, epochs) for a in appends]


def _judge(fence: Fence, epochs: dict[int | str, int]) -> Fenced | None:
    if isinstance(fence, ClaimFence):
        if epochs.get(fence.id) == fence.epoch:
            return None
        return Fenced("another member holds the partition")
    if epochs.get(fence.name) == fence.epoch:
        return None
    return Fenced(f"another holder feeds the log as source {fence.name}")


def _append(line: sqlite3.Connection, placed: Sequence[Placed]) -> frozenset[int]:
    if not placed:
        return frozenset()
    by_partition: dict[int, list[Message]] = defaultdict(list)
    for partition, message in placed:
        by_partition[partition].append(message)
    first = {int(k): v for k, v in _object(line, _NEXT, list(by_partition)).items()}
    now = time.time_ns() // 1000
    batch: list[Row] = []
    for partition, messages in by_partition.items():
        batch += rows(partition, first[partition], now, messages)
    for start in range(0, len(batch), _MOST_ROWS):
        part = batch[start : start + _MOST_ROWS]
        line.execute(_insert(len(part)), [value for row in part for value in row])
    line.execute(_GROW, [json.dumps([[p, len(m)] for p, m in by_partition.items()])])
    return frozenset(by_partition)


def _move(line: sqlite3.Connection, appends: Sequence[Append]) -> None:
    marks = {a.fence.id: a.fence.mark for a in appends if isinstance(a.fence, ClaimFence)}
    if marks:
        values = [[id_, mark.offset, mark.metadata] for id_, mark in marks.items()]
        line.execute(_MARK, [json.dumps(values)])
    places = {a.fence.name: a.fence.position for a in appends if isinstance(a.fence, SourceFence)}
    if places:
        line.execute(_PLACE, [json.dumps(list(places.items()))])


def _object(line: sqlite3.Connection, statement: str, keys: list[Any]) -> dict[str, int]:
    found: dict[str, int] = json.loads(line.execute(statement, [json.dumps(keys)]).fetchone()[0])
    return found


@lru_cache(maxsize=_MOST_ROWS)
def _insert(count: int) -> str:
    row = f"({','.join('?' * _COLUMNS)})"
    return "insert into batches (partition, last, first, appended, heads, body) values " + ",".join(
        [row] * count
    )


_CLAIM_EPOCHS = """
select json_group_object(id, epoch) from claims where id in (select value from json_each(?))
"""
_SOURCE_EPOCHS = """
select json_group_object(name, epoch) from sources where name in (select value from json_each(?))
"""
_NEXT = """
select json_group_object(id, next) from partitions where id in (select value from json_each(?))
"""
_GROW = """
update partitions set next = next + json_extract(j.value, '$[1]')
from json_each(?) j where partitions.id = json_extract(j.value, '$[0]')
"""
_MARK = """
update claims set "offset" = json_extract(j.value, '$[1]'),
                  metadata = json_extract(j.value, '$[2]')
from json_each(?) j where claims.id = json_extract(j.value, '$[0]')
"""
_PLACE = """
update sources set position = json_extract(j.value, '$[1]')
from json_each(?) j where sources.name = json_extract(j.value, '$[0]')
"""
