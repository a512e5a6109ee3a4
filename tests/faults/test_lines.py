"""Each client, when its line goes dead: it says so in time, and goes on as soon as there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.servers.process import HOST
from relay.errors import Unavailable
from relay.objects import s3
from relay.objects.s3 import S3Store
from relay.sql import faults
from relay.sql.open import open_database
from tests.faults.world.line import Lines
from tests.servers import S3Address, unique
from tests.sql import settings_of

PERSON = "00000000-0000-4000-8000-00000000000a"
AT_ONCE = 4


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Lines of the test's own."""
    with Lines() as opened:
        yield opened


async def test_a_store_gone_silent_is_noticed_once_and_forgotten_with_its_line(
    s3_server: S3Address, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_SILENT_SECONDS", 2)
    line = lines.to(int(s3_server.endpoint.rpartition(":")[2]))
    address = s3.S3Address(
        unique("bucket"), f"http://{HOST}:{line.port}", s3_server.access_key, s3_server.secret_key
    )
    store = S3Store(address)
    try:
        await store.create_bucket()
        key = f"recording/{PERSON}/x"
        await store.put(key, b"sound", "audio/flac")
        await asyncio.gather(*(store.get(key) for _ in range(AT_ONCE)))  # each its own connection
        line.deafen()
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await store.get(key)
        assert time.monotonic() - begun < 5, "it was tried again and again"
        line.mend()
        assert await store.get(key) == b"sound"
    finally:
        await store.close()


async def test_a_database_gone_silent_is_noticed_once_and_forgotten_with_its_line(
    database: str, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "STATEMENT_SECONDS", 2)
    port = urlsplit(database).port
    assert port is not None
    line = lines.to(port)
    opened = await open_database(
        settings_of(tmp_path, database.replace(f":{port}/", f":{line.port}/"))
    )
    try:
        await asyncio.gather(*(opened.check() for _ in range(AT_ONCE)))
        line.deafen()
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await opened.check()
        assert time.monotonic() - begun < 15
        line.mend()
        await opened.check()
    finally:
        await opened.close()
