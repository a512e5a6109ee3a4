"""The sound of a job, at an address signed for minutes, whole or in ranges.

Knows files as players ask for them. Refuses to know who may have an address: it was minted after
an ownership check, and whoever holds it may fetch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from ingest.doors.documented import refusals
from ingest.gateway import Gate, Gateway
from ingest.jobs import Job, find_any
from ingest.problems import Problem
from ingest.ranges import span_of
from ingest.shown import filename
from relay.errors import Missing
from relay.objects.port import ObjectStore, Stat
from schemas.events import AudioFormat

router = APIRouter(tags=["sound"])

_CHUNK = 256 * 1024
_TYPES = {
    AudioFormat.MP3: "audio/mpeg",
    AudioFormat.WAV: "audio/wav",
    AudioFormat.M4A: "audio/mp4",
}


class Thing(StrEnum):
    """What of a job can be heard."""

    AUDIO = "audio"
    RECORDING = "recording"


@router.head("/v1/jobs/{job_id}/{thing}", include_in_schema=False)
@router.get(
    "/v1/jobs/{job_id}/{thing}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The range asked for"},
        304: {"description": "You have it"},
        **refusals(403, 404, 409, 410, 416, 422),
    },
    summary="The delivered audio, or the recording, at a signed address",
)
async def sound(
    request: Request,
    job_id: UUID,
    thing: Thing,
    gateway: Gate,
    expires: Annotated[str, Query()] = "",
    signature: Annotated[str, Query()] = "",
) -> Response:
    """Addresses are in the job's answer; each is good for some minutes. Ranges are served."""
    gateway.links.check(job_id, thing, expires, signature, gateway.database.now())
    job = await _job(gateway, job_id)
    return await serve(request, gateway, _key(job, thing), _type(job, thing), filename(job, thing))


async def serve(
    request: Request, gateway: Gateway, key: str, media_type: str, name: str
) -> Response:
    """The object under `key` as a file called `name`, or the part of it that is asked for."""
    stat = await _stat(gateway.objects, key)
    etag = f'"{stat.sha256}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "cache-control": "private, max-age=900",
        "content-disposition": f'inline; filename="{name}"',
        "x-content-type-options": "nosniff",
        "access-control-allow-origin": "*",
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if request.headers.get("if-range", etag) != etag:
        asked = None
    return _served(gateway.objects, stat, media_type, asked, headers, request.method)


def _served(
    objects: ObjectStore,
    stat: Stat,
    media_type: str,
    asked: str | None,
    headers: dict[str, str],
    method: str,
) -> Response:
    span = span_of(asked, stat.size)
    start, end = span or (0, stat.size)
    headers["content-length"] = str(end - start)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{stat.size}"
    status = 200 if span is None else 206
    if method == "HEAD":
        return Response(None, status, headers, media_type)
    return StreamingResponse(_chunks(objects, stat.key, start, end), status, headers, media_type)


async def _chunks(objects: ObjectStore, key: str, start: int, end: int) -> AsyncIterator[bytes]:
    for at in range(start, end, _CHUNK):
        yield await objects.read(key, at, min(at + _CHUNK, end))


async def _job(gateway: Gateway, job_id: UUID) -> Job:
    async with gateway.database.reading() as tx:
        job = await find_any(tx, job_id)
    if job is None:
        raise Problem("job_unknown")
    return job


def _key(job: Job, thing: Thing) -> str:
    found = job.detail.audio if thing is Thing.AUDIO else job.detail.recording
    if found is None:
        raise Problem("audio_not_ready")
    return found.key


async def _stat(objects: ObjectStore, key: str) -> Stat:
    try:
        return await objects.stat(key)
    except Missing:
        raise Problem("audio_gone") from None


def _type(job: Job, thing: Thing) -> str:
    if thing is Thing.RECORDING:
        return "audio/flac"
    return _TYPES[job.format or AudioFormat.MP3]
