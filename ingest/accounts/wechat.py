"""WeChat's word on who somebody is: the code of `wx.login` in, an openid out.

Knows `code2Session`, its answers and its errors. Keeps neither the session key, which nothing here
needs, nor the code. Refuses to know persons. No address of a request is ever logged: it bears the
AppSecret.
Source: developers.weixin.qq.com, auth.code2Session.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import httpx
from pydantic import SecretStr

from ingest.problems import Problem

log = logging.getLogger(__name__)

API = "https://api.weixin.qq.com"
PATIENCE = 5.0
_CODE = re.compile(r"[\x21-\x7e]{1,256}")
_OPENID = re.compile(r"[A-Za-z0-9_-]{1,128}")

_OF_CODE = {40029, 40163, 41008}
"""The code is none, was used before, or is missing."""
_OF_USER = {40226}
"""WeChat takes the user for a risk."""
_TOO_OFTEN = {45011}
_BUSY = {-1}
_MINUTE = 60.0


class WeChat:
    """One mini-program at WeChat."""

    def __init__(
        self, app: str, secret: SecretStr, api: str = API, client: httpx.AsyncClient | None = None
    ) -> None:
        self.app = app
        self._secret, self._api = secret, api.rstrip("/")
        self._http = client or httpx.AsyncClient(timeout=PATIENCE, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def openid(self, code: str) -> str:
        """The openid of whoever got `code` from `wx.login`.

        `Problem`: `code_refused`, `sign_in_refused`, `sign_in_too_often`, `wechat_unavailable`, or
        `wechat_misconfigured` where it is the operator who has something to put right.
        """
        if not _CODE.fullmatch(code):
            raise Problem("code_refused")
        said = await self._asked(code)
        if (error := said.get("errcode", 0)) not in (0, "0"):
            raise _problem(_number(error))
        openid = said.get("openid")
        if not isinstance(openid, str) or not _OPENID.fullmatch(openid):
            raise _away("an answer without an openid")
        return openid

    async def _asked(self, code: str) -> dict[str, Any]:
        params = {
            "appid": self.app,
            "secret": self._secret.get_secret_value(),
            "js_code": code,
            "grant_type": "authorization_code",
        }
        try:
            answer = await self._http.get(f"{self._api}/sns/jscode2session", params=params)
            said = answer.json() if answer.is_success else None  # it is called text/plain
        except httpx.HTTPError as wrong:
            raise _away(type(wrong).__name__) from None
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise _away(f"status {answer.status_code}")
        return said


def _problem(error: int) -> Problem:
    if error in _OF_CODE:
        return Problem("code_refused")
    if error in _OF_USER:
        return Problem("sign_in_refused")
    if error in _TOO_OFTEN:
        return Problem("sign_in_too_often", retry_after=_MINUTE)
    if error in _BUSY:
        return _away("busy")
    log.error("WeChat refuses this mini-program's AppID, AppSecret or address: errcode %d", error)
    return Problem("wechat_misconfigured", errcode=error)


def _away(why: str) -> Problem:
    log.warning("WeChat does not say who signs in: %s", why)
    return Problem("wechat_unavailable", retry_after=PATIENCE)


def _number(error: Any) -> int:
    """WeChat spells some of its numbers as text."""
    try:
        return int(error)
    except (TypeError, ValueError):
        return -1
