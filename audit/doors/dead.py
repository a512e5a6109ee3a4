"""Dead letters: records that no stage could handle, shown, sent again or given up.

Knows how a letter is shown. Refuses to know why a record died.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from audit import dead
from audit.access import Access, record
from audit.doors.shared import MOST, Opened, Refused, Undertaker, Why, refusals
from relay.spine import Spine

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


@letters.get("", responses=refusals(422), summary="Records that no stage could handle")
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


@letters.get("/{letter_id}", responses=refusals(404, 422), summary="One dead letter")
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


@letters.post("/{letter_id}/redrive", responses=refusals(404, 409, 422), summary="Send it again")
async def dead_redrive(letter_id: UUID, spine: Opened, who: Undertaker) -> Done:
    """Its group gets the very same record once more."""
    if (await _letter(spine, letter_id)).letter.cut:
        raise Refused("dead_not_whole")
    return await _done(dead.redrive(spine, dead.Filter(str(letter_id)), who.name))


@letters.post("/{letter_id}/discard", responses=refusals(404, 422), summary="Give it up")
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
