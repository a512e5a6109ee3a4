"""What a subscribe message says: fields of a template, each within WeChat's limits.

Pure. Refuses to know tokens and receivers. Nothing in it was written by a user.
Source: developers.weixin.qq.com, subscribeMessage.send, limits of values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone

from relay.errors import Misconfigured
from relay.notices import Ending
from schemas.states import State

LIMITS: Mapping[str, int] = {
    "thing": 20,
    "phrase": 5,
    "character_string": 32,
    "time": 32,
    "date": 32,
    "name": 10,
}
"""Characters of each kind of field that we have something for."""
_FIELD = re.compile(r"([a-z_]+?)(\d{1,3})")
_WORDS: Mapping[State, str] = {
    State.DELIVERED: "已完成",
    State.REJECTED: "未通过",
    State.FAILED: "未成功",
}
_NOTES: Mapping[State, str] = {
    State.DELIVERED: "点击收听，本音频由人工智能合成",
    State.REJECTED: "点击查看原因，修改后可重新提交",
    State.FAILED: "合成没有成功，请重新提交",
}
_BEIJING = timezone(timedelta(hours=8))
FACTS = ("what", "state", "ended", "job", "note")


def facts(ending: Ending) -> dict[str, str]:
    """What there is to say of a job that has ended."""
    return {
        "what": "语音合成",
        "state": _WORDS[ending.state],
        "ended": ending.at.astimezone(_BEIJING).strftime("%Y-%m-%d %H:%M"),
        "job": ending.job.hex,
        "note": _NOTES[ending.state],
    }


def chosen(spelled: str) -> Sequence[tuple[str, str]]:
    """The template's fields, and the fact in each; `Misconfigured` where there is no such one."""
    pairs = []
    for each in filter(None, (part.strip() for part in spelled.split(","))):
        name, _, fact = each.partition("=")
        kind = _FIELD.fullmatch(name)
        if kind is None or kind[1] not in LIMITS or fact not in FACTS:
            raise Misconfigured(
                f"VOXRELAY_WECHAT_FIELDS: {each!r} is none; write a field such as thing1, and one "
                f"of {', '.join(FACTS)}: thing1=what,phrase2=state"
            )
        pairs.append((name, fact))
    return pairs


def data(ending: Ending, fields: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """The message's `data`: every value short enough for its field."""
    said = facts(ending)
    return {name: {"value": fitted(name, said[fact])} for name, fact in fields}


def fitted(name: str, value: str) -> str:
    """`value`, cut to what a field of that name may hold."""
    limit = LIMITS[name.rstrip("0123456789")]
    return value if len(value) <= limit else f"{value[: limit - 1]}…"
