"""`/v1/keys`: keys of servers, for an operator to make and revoke, for an auditor to see.

Knows requests and answers. Refuses to show a key twice: what proves it is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from ingest.accounts import access_keys
from ingest.accounts.access_keys import PREFIX, AccessKey, Wanted
from ingest.accounts.roles import Role, Scope
from ingest.doors.documented import refusals
from ingest.gateway import Gate, calls
from ingest.person import Caller
from ingest.problems import Problem

router = APIRouter(prefix="/v1/keys", tags=["keys"])

Sees = Annotated[Caller, Depends(calls(Scope.KEYS_READ))]
Makes = Annotated[Caller, Depends(calls(Scope.KEYS))]


class KeyLimits(BaseModel):
    """Limits of its own; what is not given is as for everybody, 0 is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    per_minute: float | None = Field(default=None, ge=0, le=1e6)
    burst: float | None = Field(default=None, ge=1, le=1e6)
    daily_seconds: float | None = Field(default=None, ge=0, le=1e9)
    concurrent: int | None = Field(default=None, ge=0, le=1_000_000)


class KeyBody(BaseModel):
    """What a key is to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
    role: Role = Role.USER
    scopes: frozenset[Scope] | None = Field(default=None, description="All of its role's if none.")
    person: UUID | None = Field(
        default=None, description="Whose jobs it sees; somebody new if none."
    )
    days: int | None = Field(default=None, ge=1, le=3_650)
    limits: KeyLimits = KeyLimits()


class KeyShown(BaseModel):
    """A key, without what proves it."""

    id: str
    name: str
    person: UUID
    role: Role
    scopes: Sequence[Scope]
    limits: KeyLimits
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyMade(KeyShown):
    """A key just made. `key` is shown this once."""

    key: str


class KeysShown(BaseModel):
    """Every key there ever was, the newest first."""

    keys: Sequence[KeyShown]


@router.get("", responses=refusals(401, 403), summary="Every key")
async def keys(gateway: Gate, caller: Sees) -> KeysShown:
    """Names, scopes and limits; none of them proves anything."""
    async with gateway.database.reading() as tx:
        found = await access_keys.listed(tx)
    return KeysShown(keys=[KeyShown.model_validate(_told(key)) for key in found])


@router.post(
    "",
    status_code=201,
    responses=refusals(400, 401, 403, 408, 413, 422),
    summary="Make a key",
)
async def make_key(body: KeyBody, gateway: Gate, caller: Makes) -> KeyMade:
    """The key is in the answer, and nowhere else after that."""
    wanted = Wanted(
        name=body.name,
        role=body.role,
        scopes=body.scopes,
        person=body.person,
        life=None if body.days is None else timedelta(days=body.days),
        limits=body.limits.model_dump(exclude_none=True),
    )
    key, handed = await gateway.database.run(lambda tx: access_keys.create(tx, wanted))
    return KeyMade.model_validate({**_told(key), "key": handed.spelled(PREFIX)})


@router.delete(
    "/{key_id}", status_code=204, responses=refusals(401, 403, 404, 422), summary="Revoke a key"
)
async def revoke_key(
    key_id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")], gateway: Gate, caller: Makes
) -> Response:
    """It is refused from the next request on, at every gateway."""
    if not await gateway.database.run(lambda tx: access_keys.revoke(tx, key_id)):
        raise Problem("key_unknown")
    return Response(status_code=204)


def _told(key: AccessKey) -> dict[str, object]:
    names = (name for name in KeyShown.model_fields if name != "scopes")
    return {**{name: getattr(key, name) for name in names}, "scopes": sorted(key.scopes)}
