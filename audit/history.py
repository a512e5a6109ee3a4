"""The log as an auditor reads it: what the topics have dropped comes from the archive, as one log.

Knows where each partition of the topics begins: what lies before that is read from the archive, the
rest from the topics, so no record comes twice. Everything but reading is the topics' own. Holds one
part of an hour at a time. Refuses to know how an hour is archived (`audit.archive` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta

from audit.archive import Archive, open_archive
from audit.archived import Archived, Spans
from audit.lines import HOUR, hour_of
from audit.roots import COVERED
from audit.settings import AuditSettings
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Consumer, Log, Member, Place, Record, Source
from relay.spine import Spine
from schemas.envelope import format_time

_COVERED = frozenset(COVERED)


class History:
    """A `Log`."""

    def __init__(self, log: Log, archive: Archive) -> None:
        self._log, self._archive = log, archive

    async def read(
        self,
        topics: Sequence[str],
        since: datetime | None = None,
        follow: bool = False,
        *,
        until: datetime | None = None,
        key: str | None = None,
        start: Mapping[Place, int] | None = None,
        numbers: Collection[int] | None = None,
    ) -> AsyncIterator[Record]:
        """As `Log.read`; `ArchiveDamaged` where an hour that is needed is gone, or altered."""
        named = frozenset(start or ())
        begun = dict(start or {})
        while dropped := await self._dropped(topics, key, numbers, begun):  # more may be, by then
            async for record in self._archived(dropped, since, until, named):
                if key is None or record.key == key:
                    yield record
            begun |= {place: end for place, (_, end) in dropped.items()}
        heard: dict[Place, int] = {}
        rest = {place: begun[place] for place in named}
        kept = self._log.read(
            topics, since, follow, until=until, key=key, start=rest, numbers=numbers
        )
        async for record in kept:
            heard.setdefault((record.topic, record.partition), record.offset)
            yield record
        if key is None:
            await self._refuse_late(topics, numbers, begun, heard)

    async def _refuse_late(
        self,
        topics: Sequence[str],
        numbers: Collection[int] | None,
        begun: Mapping[Place, int],
        heard: Mapping[Place, int],
    ) -> None:
        """A long reading may come to a partition after its first records were dropped."""
        for place, (_, first) in (await self._dropped(topics, None, numbers, begun)).items():
            if heard.get(place) == first:
                raise Unavailable(f"{place[0]} dropped records while it was read: read it again")

    async def _dropped(
        self,
        topics: Sequence[str],
        key: str | None,
        numbers: Collection[int] | None,
        begun: Mapping[Place, int],
    ) -> Spans:
        """What the topics no longer have, from where each partition has `begun`."""
        covered = [topic for topic in topics if topic in _COVERED]
        starts = await self._log.starts(covered) if covered else {}
        if key is not None:
            counts = Counter(topic for topic, _ in starts)
            wanted = {topic: self._log.partition_of(key, n) for topic, n in counts.items()}
            starts = {place: at for place, at in starts.items() if wanted[place[0]] == place[1]}
        return {
            place: (begun.get(place, 0), first)
            for place, first in starts.items()
            if first > begun.get(place, 0) and (numbers is None or place[1] in numbers)
        }

    async def _archived(
        self,
        wanted: Spans,
        since: datetime | None,
        until: datetime | None,
        named: Set[Place],
    ) -> AsyncIterator[Record]:
        """What the archive has of it. `since` says nothing of the places that are `named`."""
        low = hour_of(since) if since and not named & wanted.keys() else None
        begun, over = set(named), set[Place]()
        last: Archived | None = None
        async for hour in self._archive.between(low, until):
            last = hour
            if low is None or hour.hour >= low:
                async for record in self._archive.records(hour, wanted):
                    place = (record.topic, record.partition)
                    if since is None or record.appended >= since:
                        begun.add(place)
                    if until is not None and record.appended >= until:
                        over.add(place)
                    if place in begun and place not in over:
                        yield record
            if all(hour.ends.get(place, 0) >= end for place, (_, end) in wanted.items()):
                return
        hours = await self._archive.hours()
        if last and last.hour == hours[-1] and (until is None or last.hour + HOUR < until):
            raise Misconfigured(
                f"the topics have dropped records after the hour {format_time(last.hour)}, the last"
                " that was archived: `voxrelay audit archive add` archives what is left;"
                " VOXRELAY_AUDIT_ARCHIVE=false reads that alone"
            )

    # -- as the topics have it ----------------------------------------------------------------

    async def join(self, group: str, topics: Sequence[str], member: Member) -> Consumer:
        return await self._log.join(group, topics, member)

    def source(self, name: str) -> AbstractAsyncContextManager[Source]:
        return self._log.source(name)

    async def starts(self, topics: Sequence[str]) -> Mapping[Place, int]:
        return await self._log.starts(topics)

    async def ends(
        self, topics: Sequence[str], until: datetime | None = None
    ) -> Mapping[Place, int]:
        return await self._log.ends(topics, until)

    def partition_of(self, key: str, partitions: int) -> int:
        return self._log.partition_of(key, partitions)

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        return await self._log.lag(group, topics)

    async def apply(
        self,
        partitions: Mapping[str, int],
        groups: Mapping[str, Sequence[str]],
        sources: Sequence[str],
    ) -> None:
        await self._log.apply(partitions, groups, sources)

    async def trim(self, kept: Mapping[str, timedelta]) -> int:
        return await self._log.trim(kept)

    async def check(self) -> None:
        await self._log.check()

    async def close(self) -> None:
        await self._log.close()


def with_archive(spine: Spine, settings: AuditSettings) -> Spine:
    """`spine` with a log that reads what was archived, too, where the settings say that it is."""
    if not settings.archive:
        return spine
    return replace(spine, log=History(spine.log, open_archive(spine)))
