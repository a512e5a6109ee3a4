"""A job's events as they come: server-sent events, and a WebSocket for clients that have none.

Knows both forms of resuming after the last seq seen. Refuses to know where events come from.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from ingest.accounts.roles import Scope
from ingest.doors.documented import refusals
from ingest.gateway import Gate, Gateway, Reader
from ingest.jobs import Job, JobEvent
from ingest.person import Caller
from ingest.problems import Problem, language_of
from ingest.shown import EventShown, event_shown, queue_shown
from relay.errors import Unavailable
from schemas.states import State

router = APIRouter(tags=["events"])

MOST_JOBS = 64
"""Jobs that one WebSocket may follow at once."""
_TOKEN_WITHIN = 10.0
_POLICY_VIOLATION = 1008
_TRY_AGAIN = 1013


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "The job has ended and you have seen it all: stop reconnecting."},
        **refusals(401, 403, 404, 422),
    },
    summary="A job's events, live",
)
async def events(
    job_id: UUID,
    gateway: Gate,
    caller: Reader,
    last: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=2**31 - 1)] = None,
    after: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Server-sent events; ids are seqs, so any gateway resumes after `Last-Event-ID`."""
    job = await gateway.job(job_id, caller.person)
    seen = last if last is not None else after
    if seen is not None and job.ended and seen >= job.seq:
        return Response(status_code=204)
    return StreamingResponse(
        _stream(gateway, caller, job, seen),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _stream(
    gateway: Gateway, caller: Caller, job: Job, seen: int | None
) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    if seen is None:
        yield _sent(0, await _accepted(gateway, job))
    spoke, wait = time.monotonic(), _Wait(gateway, job.id)
    async with aclosing(gateway.follow(job.id, seen or 0)) as events:
        async for event in events:
            if event is not None:
                yield _sent(event.seq, await event_shown(gateway, event, caller))
                wait.saw(event)
            elif (moved := await wait.moved()) is not None:
                yield f"event: queue\ndata: {json.dumps(moved)}\n\n"
            elif time.monotonic() - spoke >= gateway.settings.heartbeat:
                yield ": still here\n\n"
            else:
                continue
            spoke = time.monotonic()


def _sent(seq: int, data: dict[str, Any]) -> str:
    return f"id: {seq}\nevent: state\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _accepted(gateway: Gateway, job: Job) -> dict[str, Any]:
    queue = await queue_shown(gateway, job.id, job.state)
    first = EventShown(job_id=job.id, seq=0, state=State.ACCEPTED, at=job.accepted_at, queue=queue)
    return first.model_dump(mode="json", exclude_none=True)


class _Wait:
    """Between two events of a job: where it stands in the queue, told when that has changed."""

    def __init__(self, gateway: Gateway, job: UUID) -> None:
        self._gateway, self._job = gateway, job
        self._place: int | None = None

    def saw(self, event: JobEvent) -> None:
        """The next thing to be told is where it stands now."""
        self._place = None

    async def moved(self) -> dict[str, Any] | None:
        """What to tell: its place, if it is another one than was told last."""
        queue = await queue_shown(self._gateway, self._job, State.ACCEPTED)
        if queue is None or queue.place == self._place:
            return None
        self._place = queue.place
        return {"job_id": str(self._job), "queue": queue.model_dump(mode="json")}


class _Asked(BaseModel):
    """What a client says over the socket: one of these at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subscribe: UUID | None = None
    after: int = Field(default=0, ge=0, le=2**31 - 1)
    unsubscribe: UUID | None = None
    ping: bool = False
    token: str | None = Field(default=None, max_length=2_000)
    """For clients that can put none into the head: the first thing they say."""


@router.websocket("/v1/ws")
async def socket(websocket: WebSocket, gateway: Gate) -> None:
    """`{"subscribe": job, "after": seq}` is answered with every event beyond `after`."""
    await websocket.accept()
    line = _Line(websocket, gateway)
    try:
        await line.serve()
    except Problem as problem:
        await line.refuse(problem)
        await websocket.close(_POLICY_VIOLATION)
    except Unavailable:
        await line.refuse(Problem("unavailable"))
        await websocket.close(_TRY_AGAIN)
    except WebSocketDisconnect:
        pass
    finally:
        await line.end()


class _Line:
    """One socket and the jobs it follows."""

    def __init__(self, websocket: WebSocket, gateway: Gateway) -> None:
        self._websocket = websocket
        self._gateway = gateway
        self._language = language_of(websocket.headers.get("accept-language"))
        self._following: dict[UUID, asyncio.Task[None]] = {}
        self._token: str | None = None

    async def serve(self) -> None:
        """Answer until the client goes."""
        await self._know()
        while True:
            text = await self._heard()
            try:
                asked = _Asked.model_validate_json(text)
                await self._do(asked)
            except ValidationError:
                await self.refuse(Problem("request_invalid"))
            except Problem as problem:
                await self.refuse(problem, asked.subscribe)

    async def _know(self) -> None:
        """Refuse who may not look, before anything else; the first text may bear their token."""
        try:
            await self._caller()
        except Problem as lacking:
            if lacking.code != "token_required":
                raise
            await self.refuse(lacking)
            with suppress(TimeoutError, ValidationError):
                async with asyncio.timeout(_TOKEN_WITHIN):
                    self._token = _Asked.model_validate_json(await self._heard()).token
            await self._caller()
            await self._say("welcome", {})

    async def _caller(self) -> Caller:
        """Who is at the other end: asked anew each time, for a session may have ended."""
        caller = await self._gateway.callers.caller(self._websocket, self._token)
        caller.needs(Scope.READ)
        return caller

    async def _heard(self) -> str:
        """The next text; a binary frame is no text of ours, and as wrong as any nonsense."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        return message.get("text") or ""

    async def refuse(self, problem: Problem, job: UUID | None = None) -> None:
        """Say what is wrong; the line stays."""
        document = problem.document(self._language)
        if job is not None:
            document["job_id"] = str(job)
        await self._say("problem", document)

    async def end(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._following.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, asked: _Asked) -> None:
        if asked.ping:
            await self._say("pong", {})
        if asked.unsubscribe is not None and (task := self._following.pop(asked.unsubscribe, None)):
            task.cancel()
        if asked.subscribe is not None:
            await self._subscribe(asked.subscribe, asked.after)

    async def _subscribe(self, job_id: UUID, after: int) -> None:
        caller = await self._caller()
        job = await self._gateway.job(job_id, caller.person)
        if job.ended and after >= job.seq:
            await self._say("ended", {"job_id": str(job_id), "seq": job.seq, "state": job.state})
            return
        self._following = {id_: task for id_, task in self._following.items() if not task.done()}
        if len(self._following) >= MOST_JOBS:
            raise Problem("subscriptions_exceeded", limit=MOST_JOBS)
        if (former := self._following.pop(job_id, None)) is not None:
            former.cancel()
        self._following[job_id] = asyncio.create_task(self._follow(job_id, after, caller))

    async def _follow(self, job: UUID, after: int, caller: Caller) -> None:
        # A client that has gone is noticed by `serve`; what cannot be sent to it is nobody's loss.
        with suppress(WebSocketDisconnect, RuntimeError):
            wait = _Wait(self._gateway, job)
            async with aclosing(self._gateway.follow(job, after)) as events:
                async for event in events:
                    if event is not None:
                        await self._say("state", await event_shown(self._gateway, event, caller))
                        wait.saw(event)
                    elif (moved := await wait.moved()) is not None:
                        await self._say("queue", moved)

    async def _say(self, kind: str, data: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps({"type": kind, **data}, ensure_ascii=False))
