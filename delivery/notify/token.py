"""The token that WeChat's API wants: fetched once, shared by every process, renewed in time.

Knows `stable_token`, which answers the same token to whoever asks until five minutes before it
expires, so two who ask at once do no harm; and its row, where the token lies encrypted. Refuses to
know what the token is for.
Source: developers.weixin.qq.com, getStableAccessToken.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import delete, select

from relay.sql.database import Database, Transaction
from relay.sql.schema import wechat_tokens
from relay.wechat import BUSY, Api, Away, WeChatSettings, errcode

EARLY = timedelta(minutes=5)
"""Before its end: from then on WeChat answers with the next one, and takes both."""
_SECRET = "wechat token"


class Secrets(Protocol):
    """Where secrets of the site lie; `relay.sql.keys` is one."""

    async def secret(self, name: str) -> bytes: ...


class Refused(Exception):
    """WeChat gives no token; `errcode` says why."""

    def __init__(self, errcode: int) -> None:
        super().__init__(str(errcode))
        self.errcode = errcode


async def ask_token(api: Api, settings: WeChatSettings) -> tuple[str, int]:
    """WeChat's token and the seconds it is good for; `Away`, `Refused` where there is none.

    `settings` name a mini-program.
    """
    assert settings.secret is not None
    said = await api.ask(
        "POST",
        "/cgi-bin/stable_token",
        json={
            "grant_type": "client_credential",
            "appid": settings.app,
            "secret": settings.secret.get_secret_value(),
        },
    )
    if error := errcode(said):
        raise Away("busy") if error == BUSY else Refused(error)
    token, seconds = said.get("access_token"), said.get("expires_in")
    if not isinstance(token, str) or not isinstance(seconds, int):
        raise Away("an answer without a token")
    return token, seconds


class Token:
    """The token of one mini-program."""

    def __init__(
        self, database: Database, secrets: Secrets, settings: WeChatSettings, api: Api
    ) -> None:
        """`settings` name a mini-program."""
        assert settings.app is not None
        self._app, self._settings = settings.app, settings
        self._database, self._secrets, self._api = database, secrets, api
        self._asking = asyncio.Lock()

    async def get(self) -> str:
        """A token that is good for five minutes at least; `Away`, `Refused` where there is none."""
        async with self._asking:
            cipher = AESSIV(await self._secrets.secret(_SECRET))
            return await self._kept(cipher) or await self._fetched(cipher)

    async def forget(self, token: str) -> None:
        """Another is fetched next time, unless somebody has fetched it by now."""
        sealed = self._sealed(AESSIV(await self._secrets.secret(_SECRET)), token)
        mine = (wechat_tokens.c.app == self._app, wechat_tokens.c.sealed == sealed)
        async with self._database.transaction() as tx:
            await tx.execute(delete(wechat_tokens).where(*mine))

    async def _kept(self, cipher: AESSIV) -> str | None:
        async with self._database.reading() as tx:
            query = select(wechat_tokens.c.sealed).where(
                wechat_tokens.c.app == self._app, wechat_tokens.c.expires_at > tx.now + EARLY
            )
            sealed = (await tx.execute(query)).scalar()
        try:
            return None if sealed is None else cipher.decrypt(sealed, [self._app.encode()]).decode()
        except InvalidTag:  # another secret: the row is of a database restored beside ours
            return None

    async def _fetched(self, cipher: AESSIV) -> str:
        token, seconds = await ask_token(self._api, self._settings)
        sealed = self._sealed(cipher, token)

        async def keep(tx: Transaction) -> None:
            await tx.execute(delete(wechat_tokens).where(wechat_tokens.c.app == self._app))
            until = tx.now + timedelta(seconds=seconds)
            row = {"app": self._app, "sealed": sealed, "expires_at": until}
            await tx.insert_absent(wechat_tokens, row)

        await self._database.run(keep)
        return token

    def _sealed(self, cipher: AESSIV, token: str) -> bytes:
        return cipher.encrypt(token.encode(), [self._app.encode()])
