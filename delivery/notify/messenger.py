"""Subscribe messages: tells a mini-program's user in WeChat that a job has ended.

Knows `subscribeMessage.send` and what each of its errors means: who is to do something, if anybody.
A user who has not allowed a message gets none, and that is no failure. Refuses to know how a job
ended and what a template looks like.
Source: developers.weixin.qq.com, subscribeMessage.send.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping

from sqlalchemy import select

from delivery.notify.decide import Outcome, later
from delivery.notify.fields import chosen, data
from delivery.notify.sender import TRIES, Secrets, write_down
from delivery.notify.token import Refused, Token
from relay.errors import PersonErased
from relay.notices import OPENID, Ending, Notice, notice_of
from relay.sealing import unseal
from relay.sql.database import Database, Transaction
from relay.sql.dues import Due
from relay.sql.schema import accounts
from relay.timer import Again, Done
from relay.wechat import Api, Away, WeChatSettings, errcode

log = logging.getLogger(__name__)

_FINAL: Mapping[int, str] = {
    43101: "not_allowed",
    40003: "openid_invalid",
    47003: "fields_invalid",
    41030: "page_invalid",
    40037: "template_invalid",
}
"""Trying again changes nothing."""
_OPERATORS = {
    "fields_invalid": "VOXRELAY_WECHAT_FIELDS does not fit the template",
    "page_invalid": "VOXRELAY_WECHAT_PAGE is no page of the mini-program",
    "template_invalid": "VOXRELAY_WECHAT_TEMPLATE is none of the mini-program's",
}
_OF_TOKEN = {40001, 40014, 42001}


class Messenger:
    """The `Timer`'s handler of the kind `relay.notices.WECHAT`."""

    def __init__(self, database: Database, keys: Secrets, settings: WeChatSettings) -> None:
        """`settings` name a template; `Misconfigured` where its fields are none of WeChat's."""
        self._database, self._keys, self._settings = database, keys, settings
        self._fields = chosen(settings.fields)
        self._api = Api(settings)
        self._token = Token(database, keys, settings, self._api)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def __call__(self, due: Due) -> Done | Again:
        """Tell one user of one ending."""
        notice = notice_of(due)
        try:
            openid = await self._openid(notice)
        except PersonErased:
            return Done()
        if openid is None:
            return Done()
        outcome = await self._told(openid, notice.ending)
        TRIES.labels(outcome.code).inc()
        return await self._database.run(lambda tx: _settle(tx, notice, outcome))

    async def _openid(self, notice: Notice) -> str | None:
        async with self._database.reading() as tx:
            query = select(accounts.c.sealed).where(accounts.c.person == notice.receiver)
            sealed = (await tx.execute(query)).scalar() or {}
        if OPENID not in sealed:
            return None
        key = await self._keys.key(notice.receiver)
        openid: str = unseal(key, notice.receiver, OPENID, sealed[OPENID])
        return openid

    async def _told(self, openid: str, ending: Ending) -> Outcome:
        try:
            token = await self._token.get()
            said = await self._api.ask(
                "POST",
                "/cgi-bin/message/subscribe/send",
                params={"access_token": token},
                json=self._message(openid, ending),
            )
        except Away as away:
            log.warning("WeChat takes no message: %s", away)
            return Outcome("not_reached")
        except Refused as refused:
            log.error(
                "WeChat gives no token: errcode %d; check AppID, AppSecret and the list of "
                "addresses that may ask",
                refused.errcode,
            )
            return Outcome("token_refused", refused.errcode)
        error = errcode(said)
        if error in _OF_TOKEN:
            await self._token.forget(token)
        return _outcome(error)

    def _message(self, openid: str, ending: Ending) -> dict[str, object]:
        message: dict[str, object] = {
            "touser": openid,
            "template_id": self._settings.template,
            "miniprogram_state": self._settings.version,
            "lang": "zh_CN",
            "data": data(ending, self._fields),
        }
        if self._settings.page is not None:
            message["page"] = self._settings.page.replace("{job}", str(ending.job))
        return message


def _outcome(error: int) -> Outcome:
    if error == 0:
        return Outcome("taken", 0)
    if error in _OF_TOKEN:
        return Outcome("token_invalid", error)
    code = _FINAL.get(error, "refused")
    if code in _OPERATORS:
        log.error("%s: errcode %d", _OPERATORS[code], error)
    return Outcome(code, error)


async def _settle(tx: Transaction, notice: Notice, outcome: Outcome) -> Done | Again:
    tried = await write_down(tx, notice, outcome)
    if outcome.status in (0, *_FINAL):
        return Done()
    pause = later(tried.tries, random.random())
    return Done() if pause is None else Again(tx.now + pause, tried.payload())
