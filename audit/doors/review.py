"""What waits for a person's word: held prompts, reports and appeals.

Knows how one is shown and decided. Refuses to know what becomes of the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from audit import reviews
from audit.access import Access, record
from audit.doors.shared import Opened, Refused, Reviewer, Why, porter, refusals
from audit.reviews import Kind
from relay.errors import Misconfigured

review = APIRouter(prefix="/v1/review", tags=["operator"])


class ReviewBody(BaseModel):
    """A person's word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approve: bool = Field(strict=True, description="Held: let it be spoken. Else: it is right.")
    reason: str = Field(min_length=1, max_length=500, description="Why; sealed, for the record.")


class ItemShown(BaseModel):
    """Something that waits for a person."""

    id: UUID
    kind: Kind
    job: UUID
    since: datetime
    deadline: datetime | None
    reasons: Sequence[str] = Field(description="Rules that fired, or what a report says.")
    shared: bool = Field(description="A report from a page that anybody can open.")
    text: str | None
    transcript: str | None
    note: str | None
    recording_url: str | None
    audio_url: str | None


class ReviewShown(BaseModel):
    """What waits, the oldest first; `cursor` asks for the next page."""

    items: Sequence[ItemShown]
    cursor: str | None


class Decided(BaseModel):
    """What was decided."""

    id: UUID
    kind: Kind
    approved: bool


@review.get("", responses=refusals(422), summary="What waits for a person")
async def review_queue(
    connection: HTTPConnection,
    spine: Opened,
    who: Reviewer,
    kind: Kind | None = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    reason: Why = None,
) -> ReviewShown:
    """Held prompts, reports and appeals, opened; who asks is written down first."""
    scope = {} if kind is None else {"kind": kind.value}
    await record(spine, Access(who.name, "review", opened=True, reason=reason, scope=scope))
    try:
        page = await reviews.waiting(spine, kind, cursor, limit)
    except ValueError:
        raise Refused("cursor_invalid") from None
    items = [await _item(connection, each) for each in page.items]
    return ReviewShown(items=items, cursor=page.cursor)


@review.post("/{review_id}", responses=refusals(400, 404, 408, 409, 413, 422), summary="Decide")
async def review_decide(review_id: UUID, body: ReviewBody, spine: Opened, who: Reviewer) -> Decided:
    """The first word counts: another's, or the timer's, may have come before yours."""
    try:
        kind = await reviews.decide(
            spine, review_id, who.name, approved=body.approve, note=body.reason
        )
    except Misconfigured:
        raise Refused("review_elsewhere") from None
    if kind is None:
        raise Refused("review_unknown")
    return Decided(id=review_id, kind=kind, approved=body.approve)


async def _item(connection: HTTPConnection, item: reviews.Waiting) -> ItemShown:
    fields = item.seen.fields if item.seen else {}
    fired = [reason["rule"] for reason in fields.get("verdict", {}).get("reasons", ())]
    return ItemShown(
        id=item.id,
        kind=item.kind,
        job=item.job,
        since=item.since,
        deadline=item.deadline,
        reasons=[item.reason] if item.reason else fired,
        shared=item.shared,
        text=_words(fields.get("text")),
        transcript=_words(fields.get("transcript")),
        note=item.note,
        **await porter(connection).sound(connection, item.job),
    )


def _words(value: Any) -> str | None:
    """A personal field; None where its person was erased."""
    return value if isinstance(value, str) else None
