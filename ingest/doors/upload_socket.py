"""`/v1/uploads/ws`: an upload over a WebSocket, which may begin while its sender still records.

Knows the words on the line: begin or resume, frames of bytes, end. Refuses to know rows, and who
waits: a line that says nothing for as long as a body may take is hung up.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket

from ingest.accounts.roles import Scope
from ingest.doors.line import Line
from ingest.gateway import Gate, Gateway
from ingest.person import Caller
from ingest.problems import Problem
from ingest.uploads import Upload

router = APIRouter(tags=["uploads"])


class _Said(BaseModel):
    """A text on the line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["begin", "resume", "end"]
    upload: UUID | None = None
    length: int | None = Field(default=None, ge=0, le=2**53)


@router.websocket("/v1/uploads/ws")
async def socket(websocket: WebSocket, gateway: Gate) -> None:
    """`{"type": "begin"}`, then bytes; each frame is answered once it is safe."""
    line = _UploadLine(websocket, gateway)
    await line.serve(line.talk)


class _UploadLine(Line):
    """One upload and the line it comes over."""

    def __init__(self, websocket: WebSocket, gateway: Gateway) -> None:
        super().__init__(websocket, gateway, Scope.SEND)
        self._uploads, self._patience = gateway.uploads, gateway.settings.body_seconds

    async def talk(self) -> None:
        """Take bytes until they are said to be all."""
        caller = await self.caller()
        upload = await self._begun(caller, _said(await self._next()))
        await self.say("upload", {"upload": str(upload.id), "offset": upload.offset})
        while isinstance(word := await self._next(), bytes):
            if word:
                upload = await self._uploads.append(caller.person, upload, word)
            await self.say("offset", {"offset": upload.offset})
        if _said(word).type != "end":
            raise Problem("request_invalid")
        if upload.length is None:
            upload = await self._uploads.declare(caller.person, upload.id, upload.offset)
        if not upload.whole:
            raise Problem("upload_incomplete", offset=upload.offset)
        await self.say("done", {"upload": str(upload.id), "bytes": upload.offset})
        await self._websocket.close()

    async def refuse(self, problem: Problem, **more: Any) -> None:
        """Say what is wrong, before the line is hung up."""
        said = {"code": problem.code, "message": problem.told(self.language)}
        await self.say("error", said | more)

    async def _next(self) -> str | bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await self.heard()
        except TimeoutError:
            raise Problem("body_too_slow") from None

    async def _begun(self, caller: Caller, said: _Said) -> Upload:
        if said.type == "begin":
            return await self._uploads.begin(caller.person, said.length)
        if said.type == "resume" and said.upload is not None:
            return await self._uploads.find(caller.person, said.upload)
        raise Problem("request_invalid")


def _said(word: str | bytes) -> _Said:
    if isinstance(word, bytes):
        raise Problem("request_invalid")
    try:
        return _Said.model_validate_json(word)
    except ValidationError:
        raise Problem("request_invalid") from None
