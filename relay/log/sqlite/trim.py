"""Dropping what has been kept for long enough, a little at a time.

Knows which rows nobody needs: old ones, below what every group of their partition has committed.
Refuses to know how long a topic is kept. Freed pages are zeroed and used again; the file does not
shrink.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from relay.log.sqlite.batches import microseconds

_MOST_ROWS = 64
"""Rows in one transaction, so that nobody who appends waits for long."""


def some(topic: str, before: datetime, line: sqlite3.Connection) -> int:
    """Drop some rows of `topic` that were appended before; how many records they held."""
    rows = line.execute(_OLD, [topic, microseconds(before), _MOST_ROWS]).fetchall()
    line.executemany(
        "delete from batches where partition = ? and last = ?",
        [(partition, last) for partition, last, _ in rows],
    )
    return sum(count for _, _, count in rows)


# Of a clock that was set back there may remain holes, which offsets have anyway.
_OLD = """
select b.partition, b.last, b.last - b.first + 1 from batches b
join partitions p on p.id = b.partition join topics t on t.id = p.topic
where t.name = ? and b.appended < ?
  and b.last < coalesce((select min(c."offset") from claims c where c.partition = p.id), p.next)
order by b.partition, b.last limit ?
"""
