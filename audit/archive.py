"""Closed hours of the log in the object store: written once, found by listing, proved by digests.

Knows the form: records as lines in parts of a few megabytes, gzip, and an object of the hour's own
that names them all, put last, so an hour is whole or is not there. It names the hour archived
before it, too: one that is lost leaves a trace. Personal fields stay sealed. Refuses to know what
the topics still hold (`audit.history` does), and when an hour goes (`relay.sweep` does).
"""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import inf

from audit.archived import HOURS, Archived, Part, Spans, read
from audit.lines import HOUR, Named, record_of
from audit.merkle import Tree
from audit.roots import COVERED, Hour, Root, read_hour
from relay.errors import Misconfigured, Missing, RelayError
from relay.log.port import Log, Record
from relay.objects.kinds import hour_in, hour_name
from relay.objects.port import ObjectStore
from relay.spine import Spine
from schemas.envelope import format_time

_PART_BYTES = 4_000_000
_LISTED_FOR = 60.0
"""Seconds that a listing is good for: after years it takes some, and hours come by the hour."""


class ArchiveDamaged(Misconfigured):
    """An archived hour is gone, or is not what was put there; names it, and what to do."""

    CODE = "archive_damaged"

    def __init__(self, hour: datetime, what: str) -> None:
        super().__init__(
            f"the archive of the hour {format_time(hour)} is damaged ({what}): bring it back from a"
            " copy of the object store, or leave that hour out with --since and --until, or read"
            " what the topics hold alone with VOXRELAY_AUDIT_ARCHIVE=false"
        )
        self.hour, self.what = hour, what


class NotAsPublished(RelayError):
    """What the log has of an hour is no longer what its published root stands for."""


class Archive:
    """The archived hours of a store; `kept` is how long each is."""

    def __init__(self, store: ObjectStore, kept: timedelta) -> None:
        self._store, self._kept = store, kept
        self._hours: list[datetime] = []
        self._listed = -inf

    async def hours(self) -> Sequence[datetime]:
        """The hours that are archived, in order, as they were within the last minute."""
        if time.monotonic() > self._listed + _LISTED_FOR:
            found = [hour_in(stat.key) async for stat in self._store.list(HOURS)]
            self._hours = [hour for hour in found if hour is not None]
            self._listed = time.monotonic()
        return self._hours

    async def hour(self, hour: datetime) -> Archived:
        """What is said of an archived hour."""
        try:
            found = read(await self._store.get(_key(hour)))
        except Missing:
            raise ArchiveDamaged(hour, f"{_key(hour)} is gone") from None
        except (ValueError, TypeError, KeyError) as wrong:
            raise ArchiveDamaged(hour, f"{_key(hour)} cannot be read: {wrong}") from None
        if found.hour != hour:
            raise ArchiveDamaged(hour, f"{_key(hour)} is about {format_time(found.hour)}")
        return found

    async def between(
        self, since: datetime | None, until: datetime | None
    ) -> AsyncIterator[Archived]:
        """The hours from `since` to that before `until`; where none is that late, the last of all.

        One that ought to be among them and is not is `ArchiveDamaged`: the hour after it tells.
        """
        hours = [*await self.hours()]
        first = bisect_left(hours, since) if since else 0
        before: datetime | None = None
        for hour in hours[first:] or hours[-1:]:
            if until and before and before + HOUR >= until:
                return  # else the next one tells whether any is lacking
            found = await self.hour(hour)
            lost = self._lost(found, hours)
            if lost and (since is None or since <= lost) and (until is None or lost < until):
                raise ArchiveDamaged(lost, f"{_key(lost)} is gone")
            if until is not None and hour >= until:
                return
            yield found
            before = hour

    async def lost_before(self, hour: datetime) -> datetime | None:
        """The hour that was archived before `hour` and is gone too early; None where none is."""
        return self._lost(await self.hour(hour), await self.hours())

    def _lost(self, found: Archived, hours: Sequence[datetime]) -> datetime | None:
        before = found.after
        if before is None or before <= datetime.now(UTC) - self._kept:
            return None  # nothing was there, or it was swept
        at = bisect_left(hours, before)
        return None if at < len(hours) and hours[at] == before else before

    async def records(self, found: Archived, wanted: Spans) -> AsyncIterator[Record]:
        """Those of an hour's records that are `wanted`, in order per partition."""
        for part in found.parts:
            if part.touches(wanted):
                for line in await self._lines(found.hour, part):
                    record = record_of(line)
                    begin, end = wanted.get((record.topic, record.partition), (0, 0))
                    if begin <= record.offset < end:
                        yield record

    async def root(self, hour: datetime) -> Root:
        """The root of what lies there; `ArchiveDamaged` where that is not what was put."""
        found, tree = await self.hour(hour), Tree()
        for part in found.parts:
            await asyncio.to_thread(tree.extend, await self._lines(hour, part))
        root = Root(found.root.site, hour, tree.size, tree.root.hex())
        if root != found.root:
            raise ArchiveDamaged(hour, "its records make another root")
        return root

    async def add(self, log: Log, published: Root) -> bool:
        """Archive the hour whose root was published; False where it lies there, or did for long.

        Whoever is killed in the middle leaves parts that the next one finds to be the same.
        """
        hour = published.hour
        hours = await self.hours()
        at = bisect_left(hours, hour)
        if (at < len(hours) and hours[at] == hour) or hour <= datetime.now(UTC) - self._kept:
            return False
        ends = await log.ends(COVERED, hour + HOUR)
        async with read_hour(log, hour) as found:
            if (root := await asyncio.to_thread(found.root, published.site)) != published:
                raise NotAsPublished(f"the log has {root.records} of {published.records} records")
            parts = [await self._put(hour, n, lines) for n, lines in enumerate(_parts(found))]
        made = Archived(root, hours[at - 1] if at else None, ends, parts)
        put = await self._store.put(_key(hour), made.spelled(), "application/json")
        self._hours = sorted({*self._hours, hour})
        return put

    async def _put(self, hour: datetime, n: int, lines: Sequence[tuple[Named, bytes]]) -> Part:
        data = b"".join(line + b"\n" for _, line in lines)
        topic, digest = lines[0][0].place[0], sha256(data).hexdigest()
        name = f"{hour_name(hour)}.{n:05}.{topic}"
        part = Part(name, topic, _places(name for name, _ in lines), len(data), digest)
        packed = await asyncio.to_thread(gzip.compress, data, mtime=0)
        if not await self._store.put(part.key, packed, "application/gzip"):
            await self._lines(hour, part)
        return part

    async def _lines(self, hour: datetime, part: Part) -> Sequence[bytes]:
        try:
            packed = await self._store.get(part.key)
            data, digest = await asyncio.to_thread(_unpacked, packed, part.size)
        except Missing:
            raise ArchiveDamaged(hour, f"{part.key} is gone") from None
        except zlib.error as wrong:
            raise ArchiveDamaged(hour, f"{part.key} cannot be read: {wrong}") from None
        if digest != part.sha256:
            raise ArchiveDamaged(hour, f"{part.key} is not what was put there")
        return data.removesuffix(b"\n").split(b"\n")


def _parts(hour: Hour) -> Iterator[Sequence[tuple[Named, bytes]]]:
    """The hour's records in order, cut where a topic ends or there are enough of them."""
    part, size = list[tuple[Named, bytes]](), 0
    for name, line in hour.records():
        if part and (name.place[0] != part[0][0].place[0] or size + len(line) > _PART_BYTES):
            yield part
            part, size = [], 0
        part.append((name, line))
        size += len(line)
    if part:
        yield part


def _places(names: Iterable[Named]) -> Sequence[Sequence[int]]:
    found = dict[int, list[int]]()
    for name in names:
        _, number, offset = name.place
        found.setdefault(number, [number, offset, offset])[2] = offset
    return list(found.values())


def _unpacked(packed: bytes, size: int) -> tuple[bytes, str]:
    """What was compressed, and its SHA-256; never much more than `size`, whatever lies there."""
    data = zlib.decompressobj(wbits=31).decompress(packed, size + 1)
    return data, sha256(data).hexdigest()


def _key(hour: datetime) -> str:
    return HOURS + hour_name(hour)


def open_archive(spine: Spine) -> Archive:
    """The archive in the store of `spine`."""
    return Archive(spine.store, spine.settings.retention.archive)
