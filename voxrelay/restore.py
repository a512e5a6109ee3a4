"""`voxrelay topics restore`: offsets that Kafka has dropped, from the database.

Knows what is opened for it. Refuses to know offsets (`relay.log.kafka.restore`).
"""

from __future__ import annotations

from relay.errors import Misconfigured
from relay.settings import Settings
from relay.sql.marks import SqlMarks
from relay.sql.open import open_database


async def restore(settings: Settings) -> list[tuple[str, str, int, int]]:
    """Put back what is told as nothing, and say what; `Misconfigured` on the embedded log."""
    if settings.embedded:
        raise Misconfigured("VOXRELAY_LOG: the embedded log drops no offset; this is for Kafka")
    from relay.log.kafka.link import Link  # a client that the embedded relay never needs
    from relay.log.kafka.restore import restore as put_back
    from relay.log.kafka.timing import Timing

    database = await open_database(settings)
    link = Link.of(settings, Timing())
    try:
        return await put_back(link, await SqlMarks(database).all())
    finally:
        await link.close()
        await database.close()
