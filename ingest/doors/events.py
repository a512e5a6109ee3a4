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
from ingest.doors.line import Line
from ingest.gateway import Gate, Gateway, Reader
from ingest.jobs import Job, JobEvent
from ingest.person import Caller
from ingest.problems import Problem
from ingest.shown import EventShown, event_shown, queue_shown
from schemas.states import State

router = APIRouter(tags=["events"])

MOST_JOBS = 64
"""Jobs that one WebSocket may follow at once."""


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
    spoke, wait = time.monotonic(), _Wait(gateway, job)
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

    def __init__(self, gateway: Gateway, job: Job) -> None:
        self._gateway, self._job, self._state = gateway, job.id, job.state
        self._place: int | None = None

    def saw(self, event: JobEvent) -> None:
        """The next thing to be told is where it stands now."""
        self._place, self._state = None, event.state

    async def moved(self) -> dict[str, Any] | None:
        """What to tell: its place, if it is another one than was told last."""
        queue = await queue_shown(self._gateway, self._job, self._state)
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
    line = _Events(websocket, gateway)
    try:
        await line.serve(line.talk)
    finally:
        await line.end()


class _Events(Line):
    """One socket and the jobs it follows."""

    def __init__(self, websocket: WebSocket, gateway: Gateway) -> None:
        super().__init__(websocket, gateway, Scope.READ)
        self._following: dict[UUID, asyncio.Task[None]] = {}

    async def talk(self) -> None:
        """Answer until the client goes; what is wrong is said, and the line stays."""
        while True:
            word = await self.heard()
            try:
                asked = _Asked.model_validate_json(word)
                await self._do(asked)
            except ValidationError:
                await self.refuse(Problem("request_invalid"))
            except Problem as problem:
                job = {} if asked.subscribe is None else {"job_id": str(asked.subscribe)}
                await self.refuse(problem, **job)

    async def end(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._following.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, asked: _Asked) -> None:
        if asked.ping:
            await self.say("pong", {})
        if asked.unsubscribe is not None and (task := self._following.pop(asked.unsubscribe, None)):
            task.cancel()
        if asked.subscribe is not None:
            await self._subscribe(asked.subscribe, asked.after)

    async def _subscribe(self, job_id: UUID, after: int) -> None:
        caller = await self.caller()
        job = await self._gateway.job(job_id, caller.person)
        if job.ended and after >= job.seq:
            await self.say("ended", {"job_id": str(job_id), "seq": job.seq, "state": job.state})
            return
        self._following = {id_: task for id_, task in self._following.items() if not task.done()}
        if len(self._following) >= MOST_JOBS:
            raise Problem("subscriptions_exceeded", limit=MOST_JOBS)
        if (former := self._following.pop(job_id, None)) is not None:
            former.cancel()
        self._following[job_id] = asyncio.create_task(self._follow(job, after, caller))

    async def _follow(self, job: Job, after: int, caller: Caller) -> None:
        # A client that has gone is noticed by `serve`; what cannot be sent to it is nobody's loss.
        with suppress(WebSocketDisconnect, RuntimeError):
            wait = _Wait(self._gateway, job)
            async with aclosing(self._gateway.follow(job.id, after)) as events:
                async for event in events:
                    if event is not None:
                        await self.say("state", await event_shown(self._gateway, event, caller))
                        wait.saw(event)
                    elif (moved := await wait.moved()) is not None:
                        await self.say("queue", moved)
