"""After delivery: played, rated, reported, appealed, shared.

Knows requests and answers. Refuses to know what becomes of them.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ingest.doors.documented import refusals
from ingest.gateway import Gate, Reader
from ingest.shown import ShareShown, share_shown
from schemas.events import Complaint

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["afterwards"])

Note = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]{1,500}$")
]
_TAKEN = refusals(400, 401, 403, 404, 408, 409, 410, 413, 422)


class Body(BaseModel):
    """A body of these doors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RatingBody(Body):
    """How good it is."""

    stars: int = Field(ge=1, le=5, strict=True)
    note: Note | None = None


class ReportBody(Body):
    """What is wrong with it."""

    reason: Complaint
    note: Note | None = None


class AppealBody(Body):
    """Why it should not have been rejected."""

    note: Note


@router.post("/played", status_code=202, responses=_TAKEN, summary="You listened to it")
async def played(job_id: UUID, gateway: Gate, caller: Reader) -> Response:
    """Counted once for each job, however often it is said."""
    await gateway.remarks.played(await gateway.job(job_id, caller.person))
    return Response(status_code=202)


@router.post("/rating", status_code=202, responses=_TAKEN, summary="How good it is")
async def rate(job_id: UUID, body: RatingBody, gateway: Gate, caller: Reader) -> Response:
    """Once for each job; the same again changes nothing."""
    job = await gateway.job(job_id, caller.person)
    await gateway.remarks.rated(job, body.stars, body.note)
    return Response(status_code=202)


@router.post("/report", status_code=202, responses=_TAKEN, summary="Something is wrong with it")
async def report(job_id: UUID, body: ReportBody, gateway: Gate, caller: Reader) -> Response:
    """A person will look; once for each job and reason."""
    job = await gateway.job(job_id, caller.person)
    await gateway.remarks.reported(job, body.reason, body.note)
    return Response(status_code=202)


@router.post("/appeal", status_code=202, responses=_TAKEN, summary="Appeal a rejection")
async def appeal(job_id: UUID, body: AppealBody, gateway: Gate, caller: Reader) -> Response:
    """Another person will look; once for each job."""
    await gateway.remarks.appealed(await gateway.job(job_id, caller.person), body.note)
    return Response(status_code=202)


@router.post("/share", responses=_TAKEN, summary="Let whoever has the address hear it")
async def share(job_id: UUID, gateway: Gate, caller: Reader) -> ShareShown:
    """The same address as long as it is shared; each time its days begin anew."""
    shared = await gateway.pages.open(await gateway.job(job_id, caller.person))
    return share_shown(shared, caller.client)


@router.delete("/share", status_code=204, responses=_TAKEN, summary="Share it no more")
async def unshare(job_id: UUID, gateway: Gate, caller: Reader) -> Response:
    """The address shows nothing from now on."""
    await gateway.pages.end((await gateway.job(job_id, caller.person)).id)
    return Response(status_code=204)
