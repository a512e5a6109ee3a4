"""The trail: all of one job, and jobs that are looked for, archived ones with them.

Knows what may be asked. Refuses to know how a record is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from audit.access import Access, record
from audit.doors.shared import MOST, Auditor, Past, Refused, Why, refusals
from audit.search import Contradiction, Wanted, page, told
from schemas.states import State

_LONGEST_CURSOR = 16_000
"""A place for each partition of some topics."""

trails = APIRouter(prefix="/v1/audit", tags=["auditor"])


class FoundShown(BaseModel):
    """Records that say what was asked for; `cursor` goes on from there, and there may be none.

    One answer looks at so many records of the log: it may hold nothing though the next one does.
    """

    found: Sequence[Mapping[str, Any]]
    more: bool = Field(description="Whether there is a cursor.")
    cursor: str | None


@trails.get("/trail/{trail_id}", responses=refusals(404, 422), summary="Everything about one job")
async def audit_trail(
    trail_id: UUID,
    spine: Past,
    who: Auditor,
    sealed: Annotated[bool, Query(description="Open no personal field.")] = False,
    reason: Why = None,
) -> Mapping[str, Any]:
    """As `voxrelay audit trail JOB --json` tells it."""
    from audit.trail import trail  # word lists and their dictionaries come with it

    job = str(trail_id)
    await record(spine, Access(who.name, "trail", opened=not sealed, reason=reason, job=job))
    found = await trail(spine, job, opens=not sealed)
    if found is None:
        raise Refused("trail_unknown")
    return found.told


@trails.get("/jobs", responses=refusals(422), summary="Find jobs")
async def audit_jobs(
    spine: Past,
    who: Auditor,
    user: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    verdict: State | None = None,
    rule: Annotated[str | None, Query(max_length=64)] = None,
    sealed: Annotated[bool, Query(description="Open no personal field.")] = False,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(max_length=_LONGEST_CURSOR)] = None,
    reason: Why = None,
) -> FoundShown:
    """By person, time (the log's), verdict and rule; without a zone times are UTC."""
    try:
        wanted = Wanted(user, _zoned(since), _zoned(until), verdict, rule)
    except Contradiction:
        raise Refused("search_contradicts") from None
    asked = {"since": since, "until": until, "verdict": verdict, "rule": rule}
    scope = {name: str(value) for name, value in asked.items() if value is not None}
    access = Access(who.name, "search", not sealed, reason, subject=user, scope=scope)
    await record(spine, access)
    try:
        looked = await page(spine, wanted, cursor, limit, opens=not sealed)
    except ValueError:
        raise Refused("cursor_invalid") from None
    found = [told(seen) for seen in looked.found]
    return FoundShown(found=found, more=looked.cursor is not None, cursor=looked.cursor)


def _zoned(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)
