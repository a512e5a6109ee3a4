"""Where a long reading keeps what it knows, so that memory stays flat and a rest can be resumed.

Knows one SQLite file: answers by event id, how far each partition was read, and one document of
findings; all of a step are written together. Refuses to know what they mean.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from relay.errors import Misconfigured
from relay.log.port import Place, Record

_TABLES = """
create table if not exists facts (name text primary key, value text not null);
create table if not exists answers (id blob primary key, body text not null) without rowid;
create table if not exists read (
    phase text, topic text, partition integer, "offset" integer not null,
    primary key (phase, topic, partition)
) without rowid;
"""


class Journal:
    """An open state file. `question` is what it is about: another's file is refused."""

    def __init__(self, line: sqlite3.Connection, question: Mapping[str, Any]) -> None:
        self._line = line
        line.executescript(_TABLES)
        before = self.fact("question")
        if before is not None and before != question:
            raise Misconfigured("the state file belongs to another question: name a new one")
        with line:
            self._set("question", dict(question))
        rows = line.execute('select phase, topic, partition, "offset" from read')
        self._read: dict[tuple[str, str, int], int] = {
            (phase, topic, number): at for phase, topic, number, at in rows
        }

    def fact(self, name: str) -> Any:
        """What was kept under `name`; None where nothing was."""
        row = self._line.execute("select value from facts where name = ?", [name]).fetchone()
        return None if row is None else json.loads(row[0])

    def keep(self, name: str, value: Any) -> None:
        """Keep one fact by itself."""
        with self._line:
            self._set(name, value)

    def places(self, phase: str) -> dict[Place, int]:
        """Where `phase` goes on, in each partition that it has begun."""
        return {(topic, n): at + 1 for (of, topic, n), at in self._read.items() if of == phase}

    def step(
        self,
        phase: str,
        records: Iterable[Record],
        *,
        answers: Iterable[tuple[UUID, str]] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`phase` has done with `records`: with what came of them, or not at all."""
        for record in records:
            self._read[phase, record.topic, record.partition] = record.offset
        with self._line as line:
            line.executemany(
                "insert or ignore into answers values (?, ?)",
                [(id_.bytes, body) for id_, body in answers],
            )
            line.executemany(
                "insert or replace into read values (?, ?, ?, ?)",
                [(*place, at) for place, at in self._read.items()],
            )
            for name, value in (facts or {}).items():
                self._set(name, value)

    def answered(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """The answers that are kept under any of `ids`, at most 32,000: each asking costs."""
        query = f"select id, body from answers where id in ({','.join('?' * len(ids))})"
        rows = self._line.execute(query, [id_.bytes for id_ in ids])
        return {UUID(bytes=id_): body for id_, body in rows}

    def _set(self, name: str, value: Any) -> None:
        self._line.execute("insert or replace into facts values (?, ?)", [name, json.dumps(value)])


@contextmanager
def open_journal(path: Path | None, question: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal in `path`; without one, a file that is gone afterwards.

    `Misconfigured` where the file is none, or is about something else.
    """
    try:
        with closing(sqlite3.connect(path or "")) as line:
            line.execute("pragma journal_mode = wal")
            line.execute("pragma synchronous = normal")
            yield Journal(line, question)
    except sqlite3.DatabaseError as wrong:
        raise Misconfigured(f"the state file {path} cannot be used: {wrong}") from wrong
