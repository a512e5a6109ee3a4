"""Creating what the log needs: topics, each group's first offsets, each source's position.

Knows the tables and that running twice changes nothing. Refuses to lower or to overwrite.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence


def apply(
    line: sqlite3.Connection,
    partitions: Mapping[str, int],
    groups: Mapping[str, Sequence[str]],
    sources: Sequence[str],
) -> None:
    """Create what is missing, inside the transaction that is under way."""
    for topic, count in partitions.items():
        _topic(line, topic, count)
    for group, topics in groups.items():
        for topic in topics:
            line.execute(_FIRST_OFFSETS, [group, topic])
    for source in sources:
        line.execute("insert into sources (name) values (?) on conflict do nothing", [source])


def _topic(line: sqlite3.Connection, topic: str, count: int) -> None:
    line.execute("insert into topics (name) values (?) on conflict do nothing", [topic])
    (id_,) = line.execute("select id from topics where name = ?", [topic]).fetchone()
    line.executemany(
        "insert into partitions (topic, number) values (?, ?) on conflict do nothing",
        [(id_, number) for number in range(count)],
    )


_FIRST_OFFSETS = """
insert into claims ("group", partition)
select ?, p.id from partitions p join topics t on t.id = p.topic where t.name = ?
on conflict do nothing
"""
