"""`POST /tts`: one request, one answer with the audio's address; the contract of the first client.

Knows that a mini-program gives up after 60 seconds, so this answers before. Refuses to know
anything that `/v1/jobs` does not do for it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from ingest.accept import Entry
from ingest.bodies import idempotency_key, traceparent, tts_wish
from ingest.doors.documented import tts_refusals
from ingest.forms import TtsJson
from ingest.gateway import Gate, Gateway, Sender
from ingest.jobs import Job
from ingest.person import Caller
from ingest.problems import Problem, language_of
from ingest.sentence import Language
from ingest.shown import shown
from relay.errors import Unavailable
from schemas.states import TERMINAL, State

router = APIRouter(tags=["tts"])
SCHEMAS = (TtsJson,)

_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TtsJson"}}},
}
_ANSWERED_AT = TERMINAL | {State.HELD}


class TtsDone(BaseModel):
    """The speech is ready."""

    success: Literal[True]
    audio_url: str
    task_id: UUID
    duration: float


@router.post(
    "/tts",
    responses=tts_refusals(202, 400, 401, 403, 408, 410, 413, 429, 500, 503, 504),
    openapi_extra={"requestBody": _BODY},
    summary="Send, wait, and get the audio's address",
    response_model=TtsDone,
)
async def tts(request: Request, gateway: Gate, caller: Sender) -> Response:
    """Waits up to 50 s; a job that takes longer goes on and is found by its `task_id`."""
    wish = await tts_wish(request, gateway.limits(gateway.settings.tts_text_limit))
    entry = Entry("tts", caller, idempotency_key(request), traceparent(request))
    accepted = await gateway.acceptor.accept(wish, entry)
    answer = await _told(request, gateway, caller, accepted.job.id)
    answer.headers.update(accepted.rates)
    return answer


async def _told(request: Request, gateway: Gateway, caller: Caller, job_id: UUID) -> Response:
    """The answer, once the job has one, or the time is over."""
    language = language_of(request.headers.get("accept-language"))
    try:
        job = await _settled(gateway, caller, job_id)
    except Unavailable:  # it is accepted: whoever asks again must be able to find it
        return _refused(Problem("waited_too_long"), language, job_id)
    return await _answer(gateway, caller, job, language)


async def _settled(gateway: Gateway, caller: Caller, job_id: UUID) -> Job:
    """The job as it stands once somebody waiting should be told, or the time is over."""
    try:
        async with asyncio.timeout(gateway.settings.tts_wait):
            async with aclosing(gateway.follow(job_id, 0)) as events:
                async for event in events:
                    if event is None or event.state not in _ANSWERED_AT:
                        continue
                    job = await gateway.job(job_id, caller.person)
                    if job.state in _ANSWERED_AT:  # else it was held, and goes on since
                        return job
    except TimeoutError:
        pass
    return await gateway.job(job_id, caller.person)


async def _answer(gateway: Gateway, caller: Caller, job: Job, language: Language) -> Response:
    done = await shown(gateway, job, caller.client)
    if done.audio is not None:
        body: dict[str, Any] = {
            "success": True,
            "audio_url": done.audio.url,
            "task_id": str(job.id),
            "duration": round(done.audio.seconds, 3),
        }
        return JSONResponse(body)
    if job.state is State.REJECTED:
        reasons = " ".join(dict.fromkeys(reason.message for reason in done.reasons))
        return _said(400, reasons or Problem("request_invalid").told(language), job.id)
    if job.state is State.FAILED:
        return _said(500, job.detail.message or Problem("internal_error").told(language), job.id)
    if job.state is State.HELD:
        return _refused(Problem("held_for_review"), language, job.id)
    return _refused(Problem("waited_too_long"), language, job.id)


def _refused(problem: Problem, language: Language, job_id: UUID) -> Response:
    return _said(problem.status, problem.told(language), job_id)


def _said(status: int, sentence: str, job_id: UUID) -> Response:
    return JSONResponse({"error": sentence, "task_id": str(job_id)}, status)
