"""An hour of the log: its records in order, and the one hash that stands for all of them.

Knows which records an hour has (per partition: from its first of that hour or later up to its first
of a later one), in which order they are hashed, and what is signed about them. Keeps them in files,
so memory stays flat. Refuses to know who asks.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from pydantic_core import from_json

from audit.lines import HOUR, Named, hour_of, line_of, named
from audit.merkle import Tree
from audit.reading import Eyes
from relay.log.port import Log
from schemas.envelope import format_time, parse_time
from schemas.events import (
    AccessRecorded,
    AuditRootPublished,
    PersonErased,
    RequestRefused,
    VoiceRevoked,
    VoiceSaved,
)
from schemas.topics import AFTERWARDS, DEAD, TOPICS, topic_of

COVERED: Sequence[str] = (
    *(topic.name for topic in (*TOPICS, *AFTERWARDS)),
    *DEAD,
    topic_of(AccessRecorded),
    topic_of(PersonErased),
    topic_of(RequestRefused),
    topic_of(VoiceSaved),
    topic_of(VoiceRevoked),
)
"""The topics whose records an hour has: all but that of the roots themselves."""
GRACE = timedelta(minutes=5)
"""When an hour counts as closed after its end: what was begun in it is settled by then."""
_IN_MEMORY = 1 << 16


@dataclass(frozen=True, slots=True)
class Root:
    """What is said, and signed, about an hour."""

    site: str
    hour: datetime
    records: int
    root: str

    @property
    def statement(self) -> str:
        """The words that are signed: the same for the same hour."""
        said = {
            "site": self.site,
            "hour": format_time(self.hour),
            "records": self.records,
            "root": self.root,
        }
        return json.dumps(said, separators=(",", ":"))


def read_root(statement: str) -> Root:
    """The root that a statement tells of; `ValueError` where it is none."""
    try:
        said: Any = from_json(statement)
        return Root(
            str(said["site"]), parse_time(said["hour"]), int(said["records"]), str(said["root"])
        )
    except (TypeError, KeyError):
        raise ValueError("not a statement about an hour") from None


class Hour:
    """The records of one hour, ordered by topic, partition and offset."""

    def __init__(self, start: datetime, open_: ExitStack) -> None:
        self.start = start
        self._open = open_
        self._spools: dict[tuple[str, int], IO[bytes]] = {}

    def add(self, place: Named, line: bytes) -> None:
        """One more record; those of a partition come in order."""
        topic, partition, offset = place.place
        if (spool := self._spools.get((topic, partition))) is None:
            spool = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with the hour
            self._spools[topic, partition] = self._open.enter_context(spool)
        spool.write(json.dumps([offset, place.id]).encode() + b"\n" + line + b"\n")

    def records(self) -> Iterator[tuple[Named, bytes]]:
        """Each record's name and line, in order."""
        for (topic, partition), spool in sorted(self._spools.items(), key=lambda each: each[0]):
            spool.seek(0)
            while head := spool.readline():
                offset, id_ = json.loads(head)
                yield Named((topic, partition, offset), id_), spool.readline()[:-1]

    def root(self, site: str) -> Root:
        """What there is to say about the hour."""
        tree = Tree()
        tree.extend(line for _, line in self.records())
        return Root(site, self.start, tree.size, tree.root.hex())


@asynccontextmanager
async def read_hour(log: Log, start: datetime) -> AsyncIterator[Hour]:
    """The hour that begins at `start`, as the log has it now."""
    with ExitStack() as stack:
        hour = Hour(start, stack)
        async for record in log.read(COVERED, start, until=start + HOUR):
            hour.add(named(record), line_of(record))
        yield hour


async def published(log: Log, site: str, since: datetime | None) -> Mapping[datetime, Root]:
    """What was said on the log of the site's hours, from `since` on."""
    found = dict[datetime, Root]()
    async for record in log.read([topic_of(AuditRootPublished)], since):
        event = (await Eyes(None).see(record)).event
        if isinstance(event, AuditRootPublished):
            root = read_root(event.statement)
            if root.site == site:
                found[root.hour] = root
    return found


def closed_hours(since: datetime, until: datetime | None, now: datetime) -> Sequence[datetime]:
    """Hours from that of `since` to that before `until` to which nothing will be added any more."""
    found, hour = list[datetime](), hour_of(since)
    while hour + HOUR + GRACE <= now and (until is None or hour < until):
        found.append(hour)
        hour += HOUR
    return found
