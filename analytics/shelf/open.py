"""The shelf that belongs to the relay's database: tables in PostgreSQL, else a file.

Knows which. Refuses to know what lies there.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from analytics.shelf.file import FILE, open_file
from analytics.shelf.port import Shelf
from analytics.shelf.tables import open_tables
from relay.settings import Settings
from relay.sql.database import Database

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_shelf(settings: Settings, database: Database) -> AsyncIterator[Shelf]:
    """An open shelf, empty where there was none or where others were counted there."""
    if database.dialect == "postgresql":
        if (left := settings.data / FILE).exists():
            log.warning(
                "%s is no longer counted in, the figures are in PostgreSQL: delete it", left
            )
        yield await open_tables(database)
    else:
        with open_file(settings.data / FILE) as shelf:
            yield shelf
