"""Access tokens: JWTs with one algorithm, one issuer, one audience, and a key known by its id.

Pure: claims in, a string out, and back. Refuses to know rows: whether the session behind a token
still stands is asked elsewhere, at every request.
Source: RFC 8725 (JSON Web Token Best Current Practices).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import jwt
from pydantic import BaseModel, ConfigDict, ValidationError

from ingest.accounts.roles import Role
from ingest.problems import Problem

ALGORITHM = "HS256"
AUDIENCE: Final = "voxrelay"
TYPE = "at+jwt"
LONGEST = 2_000
"""Characters; nothing of ours comes near it."""


class Claims(BaseModel):
    """What a token says."""

    model_config = ConfigDict(frozen=True, strict=False, extra="ignore")

    iss: str
    aud: Literal["voxrelay"] = AUDIENCE
    sub: UUID
    sid: UUID
    role: Role
    iat: int
    exp: int


def issued(
    issuer: str, person: UUID, session: UUID, role: Role, now: datetime, life: timedelta
) -> Claims:
    """The claims of a token for `session`, good from `now` on."""
    at = int(now.timestamp())
    until = at + int(life.total_seconds())
    return Claims(iss=issuer, sub=person, sid=session, role=role, iat=at, exp=until)


def written(claims: Claims, kid: str, secret: bytes) -> str:
    """The token."""
    headers = {"kid": kid, "typ": TYPE}
    return jwt.encode(claims.model_dump(mode="json"), secret, ALGORITHM, headers=headers)


def kid_of(token: str) -> str:
    """Which key a token says it is signed with; `Problem` (`token_invalid`) where it says none."""
    if len(token) > LONGEST:
        raise Problem("token_invalid")
    try:
        head = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise Problem("token_invalid") from None
    kid = head.get("kid")
    if head.get("alg") != ALGORITHM or head.get("typ") != TYPE or not isinstance(kid, str):
        raise Problem("token_invalid")
    return kid


def opened(token: str, keys: Mapping[str, bytes], issuer: str, now: datetime) -> Claims:
    """What a token of ours says; `Problem` (`token_invalid`, `token_expired`) of any other.

    Times are told by `now`, the clock that all gateways share, and not by this machine's.
    """
    secret = keys.get(kid_of(token))
    if secret is None:
        raise Problem("token_invalid")
    try:
        said = jwt.decode(
            token,
            secret,
            [ALGORITHM],
            audience=AUDIENCE,
            issuer=issuer,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        claims = Claims.model_validate(said)
    except (jwt.InvalidTokenError, ValidationError):
        raise Problem("token_invalid") from None
    if claims.exp <= now.timestamp():
        raise Problem("token_expired")
    return claims
