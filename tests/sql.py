"""A database of the test's own, on SQLite and on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, text

from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.open import open_database
from relay.sql.schema import VERSION, metadata, migrations
from tests.servers import PostgresAddress, fresh_database


def settings_of(data: Path, url: str = "sqlite") -> Settings:
    """Settings as a process would read them; `url` as SQLAlchemy or psycopg spells it."""
    key = data / "test-master.key"
    if not key.exists():
        key.write_text("17" * 32)
    sql = url.replace("postgresql+psycopg://", "postgresql://")
    return Settings(data=data, sql=sql, master_key_file=key)


@pytest.fixture(scope="session")
def tables(postgres_server: PostgresAddress) -> Iterator[str]:
    """One PostgreSQL database for the whole run; `sql` leaves its tables empty."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings that name a database with no rows: a test with it runs once on each kind."""
    if request.param == "sqlite":
        return settings_of(tmp_path)
    return settings_of(tmp_path, request.getfixturevalue("tables"))


@pytest.fixture
async def sql(sql_settings: Settings) -> AsyncIterator[Database]:
    """An open database with our tables in it: a test with it runs once on each kind."""
    opened = await open_database(sql_settings)
    yield opened
    if opened.dialect == "postgresql":
        async with opened.transaction() as tx:
            names = ", ".join(metadata.tables.keys() - {"migrations"})
            await tx.execute(text(f"TRUNCATE {names}"))
            await tx.execute(delete(migrations).where(migrations.c.version > VERSION))
    await opened.close()


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10) -> None:
    """Wait for what nothing announces, by looking again and again; `TimeoutError` in the end."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)
