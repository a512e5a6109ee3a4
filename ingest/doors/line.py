"""One WebSocket, and who is at its other end.

Knows tokens in the head and as the first word, and how a refusal is said. Refuses to know what is
spoken about.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from ingest.accounts.roles import Scope
from ingest.gateway import Gateway
from ingest.person import Caller
from ingest.problems import Problem, language_of
from relay.errors import Unavailable

_TOKEN_WITHIN = 10.0
_POLICY_VIOLATION = 1008
_TRY_AGAIN = 1013


class _First(BaseModel):
    """The first word of a client that can put no token into the head."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    token: str | None = Field(default=None, max_length=2_000)


class Line:
    """A socket whose callers need `scope`."""

    def __init__(self, websocket: WebSocket, gateway: Gateway, scope: Scope) -> None:
        self._websocket, self._gateway, self._scope = websocket, gateway, scope
        self.language = language_of(websocket.headers.get("accept-language"))
        self._token: str | None = None

    async def serve(self, talk: Callable[[], Awaitable[None]]) -> None:
        """Take the call, know who it is, and talk until one of both has done."""
        try:
            await self._websocket.accept()
        except OSError:  # they went before they were let in
            return
        with suppress(WebSocketDisconnect):  # whoever is refused may have gone, too
            await self._talk(talk)

    async def caller(self) -> Caller:
        """Who is at the other end: asked anew each time, for a session may have ended."""
        caller = await self._gateway.callers.caller(self._websocket, self._token)
        caller.needs(self._scope)
        return caller

    async def heard(self) -> str | bytes:
        """The next word: text, or bytes."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        data: bytes | None = message.get("bytes")
        return message.get("text") or "" if data is None else data

    async def refuse(self, problem: Problem, **more: Any) -> None:
        """Say what is wrong."""
        await self.say("problem", {**problem.document(self.language), **more})

    async def say(self, kind: str, data: dict[str, Any]) -> None:
        """A word of ours."""
        await self._websocket.send_text(json.dumps({"type": kind, **data}, ensure_ascii=False))

    async def _talk(self, talk: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._know()
            await talk()
        except Problem as problem:
            await self.refuse(problem)
            await self._websocket.close(_POLICY_VIOLATION)
        except Unavailable:
            await self.refuse(Problem("unavailable"))
            await self._websocket.close(_TRY_AGAIN)

    async def _know(self) -> None:
        """Refuse who may not come in, before anything else; the first text may bear their token."""
        try:
            await self.caller()
        except Problem as lacking:
            if lacking.code != "token_required":
                raise
            await Line.refuse(self, lacking)
            with suppress(TimeoutError, ValidationError):
                async with asyncio.timeout(_TOKEN_WITHIN):
                    self._token = _First.model_validate_json(await self.heard()).token
            await self.caller()
            await self.say("welcome", {})
