"""The mini-program: its own tests, against a real gateway and a server that answers as WeChat does.

Behind the gateway stand stages that do as a text says. What a phone alone has is played by the
tests over there (`clients/miniprogram/tests/port.ts`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.servers.process import free_port
from infra.topics import apply
from ingest.accounts import access_keys
from ingest.accounts.access_keys import Wanted
from ingest.accounts.roles import Role
from relay.http import HttpWorker
from relay.wechat import WeChatSettings
from tests.accounts.weixin import APP, SECRET, Weixin, weixin
from tests.ingest.by_hand import Chain, jobs_of
from tests.ingest.conftest import House, house, served
from tests.servers import unavailable

PROJECT = Path(__file__).parents[2] / "clients/miniprogram"
OLDEST_NODE = 18
REJECTED, WAITS, RELEASE = "请拒绝。", "等我放行。", "放行。"


@pytest.fixture(scope="module")
def installed() -> Path:
    """The project with what it needs, installed as its lock says."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            unavailable(f"the mini-program's tests need {tool} (Debian: apt install nodejs npm)")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.strip().lstrip("v").split(".")[0]) < OLDEST_NODE:
        unavailable(f"the mini-program's tests need Node {OLDEST_NODE}, here is {version.stdout}")
    lock = hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()
    stamp = PROJECT / "node_modules/.installed"
    if not stamp.exists() or stamp.read_text() != lock:
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=PROJECT, capture_output=True, text=True
        )
        if done.returncode:
            unavailable(f"npm ci failed: {done.stderr[-1000:]}")
        stamp.write_text(lock)
    return PROJECT


class Everybody(dict[str, str]):
    """Codes of as many users as the tests there think of: `who-3` is one of `who`."""

    def __contains__(self, code: object) -> bool:
        return "-" in str(code)

    def __missing__(self, code: str) -> str:
        return code.rpartition("-")[0]


class Stages:
    """Moves every job that is accepted as its text says."""

    def __init__(self, gateway: House) -> None:
        self._gateway = gateway
        self._seen: set[str] = set()
        self._waiting: list[Chain] = []

    async def run(self) -> None:
        while True:
            for job in await jobs_of(self._gateway) - self._seen:
                self._seen.add(job)
                await self._move(await Chain.of(self._gateway, job))
            await asyncio.sleep(0.02)  # jobs come from another process: nothing of ours to await

    async def _move(self, chain: Chain) -> None:
        text = chain.prompt.text
        await chain.uploaded()
        if text == REJECTED:
            await chain.rejected()
        elif text == WAITS:
            self._waiting.append(chain)
        else:
            await self._speak(chain)
        if text == RELEASE:
            for waiting in self._waiting:
                await self._speak(waiting)
            self._waiting.clear()

    async def _speak(self, chain: Chain) -> None:
        await chain.approved()
        await chain.delivered()


def folder(at: Path) -> Path:
    """`at`, made."""
    at.mkdir()
    return at


@asynccontextmanager
async def moved(data: Path, server: Weixin, port: int = 0) -> AsyncIterator[tuple[str, str]]:
    """A gateway whose users sign in through WeChat, with a quota, and stages behind it.

    Its address, and the key of an operator.
    """
    wechat = WeChatSettings(app=APP, secret=SecretStr(SECRET), api=server.url)
    quota = {"quota_per_minute": 3, "quota_burst": 3, "sign_ins_per_minute": 10_000}
    async with (
        house(data, wechat=wechat, anonymous=False, **quota) as gateway,
        served(gateway, port) as address,
    ):
        await apply(gateway.spine.log, gateway.spine.settings)
        moving = asyncio.create_task(Stages(gateway).run())
        wanted = Wanted("operator", Role.OPERATOR)
        _, handed = await gateway.database.run(lambda tx: access_keys.create(tx, wanted))
        try:
            yield f"http://{address}", handed.spelled(access_keys.PREFIX)
        finally:
            moving.cancel()
            with suppress(asyncio.CancelledError):
                await moving


@asynccontextmanager
async def at_door(app: Starlette) -> AsyncIterator[str]:
    """`app` on a port of its own."""
    worker = HttpWorker(app, "127.0.0.1", 0)
    running = asyncio.create_task(worker.run())
    try:
        yield f"http://127.0.0.1:{worker.port}"
    finally:
        worker.stop()
        await running


@asynccontextmanager
async def relay(data: Path) -> AsyncIterator[Mapping[str, str]]:
    """Two gateways, as the tests over there are told of them: the second is switched off and on
    by whoever posts to `/off` and `/on`.
    """
    async with weixin() as server, AsyncExitStack() as second:
        server.codes = Everybody()
        port, second_data = free_port(), folder(data / "second")

        async def switch(request: Request) -> Response:
            if request.path_params["to"] == "on":
                await second.enter_async_context(moved(second_data, server, port))
            else:
                await second.aclose()
            return Response(status_code=204)

        await second.enter_async_context(moved(second_data, server, port))
        app = Starlette(routes=[Route("/{to}", switch, methods=["POST"])])
        async with (
            moved(folder(data / "first"), server) as (first, operator),
            at_door(app) as switched,
        ):
            yield {
                "VOXRELAY_TEST_RELAY": first,
                "VOXRELAY_TEST_OPERATOR": operator,
                "VOXRELAY_TEST_SWITCHED": f"http://127.0.0.1:{port}",
                "VOXRELAY_TEST_SWITCH": switched,
            }


@pytest.mark.timeout(600)
async def test_the_mini_program_with_a_real_relay(installed: Path, tmp_path: Path) -> None:
    async with relay(tmp_path) as told:
        running = await asyncio.create_subprocess_exec(
            *("npm", "test", "--silent"),
            cwd=installed,
            env={**os.environ, **told},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await running.communicate()
    assert running.returncode == 0, said.decode()[-6000:]
    for suite in ("relay/following.test", "pages/restart.test"):
        assert suite in said.decode()  # else it ran without the relay


def test_the_lock_names_no_address_of_a_registry() -> None:
    lock = (PROJECT / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock
    assert "registry" not in lock
