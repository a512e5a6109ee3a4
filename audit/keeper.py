"""Roots of the hours as they close: published on the log, and shown to a witness.

Knows which hours have closed and that each is published once: a due row for each, whose event goes
out in the transaction that marks it done. The witness is a third party, with rows of its own: while
it does not answer, nothing else waits. What was published is archived, an hour after the other, by
one row of its own. Refuses to know how an hour is hashed (`audit.roots` does) and archived
(`audit.archive` does).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from audit.archive import Archive, NotAsPublished, open_archive
from audit.erasure import ERASE, Eraser, recall
from audit.lines import HOUR, hour_of
from audit.roots import GRACE, Root, closed_hours, published, read_hour
from audit.settings import AuditSettings, key_file
from audit.signing import ROOT, Signer, load_signer
from audit.witness import Witness, open_witness
from relay.errors import Unavailable
from relay.log.port import Log
from relay.process import Worker
from relay.retry import until_available
from relay.spine import Spine
from relay.sql.database import Database, Transaction
from relay.sql.dues import Due, schedule
from relay.timer import Again, Done, Handler, Timer, pause
from schemas.envelope import Head, format_time, parse_time
from schemas.events import AuditRootPublished
from schemas.topics import RETENTION_DAYS

log = logging.getLogger(__name__)

LOOK, PUBLISH, SHOW, KEEP = "audit-hours", "audit-root", "audit-witness", "audit-archive"
EVERY = timedelta(minutes=5)
_MOST_HOURS = 24
"""That are archived before it is written down how far that came."""

_HOURS = UUID("6a1d8a0c-51c8-5b86-9f0c-0f5b0a6a2f11")
_NOBODY = UUID(int=0)
"""An hour is no person's."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """The `Timer`'s handlers of its kinds."""

    log: Log
    database: Database
    site: str
    signer: Signer
    witness: Witness | None = None
    archive: Archive | None = None
    held: timedelta = timedelta(days=RETENTION_DAYS)
    """For how long every topic holds what it has: an hour older than that is not whole."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By kind."""
        found: dict[str, Handler] = {LOOK: self.look, PUBLISH: self.publish, SHOW: self.show}
        return found if self.archive is None else {**found, KEEP: self.keep}

    @property
    def regularly(self) -> Mapping[str, timedelta]:
        """How often there is something to do, of the kinds of which there is one row."""
        return {kind: EVERY for kind in (LOOK, KEEP) if kind in self.handlers}

    async def look(self, row: Due) -> Again:
        """Add rows for the hours that have closed since the last time, the first time for one.

        How far it came stands in its own row; a row that is added again is the same one.
        """
        now = self.database.now()
        next_ = row.payload.get("next")
        hour = parse_time(next_) if next_ else hour_of(now) - HOUR
        closed = closed_hours(hour, None, now)
        await self.database.run(lambda tx: self._schedule(tx, closed))
        hour += len(closed) * HOUR
        return Again(now + EVERY, {"next": format_time(hour)})

    async def publish(self, row: Due) -> Done:
        """The event that says the hour's root."""
        root, signature = await self._signed(row)
        event = AuditRootPublished(
            hour=root.hour,
            records=root.records,
            root=root.root,
            statement=root.statement,
            key=self.signer.public,
            signature=signature,
        )
        return Done((event,))

    async def show(self, row: Due) -> Done | Again:
        """Leave the signed root with the witness; again, later, while that does not work."""
        if self.witness is None:
            return Done()
        root, signature = await self._signed(row)
        try:
            await self.witness.leave(root, self.signer.public, signature)
        except Unavailable:
            return Again(self.database.now() + pause(row.tries))
        return Done()

    async def keep(self, row: Due) -> Again:
        """Archive what was published, from the first hour that is held, up to one that was not.

        How far it came stands in its own row; an hour that is archived again stays as it is.
        """
        next_ = parse_time(row.payload["next"]) if "next" in row.payload else None
        said = await published(self.log, self.site, next_)
        now = self.database.now()
        hour = next_ or min((each for each in said if each > now - self.held), default=None)
        for _ in range(_MOST_HOURS):
            if hour is None or (root := said.get(hour)) is None:
                break
            await self._keep(root)
            hour += HOUR
        more = hour in said
        return Again(now if more else now + EVERY, {"next": format_time(hour)} if hour else None)

    async def _keep(self, root: Root) -> None:
        assert self.archive is not None
        try:
            await self.archive.add(self.log, root)
        except NotAsPublished as why:
            log.error("the hour %s is not archived: %s", format_time(root.hour), why)

    async def _signed(self, row: Due) -> tuple[Root, str]:
        async with read_hour(self.log, parse_time(row.payload["hour"])) as hour:
            root = await asyncio.to_thread(hour.root, self.site)
        return root, self.signer.sign(ROOT, root.statement.encode())

    async def _schedule(self, tx: Transaction, hours: Sequence[datetime]) -> None:
        for hour in hours:
            for kind in (PUBLISH, SHOW):
                await schedule(tx, self._row(hour, kind))

    def _row(self, hour: datetime, kind: str) -> Due:
        name = format_time(hour)
        id_ = uuid5(_HOURS, f"{self.site} {name} {kind}")
        head = Head(id_, "", self.site, hour + HOUR, _NOBODY, name)
        return Due(id_, kind, hour + HOUR + GRACE, head, {"hour": name})


def open_keeper(
    settings: AuditSettings,
) -> Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]:
    """Opens the keeper over a spine, as a worker."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        signer = load_signer(key_file(settings, spine.settings), make=settings.key_file is None)
        site, database = spine.settings.site, spine.database
        archive = open_archive(spine) if settings.archive else None
        witness, held = open_witness(settings), min(spine.settings.retention.topics.values())
        keeper = Keeper(spine.log, database, site, signer, witness, archive, held)
        eraser: Handler = Eraser(database, spine.store, site, signer)
        await until_available(
            lambda: recall(spine.log, database, spine.keys, site), "database", spine.health
        )
        handlers = {**keeper.handlers, ERASE: eraser}
        yield [Timer(database, spine.keys, handlers, spine.health, regularly=keeper.regularly)]

    return opened
