"""The shelf that belongs to the relay's database: tables in PostgreSQL, else a file.

Knows which. Refuses to know what lies there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from analytics.shelf.file import FILE, open_file
from analytics.shelf.port import Shelf
from analytics.shelf.tables import open_tables
from relay.settings import Settings
from relay.sql.database import Database


@asynccontextmanager
async def open_shelf(settings: Settings, database: Database) -> AsyncIterator[Shelf]:
    """An open shelf, empty where there was none or where others were counted there."""
    if database.dialect == "postgresql":
        yield await open_tables(database)
    else:
        with open_file(settings.data / FILE) as shelf:
            yield shelf
