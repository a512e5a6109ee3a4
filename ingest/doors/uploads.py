"""`/v1/uploads`: a recording in parts, by tus 1.0.0, for whoever may lose the line in between.

Knows the protocol: core, creation (also with its length deferred), expiration, termination. What
came of a body that breaks off is kept. Refuses to know rows, and `Upload-Metadata`, which names
files.
Source: https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import format_datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.requests import ClientDisconnect

from ingest.doors.documented import refusals
from ingest.doors.override import ByPost
from ingest.gateway import Gate, Sender
from ingest.problems import TUS_VERSION, Problem
from ingest.uploads import PIECE, Upload


def _tus(
    request: Request, version: Annotated[str | None, Header(alias="Tus-Resumable")] = None
) -> None:
    """Who names a version has to name ours; a client that has never heard of tus names none."""
    if version not in (None, TUS_VERSION) and request.method != "OPTIONS":
        raise Problem("tus_version_unknown")


router = APIRouter(prefix="/v1/uploads", tags=["uploads"], dependencies=[Depends(_tus)])

_EXTENSIONS = "creation,creation-defer-length,expiration,termination"
_OCTETS = "application/offset+octet-stream"
_MOST = 2**53

Length = Annotated[int | None, Header(alias="Upload-Length", ge=0, le=_MOST)]
_BODY = {
    "required": True,
    "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
}


@router.options("", status_code=204, summary="What of tus is spoken here")
async def upload_options(gateway: Gate) -> Response:
    """Version, extensions, and the largest upload."""
    headers = {
        "tus-resumable": TUS_VERSION,
        "tus-version": TUS_VERSION,
        "tus-extension": _EXTENSIONS,
        "tus-max-size": str(gateway.uploads.limits.each),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses=refusals(400, 401, 403, 410, 412, 413, 422, 429),
    summary="Begin an upload",
)
async def begin_upload(
    gateway: Gate,
    caller: Sender,
    length: Length = None,
    deferred: Annotated[Literal["1"] | None, Header(alias="Upload-Defer-Length")] = None,
) -> Response:
    """`Location` is where its bytes go; an upload lives for a day."""
    if (length is None) == (deferred is None):
        raise Problem("upload_length_missing")
    upload = await gateway.uploads.begin(caller.person, length)
    headers = {**_told(upload), "location": f"/v1/uploads/{upload.id}"}
    return Response(status_code=201, headers=headers)


@router.head(
    "/{upload_id}",
    response_class=Response,
    responses=refusals(401, 403, 404, 410, 412),
    summary="How far it has come",
)
async def upload_offset(upload_id: UUID, gateway: Gate, caller: Sender) -> Response:
    """`Upload-Offset` is where to go on."""
    upload = await gateway.uploads.find(caller.person, upload_id)
    length = upload.length
    said = {"upload-defer-length": "1"} if length is None else {"upload-length": str(length)}
    return Response(headers={**_told(upload), **said, "cache-control": "no-store"})


@router.patch(
    "/{upload_id}",
    status_code=204,
    responses=refusals(400, 401, 403, 404, 408, 409, 410, 412, 413, 415, 422),
    openapi_extra={"requestBody": _BODY},
    summary="Send the bytes that follow",
)
async def append_to_upload(
    request: Request,
    upload_id: UUID,
    gateway: Gate,
    caller: Sender,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, le=_MOST)],
    length: Length = None,
) -> Response:
    """They go to the end of what there is, which `Upload-Offset` has to name."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _OCTETS:
        raise Problem("upload_media_type_unsupported")
    upload = await gateway.uploads.find(caller.person, upload_id)
    if offset != upload.offset:
        raise Problem("offset_mismatch", offset=upload.offset)
    if length is not None:
        upload = await gateway.uploads.declare(caller.person, upload_id, length)
    async for piece in _pieces(request):
        upload = await gateway.uploads.append(caller.person, upload, piece)
    return Response(status_code=204, headers=_told(upload))


@router.post(
    "/{upload_id}",
    status_code=204,
    responses=refusals(400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 422),
    openapi_extra={"requestBody": _BODY},
    summary="The same, for clients that have no PATCH",
)
async def append_by_post(
    request: Request,
    upload_id: UUID,
    gateway: Gate,
    caller: Sender,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, le=_MOST)],
    _: ByPost,
    length: Length = None,
) -> Response:
    """With `X-HTTP-Method-Override: PATCH`."""
    return await append_to_upload(request, upload_id, gateway, caller, offset, length)


@router.delete(
    "/{upload_id}",
    status_code=204,
    responses=refusals(401, 403, 404, 410, 412),
    summary="Remove an upload",
)
async def remove_upload(upload_id: UUID, gateway: Gate, caller: Sender) -> Response:
    """Its bytes are gone; jobs that were accepted with it have a recording of their own."""
    await gateway.uploads.end(caller.person, upload_id)
    return Response(status_code=204, headers={"tus-resumable": TUS_VERSION})


def _told(upload: Upload) -> dict[str, str]:
    return {
        "tus-resumable": TUS_VERSION,
        "upload-offset": str(upload.offset),
        "upload-expires": format_datetime(upload.expires_at, usegmt=True),
    }


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body, piece by piece; of one that breaks off all that came, and then why."""
    held, broken = bytearray(), None
    try:
        async for chunk in request.stream():
            held += chunk
            while len(held) >= PIECE:
                yield bytes(held[:PIECE])
                del held[:PIECE]
    except (ClientDisconnect, Problem) as why:
        broken = why
    if held:
        yield bytes(held)
    if broken is not None:
        raise broken
