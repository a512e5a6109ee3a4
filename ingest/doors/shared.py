"""`/s/{token}`: speech that its person shared, for whoever has the address, without an account.

Knows what of a job a stranger may have: its sound, and that it is synthetic. Refuses to show text,
recording and person.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from ingest.doors.documented import refusals
from ingest.doors.remarks import ReportBody
from ingest.gateway import Gate
from ingest.problems import Problem
from ingest.shown import AudioShown, audio_shown
from relay.pages import serve

router = APIRouter(prefix="/s/{token}", tags=["shared"])

Token = Annotated[str, Path(pattern=r"^[\w-]{32}$")]
_BUCKET = "reports"
_NO_INDEX = {"x-robots-tag": "noindex, nofollow"}


class SharedShown(BaseModel):
    """What a stranger may know."""

    audio: AudioShown
    synthetic: Literal[True] = True
    spoken_at: datetime


@router.get("", include_in_schema=False)
async def shared_page(token: Token, gateway: Gate) -> Response:
    """The page; without its sound where nothing is shared at this address."""
    page = serve("ingest.page", "shared.html")
    page.headers.update(_NO_INDEX)
    try:
        await gateway.pages.job(token)
    except Problem as problem:
        page.status_code = problem.status
    return page


@router.get("/speech", responses=refusals(404, 422), summary="Speech that somebody shared")
async def shared_speech(
    request: Request, response: Response, token: Token, gateway: Gate
) -> SharedShown:
    """An address of the sound, good for minutes."""
    job = await gateway.pages.job(token)
    audio = audio_shown(gateway, job, gateway.callers.client(request))
    if audio is None:
        raise Problem("page_unknown")
    response.headers.update(_NO_INDEX)
    return SharedShown(audio=audio, spoken_at=job.updated_at)


@router.post(
    "/report",
    status_code=202,
    responses=refusals(400, 404, 408, 410, 413, 422, 429),
    summary="Something is wrong with shared speech",
)
async def report_shared(
    request: Request, token: Token, body: ReportBody, gateway: Gate
) -> Response:
    """A person will look. No account is needed; each address has so many a minute."""
    job = await gateway.pages.job(token)
    per_minute = gateway.settings.reports_per_minute
    await gateway.let_in(request, _BUCKET, per_minute, "reports_too_often")
    await gateway.remarks.reported_by_a_stranger(job, body.reason, body.note)
    return Response(status_code=202)
