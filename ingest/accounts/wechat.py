"""WeChat's word on who somebody is: the code of `wx.login` in, an openid out.

Knows `code2Session` and its errors. Keeps neither the session key, which nothing here needs, nor
the code. Refuses to know persons.
Source: developers.weixin.qq.com, auth.code2Session.
"""

from __future__ import annotations

import logging
import re

from ingest.problems import Problem
from relay.wechat import BUSY, PATIENCE, Api, Away, WeChatSettings, errcode

log = logging.getLogger(__name__)

_CODE = re.compile(r"[\x21-\x7e]{1,256}")
_OPENID = re.compile(r"[A-Za-z0-9_-]{1,128}")

_OF_CODE = {40029, 40163, 41008}
"""The code is none, was used before, or is missing."""
_OF_USER = {40226}
"""WeChat takes the user for a risk."""
_TOO_OFTEN = {45011}
_MINUTE = 60.0


class WeChat:
    """One mini-program at WeChat."""

    def __init__(self, settings: WeChatSettings) -> None:
        """`settings` name a mini-program."""
        assert settings.app is not None
        assert settings.secret is not None
        self.app = settings.app
        self._secret, self._api = settings.secret, Api(settings)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def openid(self, code: str) -> str:
        """The openid of whoever got `code` from `wx.login`.

        `Problem`: `code_refused`, `sign_in_refused`, `sign_in_too_often`, `wechat_unavailable`, or
        `wechat_misconfigured` where it is the operator who has something to put right.
        """
        if not _CODE.fullmatch(code):
            raise Problem("code_refused")
        params = {
            "appid": self.app,
            "secret": self._secret.get_secret_value(),
            "js_code": code,
            "grant_type": "authorization_code",
        }
        try:
            said = await self._api.ask("GET", "/sns/jscode2session", params=params)
        except Away as away:
            raise _away(str(away)) from None
        if error := errcode(said):
            raise _problem(error)
        openid = said.get("openid")
        if not isinstance(openid, str) or not _OPENID.fullmatch(openid):
            raise _away("an answer without an openid")
        return openid


def _problem(error: int) -> Problem:
    if error in _OF_CODE:
        return Problem("code_refused")
    if error in _OF_USER:
        return Problem("sign_in_refused")
    if error in _TOO_OFTEN:
        return Problem("sign_in_too_often", retry_after=_MINUTE)
    if error == BUSY:
        return _away("busy")
    log.error("WeChat refuses this mini-program's AppID, AppSecret or address: errcode %d", error)
    return Problem("wechat_misconfigured", errcode=error)


def _away(why: str) -> Problem:
    log.warning("WeChat does not say who signs in: %s", why)
    return Problem("wechat_unavailable", retry_after=PATIENCE)
