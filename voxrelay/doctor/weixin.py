"""WeChat: whether it takes our AppID and AppSecret, and whether the template has our fields.

Knows what WeChat's errors mean to an operator. Keeps no token.
Source: developers.weixin.qq.com, getStableAccessToken, getMessageTemplateList.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from delivery.notify.fields import chosen
from delivery.notify.token import Refused, ask_token
from relay.errors import Unavailable
from relay.wechat import Api, Away, WeChatSettings, errcode
from voxrelay.doctor.finding import Finding, absent, bad, good

_PART = "wechat"
_CONSOLE = "mp.weixin.qq.com, Development, Development settings"
_REMEDIES = {
    40013: f"VOXRELAY_WECHAT_APP is none of WeChat's: copy it from {_CONSOLE}.",
    40125: f"VOXRELAY_WECHAT_SECRET is not that of this AppID: reset it at {_CONSOLE}.",
    40164: f"Add this machine's address to the list of addresses at {_CONSOLE}.",
    40243: f"The AppSecret is frozen: unfreeze it at {_CONSOLE}.",
    45009: "Today's calls are used up: wait, or reset the count at mp.weixin.qq.com.",
}
_FIELD = re.compile(r"\{\{([a-z_]+\d+)\.DATA\}\}")


async def look_at_wechat(settings: WeChatSettings) -> AsyncIterator[Finding]:
    """AppID, AppSecret, template and its fields, as WeChat itself sees them."""
    if settings.app is None:
        do = "Set VOXRELAY_WECHAT_APP and VOXRELAY_WECHAT_SECRET for users of a mini-program."
        yield absent(_PART, "no mini-program is set", do)
        return
    api = Api(settings)
    try:
        token, _ = await ask_token(api, settings)
        yield good(_PART, f"it takes AppID {settings.app} and its AppSecret")
        if settings.template is None:
            do = "Set VOXRELAY_WECHAT_TEMPLATE to tell users that a job has ended."
            yield absent("template", "no template is set", do)
        else:
            yield await _template(api, token, settings.template, settings.fields)
    except Refused as refused:
        yield _refused(refused.errcode)
    except Away as away:
        raise Unavailable(f"WeChat does not answer: {away}") from None
    finally:
        await api.close()


def _refused(code: int) -> Finding:
    do = _REMEDIES.get(code, "Look the number up among WeChat's return codes.")
    return bad(_PART, f"it refuses us: errcode {code}", do)


async def _template(api: Api, token: str, template: str, fields: str) -> Finding:
    said = await api.ask("GET", "/wxaapi/newtmpl/gettemplate", params={"access_token": token})
    if code := errcode(said):
        return _refused(code)
    content = _content(said, template)
    if content is None:
        do = "Choose it at mp.weixin.qq.com, Subscribe messages, and copy its id."
        return bad("template", "VOXRELAY_WECHAT_TEMPLATE is none of the mini-program's", do)
    theirs, ours = set(_FIELD.findall(content)), {name for name, _ in chosen(fields)}
    if theirs != ours:
        do = f"Set VOXRELAY_WECHAT_FIELDS to exactly {', '.join(sorted(theirs))}."
        return bad("template", f"our fields are {', '.join(sorted(ours))}", do)
    return good("template", f"it has our fields: {', '.join(sorted(ours))}")


def _content(said: dict[str, Any], template: str) -> str | None:
    for each in said.get("data", []):
        if isinstance(each, dict) and each.get("priTmplId") == template:
            return str(each.get("content", ""))
    return None
