"""A server that answers as WeChat's documentation says: real HTTP, no WeChat.

Knows `code2Session`, `stable_token`, `getMessageTemplateList` and `subscribeMessage.send`.

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
from uuid import uuid4

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
    template: str = "the-template-of-this-mini-program"
    content: str = "内容:{{thing1.DATA}}"
    """What the template says, and in which fields."""
    token: str = "token-0"
    tokens_asked: int = 0
    allowed: dict[str, int] = field(default_factory=dict)
    """How many messages each user still allows."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    send_errcode: int | None = None

    def renew(self) -> None:
        """From now on another token is good, and only that."""
        self.token = f"token-{uuid4().hex}"

    async def stable_token(self, request: Request) -> Response:
        self.tokens_asked += 1
        asked = await request.json()
        if asked.get("grant_type") != "client_credential":
            return _error(40002)
        if asked.get("appid") != APP:
            return _error(40013)
        if asked.get("secret") != SECRET:
            return _error(40125)
        return _said({"access_token": self.token, "expires_in": 7_200})

    async def templates(self, request: Request) -> Response:
        if request.query_params.get("access_token") != self.token:
            return _error(40001)
        found = {"priTmplId": self.template, "title": "done", "content": self.content, "type": 2}
        return _said({"errcode": 0, "errmsg": "ok", "data": [found]})

    async def send(self, request: Request) -> Response:
        if self.send_errcode is not None:
            return _error(self.send_errcode)
        if request.query_params.get("access_token") != self.token:
            return _error(40001)
        message = await request.json()
        if message.get("template_id") != self.template:
            return _error(40037)
        for name, held in message.get("data", {}).items():
            most = 20 if name.startswith("thing") else 5 if name.startswith("phrase") else 32
            if not 0 < len(held.get("value", "")) <= most:
                return _error(47003)
        if not self.allowed.get(message.get("touser"), 0):
            return _error(43101)
        self.allowed[message["touser"]] -= 1
        self.messages.append(message)
        return _said({"errcode": 0, "errmsg": "ok"})

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
    routes = [
        Route("/sns/jscode2session", server.code2session),
        Route("/cgi-bin/stable_token", server.stable_token, methods=["POST"]),
        Route("/wxaapi/newtmpl/gettemplate", server.templates),
        Route("/cgi-bin/message/subscribe/send", server.send, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    worker = HttpWorker(app, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{worker.port}"
    running = asyncio.create_task(worker.run())
    try:
        yield server
    finally:
        worker.stop()
        await running
