"""`/v1/webhooks`: addresses that are told when a job of yours has ended.

Knows requests and answers. Refuses to call anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from ingest.accounts.roles import Scope
from ingest.doors.documented import refusals
from ingest.gateway import Gate, calls
from ingest.person import Caller
from relay.outward import LONGEST
from schemas.states import State

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

End = Literal["delivered", "rejected", "failed"]
Owner = Annotated[Caller, Depends(calls(Scope.HOOKS))]


class HookBody(BaseModel):
    """Whom to tell, and of what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(max_length=LONGEST, description="https, at a public address.")
    states: frozenset[End] = Field(
        default=frozenset(get_args(End)), min_length=1, description="All three if none."
    )


class HookShown(BaseModel):
    """A webhook, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    url: str
    states: Sequence[State]
    created_at: datetime
    failures: int = Field(description="In a row.")
    disabled_at: datetime | None
    disabled_for: str | None = Field(description="`gone` (it answered 410), or `failing`.")


class HookMade(HookShown):
    """A webhook just made. `secret` is shown this once."""

    secret: str


class HooksShown(BaseModel):
    """Your webhooks, the oldest first."""

    webhooks: Sequence[HookShown]


class TryShown(BaseModel):
    """One try to tell it of a job."""

    model_config = ConfigDict(from_attributes=True)

    job: UUID
    number: int
    at: datetime
    outcome: str
    status: int | None = Field(description="What was answered, if anything was.")


class TriesShown(BaseModel):
    """The latest tries, the newest first."""

    tries: Sequence[TryShown]


@router.post(
    "",
    status_code=201,
    responses=refusals(400, 401, 403, 408, 410, 413, 422),
    summary="Be told when a job has ended",
)
async def make_webhook(body: HookBody, gateway: Gate, caller: Owner) -> HookMade:
    """What is sent is signed by Standard Webhooks with the secret in this answer."""
    hook, secret = await gateway.hooks.add(
        caller.person, body.url, frozenset(map(State, body.states))
    )
    return HookMade(**HookShown.model_validate(hook).model_dump(), secret=secret)


@router.get("", responses=refusals(401, 403), summary="Your webhooks")
async def webhooks(gateway: Gate, caller: Owner) -> HooksShown:
    """With how they fare; secrets are shown once, when they are made."""
    found = await gateway.hooks.all(caller.person)
    return HooksShown(webhooks=[HookShown.model_validate(hook) for hook in found])


@router.get(
    "/{hook_id}/tries", responses=refusals(401, 403, 404, 422), summary="What came of each try"
)
async def webhook_tries(
    hook_id: UUID, gateway: Gate, caller: Owner, limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> TriesShown:
    """Of the latest ones."""
    found = await gateway.hooks.tries(caller.person, hook_id, limit)
    return TriesShown(tries=[TryShown.model_validate(each) for each in found])


@router.delete(
    "/{hook_id}", status_code=204, responses=refusals(401, 403, 404), summary="Be told no more"
)
async def remove_webhook(hook_id: UUID, gateway: Gate, caller: Owner) -> Response:
    """What was to be told still is dropped."""
    await gateway.hooks.remove(caller.person, hook_id)
    return Response(status_code=204)
