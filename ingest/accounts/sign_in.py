"""Signing in and staying so: a proof in, a session and its tokens out; a token in, a caller out.

Knows which proofs there are and in which order things are asked. Refuses to know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import select

from ingest.accounts import access_keys, links, sessions, tokens
from ingest.accounts.access_keys import AccessKey
from ingest.accounts.roles import Role
from ingest.accounts.sessions import Session
from ingest.accounts.signing import Secrets, Signing
from ingest.accounts.tokens import Claims
from ingest.accounts.wechat import WeChat
from ingest.problems import Problem
from relay.errors import PersonErased
from relay.keys import PersonKey
from relay.notices import OPENID
from relay.sealing import seal
from relay.sql.database import Database, Transaction
from relay.sql.schema import accounts


class People(Secrets, Protocol):
    """Where persons and their keys are found and made; `relay.sql.keys` is one."""

    async def person_of_account(self, tx: Transaction, provider: str, subject: str) -> UUID: ...
    async def create(self, tx: Transaction, person: UUID) -> PersonKey: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """What somebody is handed who has signed in."""

    person: UUID
    role: Role
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: int
    """For which the access token is good."""


class SignIn:
    """Signs people in, and says who bears a token."""

    def __init__(
        self,
        database: Database,
        people: People,
        issuer: str,
        wechat: WeChat | None,
        *,
        token_life: timedelta,
        session_life: timedelta,
    ) -> None:
        """No `wechat`: nobody signs in that way."""
        self._database, self._people, self._issuer = database, people, issuer
        self._wechat, self._signing = wechat, Signing(database, people)
        self._token_life, self._session_life = token_life, session_life

    async def close(self) -> None:
        """Close the connections to WeChat."""
        if self._wechat is not None:
            await self._wechat.close()

    async def by_wechat(self, code: str) -> Tokens:
        """A session of whoever got `code` from `wx.login`; a person who is new is made."""
        if self._wechat is None:
            raise Problem("wechat_off")
        openid, app = await self._wechat.openid(code), self._wechat.app
        try:
            session = await self._database.run(lambda tx: self._welcome(tx, app, openid))
        except PersonErased:
            raise Problem("person_erased") from None
        return await self._handed(session)

    async def by_link(self, code: str) -> Tokens:
        """A session of the person whom a sign-in link is for."""

        async def work(tx: Transaction) -> Session:
            person, role = await links.use(tx, code)
            return await sessions.begin(tx, person, role, self._session_life)

        return await self._handed(await self._database.run(work))

    async def renewed(self, refresh: str) -> Tokens:
        """Fresh tokens for a refresh token, which is good no more."""
        session = await self._database.run(
            lambda tx: sessions.renew(tx, refresh, self._session_life)
        )
        if session is None:
            raise Problem("refresh_invalid")
        return await self._handed(session)

    async def out(self, session: UUID) -> None:
        """End a session."""
        await self._database.run(lambda tx: sessions.end(tx, session))

    async def bearer(self, token: str) -> Claims | AccessKey:
        """Who bears `token`, a key or an access token; `Problem` where it is no good."""
        if token.startswith(access_keys.PREFIX):
            async with self._database.reading() as tx:
                return await access_keys.find(tx, token)
        keys = (await self._signing.ring()).keys
        claims = tokens.opened(token, keys, self._issuer, self._database.now())
        async with self._database.reading() as tx:
            if not await sessions.stands(tx, claims.sid, claims.sub):
                raise Problem("token_revoked")
        return claims

    async def _welcome(self, tx: Transaction, app: str, openid: str) -> Session:
        person = await self._people.person_of_account(tx, f"wechat {app}", openid)
        key = await self._people.create(tx, person)
        sealed = {OPENID: seal(key, person, OPENID, openid)}
        row = {
            "person": person,
            "role": Role.USER.value,
            "sealed": sealed,
            "created_at": tx.now,
        }
        await tx.insert_absent(accounts, row)
        known = select(accounts.c.role).where(accounts.c.person == person)
        role = Role((await tx.execute(known)).scalar_one())
        return await sessions.begin(tx, person, role, self._session_life)

    async def _handed(self, session: Session) -> Tokens:
        ring, now = await self._signing.ring(), self._database.now()
        claims = tokens.issued(
            self._issuer, session.person, session.id, session.role, now, self._token_life
        )
        return Tokens(
            person=session.person,
            role=session.role,
            access=tokens.written(claims, ring.signs, ring.keys[ring.signs]),
            refresh=session.refresh.spelled(sessions.PREFIX),
            seconds=claims.exp - claims.iat,
        )
