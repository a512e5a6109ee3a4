"""`/v1/session`: sign in, stay signed in, see as whom, sign out.

Knows requests and answers. Refuses to know how a proof is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ingest.accounts.roles import Role, Scope
from ingest.accounts.sign_in import Tokens
from ingest.doors.documented import refusals
from ingest.gateway import Gate, Gateway
from ingest.problems import Problem

router = APIRouter(prefix="/v1/session", tags=["session"])

_BUCKET = "sign-ins"
_LONGEST = 300


class SignInBody(BaseModel):
    """One proof of who somebody is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    wechat_code: str | None = Field(
        default=None, max_length=_LONGEST, description="What `wx.login` gave."
    )
    link: str | None = Field(
        default=None, max_length=_LONGEST, description="What a sign-in link bears behind its #."
    )


class RefreshBody(BaseModel):
    """What keeps a session alive."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    refresh_token: str = Field(max_length=_LONGEST)


class TokensShown(BaseModel):
    """A session's tokens. The refresh token is good once: keep the one that comes in its place."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int = Field(description="Seconds for which the access token is good.")
    refresh_token: str
    person: UUID
    role: Role


class CallerShown(BaseModel):
    """As whom you call, and what you may do. No role: without a token."""

    person: UUID
    role: Role | None
    scopes: Sequence[Scope]
    key: str | None = Field(default=None, description="Id of the key, if it is a key.")


@router.post(
    "",
    responses=refusals(400, 401, 403, 408, 410, 413, 422, 429),
    summary="Sign in",
)
async def sign_in(request: Request, body: SignInBody, gateway: Gate) -> TokensShown:
    """`wechat_code` for a user of the mini-program, `link` for whoever was sent one."""
    await _let_in(request, gateway)
    if body.wechat_code is not None and body.link is None:
        return _shown(await gateway.sign_in.by_wechat(body.wechat_code))
    if body.link is not None and body.wechat_code is None:
        return _shown(await gateway.sign_in.by_link(body.link))
    raise Problem("proof_ambiguous")


@router.post(
    "/refresh",
    responses=refusals(400, 401, 403, 408, 413, 422, 429),
    summary="Get fresh tokens",
)
async def refresh_session(request: Request, body: RefreshBody, gateway: Gate) -> TokensShown:
    """A refresh token that comes twice ends its session: one of the two bearers stole it."""
    await _let_in(request, gateway)
    return _shown(await gateway.sign_in.renewed(body.refresh_token))


@router.get("", responses=refusals(401, 403), summary="As whom you call")
async def session(request: Request, gateway: Gate) -> CallerShown:
    """Whose jobs you see, and what your token allows."""
    caller = await gateway.callers.caller(request)
    return CallerShown(
        person=caller.person, role=caller.role, scopes=sorted(caller.scopes), key=caller.key
    )


@router.delete("", status_code=204, responses=refusals(401, 403), summary="Sign out")
async def sign_out(request: Request, gateway: Gate) -> Response:
    """Ends the session of the access token that is sent; a key is ended by an operator."""
    caller = await gateway.callers.caller(request)
    if caller.session is None:
        raise Problem("token_required")
    await gateway.sign_in.out(caller.session)
    return Response(status_code=204)


async def _let_in(request: Request, gateway: Gateway) -> None:
    per_minute = gateway.settings.sign_ins_per_minute
    await gateway.let_in(request, _BUCKET, per_minute, "sign_in_too_often")


def _shown(tokens: Tokens) -> TokensShown:
    return TokensShown(
        access_token=tokens.access,
        expires_in=tokens.seconds,
        refresh_token=tokens.refresh,
        person=tokens.person,
        role=tokens.role,
    )
