"""`/v1/voices/{id}/shares`: who else may use a voice.

Knows requests and answers. Refuses to show a code twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from ingest.doors.documented import refusals
from ingest.gateway import Gate, Speaker, voices_here
from ingest.shares import Share
from ingest.shown import Shown
from ingest.voices import VoiceScope

router = APIRouter(
    prefix="/v1/voices/{voice_id}/shares", tags=["voices"], dependencies=[Depends(voices_here)]
)


class ShareBody(BaseModel):
    """With whom, for what, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    person: UUID | None = Field(default=None, description="None: a code for whoever shows it.")
    scopes: Annotated[frozenset[VoiceScope], Field(min_length=1)] = frozenset({VoiceScope.SPEAK})
    days: int | None = Field(default=None, ge=1, le=3_650)


class ShareShown(Shown):
    """That somebody may use it; nobody yet, where there is no `person`."""

    id: UUID
    person: UUID | None = None
    scopes: Sequence[VoiceScope]
    created_at: datetime
    expires_at: datetime | None = None


class ShareMade(ShareShown):
    """A share just made. `code` is shown this once."""

    code: str | None = None


class SharesShown(Shown):
    """Who may use a voice, the first one first."""

    shares: Sequence[ShareShown]


@router.get("", responses=refusals(401, 403, 404, 409), summary="Who may use it")
async def list_shares(voice_id: UUID, gateway: Gate, caller: Speaker) -> SharesShown:
    """Codes are not shown again."""
    found = await gateway.shares.all(caller.person, voice_id)
    return SharesShown(shares=[ShareShown(**_told(each)) for each in found])


@router.post(
    "",
    status_code=201,
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 422),
    summary="Let somebody use it",
)
async def share_voice(voice_id: UUID, body: ShareBody, gateway: Gate, caller: Speaker) -> ShareMade:
    """A person, or whoever is handed the code."""
    life = None if body.days is None else timedelta(days=body.days)
    made, code = await gateway.shares.add(caller.person, voice_id, body.person, body.scopes, life)
    return ShareMade(**_told(made), code=code)


@router.delete(
    "/{share_id}",
    status_code=204,
    responses=refusals(401, 403, 404, 409),
    summary="Let them use it no more",
)
async def unshare_voice(voice_id: UUID, share_id: UUID, gateway: Gate, caller: Speaker) -> Response:
    """From the next job on."""
    await gateway.shares.remove(caller.person, voice_id, share_id)
    return Response(status_code=204)


def _told(share: Share) -> dict[str, Any]:
    return {name: getattr(share, name) for name in ShareShown.model_fields}
