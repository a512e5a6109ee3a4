"""Receivers outside that were given up: their owners are told nothing any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import func, select

from relay.settings import Settings
from relay.sql.open import APP_FILE, connect
from relay.sql.schema import VERSION, webhooks
from relay.sql.setup import version_of
from voxrelay.doctor.finding import Finding, absent, doubtful, good

_PART = "webhooks"


async def look_at_hooks(settings: Settings) -> AsyncIterator[Finding]:
    """How many webhooks there are, and how many were disabled because nobody took the call."""
    if settings.sql == "sqlite" and not (settings.data / APP_FILE).exists():
        yield absent(_PART, "there are none")
        return
    database = connect(settings)
    try:
        if await version_of(database) != VERSION:  # there may be no such table yet
            yield absent(_PART, "not looked at: the tables are not those of this release")
            return
        async with database.reading() as tx:
            query = select(
                func.count(webhooks.c.id).label("total"),
                func.count(webhooks.c.disabled_at).label("disabled"),
            )
            row = (await tx.execute(query)).one()
        yield _told(row.total, row.disabled)
    finally:
        await database.close()


def _told(total: int, disabled: int) -> Finding:
    if not total:
        return absent(_PART, "there are none")
    if disabled:
        do = "Their owners see at /v1/webhooks why, and make them anew."
        return doubtful(_PART, f"{disabled} of {total} are disabled", do)
    return good(_PART, f"{total}, all called")
