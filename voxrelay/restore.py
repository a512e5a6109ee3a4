"""`voxrelay topics restore`: offsets that Kafka has dropped, from the database.

Knows what is opened for it, at an edge and elsewhere. Refuses to know offsets
(`relay.log.kafka.restore`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.topics import groups
from relay.bridge.settings import BridgeSettings
from relay.errors import Misconfigured
from relay.log.marks import NOWHERE, further
from relay.log.port import Committed
from relay.outbox import source_name
from relay.settings import Settings
from relay.sql import shards
from relay.sql.database import Database
from relay.sql.marks import SqlMarks
from relay.sql.open import open_database

if TYPE_CHECKING:  # a client that the embedded relay never needs
    from relay.log.kafka.link import Link
    from relay.log.kafka.restore import Marked, Row


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and what cannot be of this cluster."""

    put_back: Sequence[Row]
    strange: Sequence[Row]


async def restore(settings: Settings, *, forget: bool = False) -> Restored:
    """Put back what is told as nothing; `Misconfigured` on the embedded log.

    Where a mark is behind the end of its partition, log and database may be no pair, and nothing is
    done; `forget` says that they are one: nobody could go on from there.
    """
    from relay.log.kafka.restore import divided
    from relay.log.kafka.restore import restore as put_back

    async with _opened(settings) as (link, database):
        marks = SqlMarks(database)
        known = await marks.all()
        if not settings.embedded:
            known = {**known, **await _fed(database, known, settings.outbox)}
        ours, strange = await divided(link, known)
        if strange and not forget:
            return Restored([], strange)
        for row in strange:
            await marks.forget(row.group, [(row.topic, row.partition)])
        reads = {} if settings.edge else groups()  # an edge has sources there, and no group
        return Restored(await put_back(link, ours, reads), strange)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Link, Database]]:
    cluster = _cluster(settings)
    from relay.log.kafka.link import Link
    from relay.log.kafka.timing import Timing

    async with AsyncExitStack() as stack:
        database = await open_database(settings)
        stack.push_async_callback(database.close)
        link = Link.of(cluster, Timing())
        stack.push_async_callback(link.close)
        yield link, database


async def _fed(database: Database, marks: Marked, name: str) -> Marked:
    """How far the outbox called `name` has come, where its rows know of more than its marks do.

    A mark is a moment late, a row that was published is gone at once: put where the mark is, the
    outbox would lack what comes next, and refuse to go on.
    """
    from relay.log.kafka.setup import POSITION, position_group

    async with database.reading() as tx:
        gone = await shards.forgotten(tx)
    place = (POSITION.topic, POSITION.partition)
    told = {position_group(source_name(n, name)): Committed(at) for n, at in gone.items()}
    return {
        group: {place: mark}
        for group, mark in told.items()
        if further(mark, marks.get(group, {}).get(place, NOWHERE))
    }


def _cluster(settings: Settings) -> Settings:
    """Where the log of the marks is: an edge keeps those of what it carries to its cluster."""
    if not settings.embedded:
        return settings
    if settings.edge:
        return BridgeSettings()
    raise Misconfigured("VOXRELAY_LOG: the embedded log drops no offset; this is for Kafka")
