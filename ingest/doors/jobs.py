"""`/v1/jobs`: send a wish, ask for a job, look through a history.

Knows requests and answers. Refuses to know how a job is accepted.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from ingest.accept import Entry
from ingest.bodies import idempotency_key, job_wish, traceparent
from ingest.doors.documented import refusals, sounding
from ingest.forms import JobBody, JobJson
from ingest.gateway import Gate, Reader, Sender, voices_here
from ingest.jobs import history
from ingest.problems import Problem
from ingest.shared_pages import shared_by
from ingest.shown import (
    HistoryShown,
    JobShown,
    SentShown,
    complaints_shown,
    queue_shown,
    shown,
)
from ingest.wish import Saved

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=202,
    responses=refusals(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 429),
    openapi_extra={"requestBody": sounding(JobBody, "Job", variants='[{"style": "gentle"}, …]')},
    summary="Send a text and a recording",
)
async def send(
    request: Request,
    response: Response,
    gateway: Gate,
    caller: Sender,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Send it again with a retry: the same request is accepted once.",
        ),
    ] = None,
) -> SentShown:
    """Accept a job, or one for each variant: once this answers 202, they are safe."""
    wish = await job_wish(request, gateway.limits(gateway.settings.text_limit))
    if isinstance(wish.source, Saved):
        voices_here(gateway)
    entry = Entry("jobs", caller, idempotency_key(request), traceparent(request))
    accepted = await gateway.acceptor.accept(wish, entry)
    response.headers["location"] = f"{caller.client.base}/v1/jobs/{accepted.job.id}"
    response.headers.update(accepted.rates)
    jobs = [await shown(gateway, job, caller.client) for job in accepted.jobs]
    return SentShown(**dict(jobs[0]), variants=jobs if wish.variants else None)


@router.get("", responses=refusals(401, 403, 422), summary="Your jobs, newest first")
async def listed(
    gateway: Gate,
    caller: Reader,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    shared: Annotated[bool, Query(description="Only those that have a public page.")] = False,
) -> HistoryShown:
    """A page of the caller's jobs."""
    try:
        async with gateway.database.reading() as tx:
            among = shared_by(caller.person, tx.now) if shared else None
            page = await history(tx, caller.person, cursor, limit, among)
            pages = await gateway.pages.of(tx, page.jobs)
    except ValueError:
        raise Problem("cursor_invalid") from None
    client = caller.client
    jobs = [await shown(gateway, each, client, shared=pages.get(each.id)) for each in page.jobs]
    return HistoryShown(jobs=jobs, cursor=page.cursor)


@router.get("/{job_id}", responses=refusals(401, 403, 404), summary="One job")
async def one(job_id: UUID, gateway: Gate, caller: Reader) -> JobShown:
    """State, steps and reasons of a job, addresses of its sound, and what came of complaints."""
    job = await gateway.job(job_id, caller.person)
    queue = await queue_shown(gateway, job.id, job.state)
    complaints = await complaints_shown(gateway, job)
    async with gateway.database.reading() as tx:
        page = (await gateway.pages.of(tx, [job])).get(job.id)
    return await shown(gateway, job, caller.client, queue=queue, complaints=complaints, shared=page)


SCHEMAS = (JobJson,)
"""Models that OpenAPI refers to and FastAPI does not find by itself."""
