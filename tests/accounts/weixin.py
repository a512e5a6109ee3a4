"""A server that answers as WeChat's documentation says `code2Session` does: real HTTP, no WeChat.

Numbers and words of its errors are WeChat's own; so is it that a failure comes with status 200 and
that JSON is called text/plain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.http import HttpWorker

APP = "wx0123456789abcdef"
SECRET = "the-appsecret-of-this-mini-program"
SESSION_KEY = "c2Vzc2lvbi1rZXktb2YtdGhlLXVzZXI="

_WORDS = {
    -1: "system error",
    40013: "invalid appid",
    40029: "invalid code",
    40125: "invalid appsecret",
    40163: "code been used",
    40226: "code blocked",
    45011: "api minute-quota reach limit, must slower, retry next minute",
}


@dataclass
class Weixin:
    """What the server knows: whose each code is, and how it is to misbehave."""

    codes: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    errcode: int | None = None
    """Every answer is this error."""
    raw: Response | None = None
    """Every answer is this."""
    url: str = ""

    async def code2session(self, request: Request) -> Response:
        asked = request.query_params
        if self.raw is not None:
            return self.raw
        if self.errcode is not None:
            return _error(self.errcode)
        if asked.get("appid") != APP:
            return _error(40013)
        if asked.get("secret") != SECRET:
            return _error(40125)
        code = asked.get("js_code", "")
        if code in self.used:
            return _error(40163)
        if code not in self.codes or asked.get("grant_type") != "authorization_code":
            return _error(40029)
        self.used.add(code)
        return _said({"session_key": SESSION_KEY, "openid": self.codes[code]})


def _error(code: int) -> Response:
    return _said({"errcode": code, "errmsg": f"{_WORDS.get(code, 'error')}, rid: 6f-1a-2b"})


def _said(value: dict[str, Any]) -> Response:
    return Response(json.dumps(value), media_type="text/plain")


@asynccontextmanager
async def weixin() -> AsyncIterator[Weixin]:
    """The server on a port of its own."""
    server = Weixin()
    app = Starlette(routes=[Route("/sns/jscode2session", server.code2session)])
    worker = HttpWorker(app, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{worker.port}"
    running = asyncio.create_task(worker.run())
    try:
        yield server
    finally:
        worker.stop()
        await running
