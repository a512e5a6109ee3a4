"""Access tokens: ours is opened, and every way of making one up is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from ingest.accounts.roles import Role
from ingest.accounts.tokens import AUDIENCE, TYPE, issued, opened, written
from ingest.problems import Problem

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIFE = timedelta(hours=1)
ISSUER = "voxrelay://here"
KEYS = {"new": b"n" * 32, "old": b"o" * 32}
OURS = issued(ISSUER, UUID(int=7), UUID(int=8), Role.USER, NOW, LIFE)


def forged(
    secret: Any = KEYS["new"], alg: str = "HS256", head: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A token that differs from ours in what is given; a claim that is None is left out."""
    said = {**OURS.model_dump(mode="json"), **claims}
    said = {name: value for name, value in said.items() if value is not None}
    headers = {"kid": "new", "typ": TYPE, **(head or {})}
    return jwt.encode(said, secret, alg, headers=headers)


def by_hand(head: dict[str, Any], signature: bytes = b"") -> str:
    """A token of any head at all, for what no library will write."""
    parts = (json.dumps(head).encode(), OURS.model_dump_json().encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_a_token_says_who_bears_it_until_it_expires() -> None:
    for kid, secret in KEYS.items():
        token = written(OURS, kid, secret)
        assert opened(token, KEYS, ISSUER, NOW) == OURS
        assert opened(token, KEYS, ISSUER, NOW + LIFE - timedelta(seconds=1)) == OURS
        with pytest.raises(Problem, match="token_expired"):
            opened(token, KEYS, ISSUER, NOW + LIFE)


def test_a_forged_token_is_like_ours_but_for_what_is_forged() -> None:
    assert opened(forged(), KEYS, ISSUER, NOW) == OURS


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(forged(secret=b"x" * 32), id="another's key"),
        pytest.param(forged(secret=KEYS["old"]), id="the key of another kid"),
        pytest.param(forged(head={"kid": "gone"}), id="unknown kid"),
        pytest.param(by_hand({"alg": "HS256", "typ": TYPE}), id="no kid"),
        pytest.param(forged(head={"typ": "JWT"}), id="a token of another kind"),
        pytest.param(forged(secret=b"n" * 64, alg="HS512"), id="another algorithm"),
        pytest.param(forged(secret=None, alg="none"), id="alg none"),
        pytest.param(by_hand({"alg": "none", "typ": TYPE, "kid": "new"}), id="none by hand"),
        pytest.param(by_hand({"alg": "None", "typ": TYPE, "kid": "new"}), id="None"),
        pytest.param(by_hand({"alg": "HS256", "typ": TYPE, "kid": "new"}), id="no signature"),
        pytest.param(by_hand({"alg": "HS256", "typ": TYPE, "kid": ["new"]}), id="kid no text"),
        pytest.param(forged(aud="another"), id="another audience"),
        pytest.param(forged(aud=[AUDIENCE, "another"]), id="more than one audience"),
        pytest.param(forged(aud=None), id="no audience"),
        pytest.param(forged(iss="voxrelay://there"), id="another issuer"),
        pytest.param(forged(iss=None), id="no issuer"),
        pytest.param(forged(sub=None), id="nobody"),
        pytest.param(forged(sub="root"), id="no person of ours"),
        pytest.param(forged(sid=None), id="no session"),
        pytest.param(forged(role="root"), id="no role of ours"),
        pytest.param(forged(exp=None), id="for ever"),
        pytest.param(forged(x="y" * 2_000), id="too long"),
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="nonsense"),
        pytest.param("你好", id="not ASCII"),
        pytest.param(f"{forged()}x", id="something behind it"),
        pytest.param(str(uuid4()), id="an id"),
    ],
)
def test_whatever_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(Problem, match="token_invalid"):
        opened(token, KEYS, ISSUER, NOW)
