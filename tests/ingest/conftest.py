"""A gateway on the embedded parts: no model, no stage; jobs are moved by writing their events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from ingest.__main__ import Doors
from ingest.app import build
from ingest.settings import IngestSettings
from relay.doorbell import Doorbell, open_doorbell
from relay.log.open import open_log
from relay.objects.open import open_store
from relay.objects.port import ObjectStore
from relay.settings import Settings
from relay.spine import Spine
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore, open_keys
from relay.sql.open import open_database
from relay.telemetry import Health
from relay.wechat import WeChatSettings
from voxrelay.doors import furnish

SOON = 20.0
"""Seconds that nothing here may take."""


@dataclass
class House:
    """A running gateway and the parts behind it."""

    app: FastAPI
    database: Database
    objects: ObjectStore
    keys: SqlKeyStore
    doorbell: Doorbell
    spine: Spine

    def client(self, address: str = "127.0.0.1", **options: Any) -> httpx.AsyncClient:
        """A client at `address`."""
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", **options)


def _master(data: Path) -> Path:
    """A file with a master key, the same for every gateway of one folder."""
    path = data / "test-master.key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text("5e" * 32)
    return path


@asynccontextmanager
async def house(
    data: Path,
    public_url: str | None = None,
    sql: str = "sqlite",
    wechat: WeChatSettings | None = None,
    more: Mapping[str, Any] | None = None,
    **ingest: Any,
) -> AsyncIterator[House]:
    """A gateway with its data in `data`; `ingest` are settings of the gateway, `more` others."""
    own = {"data": data, "public_url": public_url, "sql": sql, "master_key_file": _master(data)}
    settings = Settings(**own, **(more or {}))
    free = {"quota_per_minute": 0, "daily_seconds": 0, "concurrent": 0}
    chosen = {"anonymous": True, "probe_processes": 1, **free, **ingest}
    async with AsyncExitStack() as stack:
        database = await open_database(settings)
        stack.push_async_callback(database.close)
        keys = open_keys(settings, database)
        objects = open_store(settings)
        stack.push_async_callback(objects.close)
        log = open_log(settings)
        stack.push_async_callback(log.close)
        doorbell = await stack.enter_async_context(open_doorbell(settings, database))
        spine = Spine(settings, log, database, keys, objects, Health())
        app = build(spine, IngestSettings(**chosen), doorbell, wechat=wechat)
        furnish(app, spine)
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield House(app, database, objects, keys, doorbell, spine)


@asynccontextmanager
async def served(gateway: House, port: int = 0) -> AsyncIterator[str]:
    """The gateway on `port`, or one of its own: `127.0.0.1:port`."""
    doors = Doors(gateway.app, IngestSettings(port=port))
    running = asyncio.create_task(doors.run())
    async with httpx.AsyncClient() as client:
        async with asyncio.timeout(SOON):
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{doors.port}/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{doors.port}"
    finally:
        doors.stop()
        await running


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway with the settings of a local one."""
    async with house(tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One gateway for a whole module of requests that leave nothing behind."""
    async with house(tmp_path_factory.mktemp("shared")) as opened:
        yield opened
