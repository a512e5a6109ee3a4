"""Doors for people who look after others' jobs: what waits for a word, dead letters, the trail.

Knows HTTP, and that whoever looks is written down before they see anything. Refuses to know who may
come in and where sound is heard: a porter, whom composition puts at these doors, does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection
from starlette.responses import Response

from audit import dead, reviews
from audit.access import Access, record
from audit.reviews import Kind
from audit.search import Contradiction, Wanted, page, told
from relay.errors import Misconfigured, RelayError
from relay.pages import serve
from relay.spine import Spine
from schemas.states import State

REVIEW, DEAD, AUDIT = "review", "dead", "audit"
"""What a caller has to be allowed."""
MOST = 200
"""Letters, and findings, in one answer."""
_LONGEST_CURSOR = 16_000
"""A place for each partition of some topics."""


class Refused(RelayError):
    """There is no such thing, or it cannot be done; composition turns the code into an answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Who:
    """Who is at a door: a name of at most 32 characters, which is written down."""

    name: str


class Porter(Protocol):
    """Who knows callers, and addresses of sound."""

    async def who(self, connection: HTTPConnection, scope: str) -> Who:
        """The caller, if they are allowed `scope`; else it raises what becomes the answer."""

    async def sound(self, connection: HTTPConnection, job: UUID) -> Mapping[str, str | None]:
        """`recording_url` and `audio_url` of a job, as far as there are any."""


def _spine(connection: HTTPConnection) -> Spine:
    spine: Spine = connection.app.state.spine
    return spine


def _history(connection: HTTPConnection) -> Spine:
    spine: Spine = connection.app.state.history
    return spine


def _porter(connection: HTTPConnection) -> Porter:
    porter: Porter = connection.app.state.porter
    return porter


def _allowed(scope: str) -> Callable[[HTTPConnection], Awaitable[Who]]:
    async def who(connection: HTTPConnection) -> Who:
        return await _porter(connection).who(connection, scope)

    return who


Opened = Annotated[Spine, Depends(_spine)]
Past = Annotated[Spine, Depends(_history)]
"""With what was archived; nothing waits there for a word any more."""
Reviewer = Annotated[Who, Depends(_allowed(REVIEW))]
Undertaker = Annotated[Who, Depends(_allowed(DEAD))]
Auditor = Annotated[Who, Depends(_allowed(AUDIT))]
Why = Annotated[str | None, Query(max_length=500, description="Why you look; sealed.")]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    problem = {"schema": {"$ref": "#/components/schemas/ProblemShown"}}
    return {
        status: {"description": "Refused", "content": {"application/problem+json": problem}}
        for status in (401, 403, *statuses, 503)
    }


class Body(BaseModel):
    """A body of these doors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# -- what waits for a word -------------------------------------------------------------------------

review = APIRouter(prefix="/v1/review", tags=["operator"])


class ReviewBody(Body):
    """A person's word."""

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


@review.get("", responses=_refusals(422), summary="What waits for a person")
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


@review.post("/{review_id}", responses=_refusals(400, 404, 408, 409, 413, 422), summary="Decide")
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
        **await _porter(connection).sound(connection, item.job),
    )


def _words(value: Any) -> str | None:
    """A personal field; None where its person was erased."""
    return value if isinstance(value, str) else None


# -- dead letters ----------------------------------------------------------------------------------

letters = APIRouter(prefix="/v1/dead", tags=["operator"])


class LettersShown(BaseModel):
    """Dead letters, the oldest first in each topic; `more` says that there are others."""

    letters: Sequence[Mapping[str, Any]]
    more: bool


class LetterShown(BaseModel):
    """One letter with the record in it."""

    letter: Mapping[str, Any]
    payload: Any


class Done(BaseModel):
    """How many letters it was done to."""

    done: int


@letters.get("", responses=_refusals(422), summary="Records that no stage could handle")
async def dead_letters(
    spine: Opened,
    who: Undertaker,
    group: str | None = None,
    code: str | None = None,
    topic: str | None = None,
    job: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    reason: Why = None,
) -> LettersShown:
    """Why each died, where and when; personal fields stay sealed."""
    await record(spine, Access(who.name, "dead list", opened=False, reason=reason))
    found: list[Mapping[str, Any]] = []
    async for each in dead.waiting(spine, dead.Filter(None, group, code, topic, job)):
        if len(found) == limit:
            return LettersShown(letters=found, more=True)
        found.append(each.told())
    return LettersShown(letters=found, more=False)


@letters.get("/{letter_id}", responses=_refusals(404, 422), summary="One dead letter")
async def dead_letter(
    letter_id: UUID,
    spine: Opened,
    who: Undertaker,
    opened: Annotated[bool, Query(alias="open", description="Open personal fields.")] = False,
    reason: Why = None,
) -> LetterShown:
    """The record in it, sealed as it lies unless you ask for it open."""
    found = await _letter(spine, letter_id)
    job = found.told()["job"]
    await record(spine, Access(who.name, "dead show", opened=opened, reason=reason, job=job))
    payload = await dead.payload(spine, found) if opened else found.payload()
    return LetterShown(letter=found.told(), payload=payload)


@letters.post("/{letter_id}/redrive", responses=_refusals(404, 409, 422), summary="Send it again")
async def dead_redrive(letter_id: UUID, spine: Opened, who: Undertaker) -> Done:
    """Its group gets the very same record once more."""
    if (await _letter(spine, letter_id)).letter.cut:
        raise Refused("dead_not_whole")
    return await _done(dead.redrive(spine, dead.Filter(str(letter_id)), who.name))


@letters.post("/{letter_id}/discard", responses=_refusals(404, 422), summary="Give it up")
async def dead_discard(letter_id: UUID, spine: Opened, who: Undertaker) -> Done:
    """If a job waits for it, the job ends as failed."""
    return await _done(dead.discard(spine, dead.Filter(str(letter_id)), who.name))


async def _letter(spine: Spine, id_: UUID) -> dead.Waiting:
    async for found in dead.waiting(spine, dead.Filter(str(id_))):
        return found
    raise Refused("dead_unknown")


async def _done(doing: Awaitable[int]) -> Done:
    done = await doing
    if not done:  # somebody was quicker
        raise Refused("dead_unknown")
    return Done(done=done)


# -- the trail -------------------------------------------------------------------------------------

trails = APIRouter(prefix="/v1/audit", tags=["auditor"])


class FoundShown(BaseModel):
    """Records that say what was asked for; `cursor` goes on from there, and there may be none.

    One answer looks at so many records of the log: it may hold nothing though the next one does.
    """

    found: Sequence[Mapping[str, Any]]
    more: bool = Field(description="Whether there is a cursor.")
    cursor: str | None


@trails.get("/trail/{trail_id}", responses=_refusals(404, 422), summary="Everything about one job")
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


@trails.get("/jobs", responses=_refusals(422), summary="Find jobs")
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


# -- the auditor's page ----------------------------------------------------------------------------

pages = APIRouter(include_in_schema=False)


@pages.get("/audit")
async def audit_page() -> Response:
    """For the auditor; whoever opens it sees nothing until they have proved who they are."""
    return serve("audit.page", "index.html")


ROUTERS = (review, letters, trails, pages)
