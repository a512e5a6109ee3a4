"""The tables of the embedded log, and how its file is opened.

A row of `batches` holds what one transaction appended to one partition: many records a row keep
SQLite's work per record small. A row of `claims` is a group's place in a partition: what it has
committed, who holds it, and the epoch that fences whoever held it before.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from relay.errors import Misconfigured, Unavailable

VERSION = 1
BUSY_SECONDS = 10.0
_OPEN_SECONDS = 20.0
_CACHE_KB = 16_000
"""The inner pages of a log of ten million events; with SQLite's own 2,000 they are read again."""

_TABLES = """
create table topics (
    id integer primary key,
    name text not null unique
);
create table partitions (
    id integer primary key,
    topic integer not null references topics,
    number integer not null,
    next integer not null default 0,
    unique (topic, number)
);
create table batches (
    partition integer not null references partitions,
    last integer not null,
    first integer not null,
    appended integer not null,  -- microseconds since 1970, UTC
    heads text not null,        -- JSON: per record its key, the value's length and its headers
    body blob not null          -- the values, one after another
);
create unique index batches_by_last on batches (partition, last, appended);
create table claims (
    id integer primary key,
    "group" text not null,
    partition integer not null references partitions,
    "offset" integer not null default 0,
    metadata text not null default '',
    member text,
    epoch integer not null default 0,
    unique ("group", partition)
);
create table members (
    id text primary key,
    "group" text not null,
    topics text not null,       -- JSON list of names
    expires real not null       -- on the machine's monotonic clock
);
create table sources (
    name text primary key,
    position integer not null default 0,
    epoch integer not null default 0
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits durably; statements begin no transaction by themselves."""
    line = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    line.execute(f"pragma cache_size = -{_CACHE_KB}")
    line.execute("pragma synchronous = full")
    line.execute("pragma secure_delete = on")  # what was kept for long enough is gone
    return line


def prepare(path: Path) -> sqlite3.Connection:
    """Make the file and its tables where they are missing; a connection to it.

    `Misconfigured` where the file is no log of ours, `Unavailable` where it cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _OPEN_SECONDS
    while True:
        try:
            return _prepare(path)
        except sqlite3.OperationalError as failed:
            # Several processes may start at once, and a change of the journal waits for nobody.
            if "locked" not in str(failed) or time.monotonic() > deadline:
                raise Unavailable(f"the log {path} cannot be opened: {failed}") from failed
            time.sleep(0.02)
        except sqlite3.DatabaseError as failed:
            raise Misconfigured(f"{path} is not a log of ours: {failed}") from failed


def _prepare(path: Path) -> sqlite3.Connection:
    line = connect(path)
    try:
        if line.execute("pragma journal_mode").fetchone()[0] != "wal":
            line.execute("pragma journal_mode = wal")
        line.execute("begin immediate")
        version = line.execute("pragma user_version").fetchone()[0]
        if version > VERSION:
            raise Misconfigured(f"the log {path} was written by a newer version of VoxRelay")
        if version == 0:
            for statement in _TABLES.split(";"):
                line.execute(statement)
            line.execute(f"pragma user_version = {VERSION}")
        line.execute("commit")
    except BaseException:
        line.close()
        raise
    return line
