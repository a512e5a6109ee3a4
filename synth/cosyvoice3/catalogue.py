"""Instructions the model was trained to follow, by Chinese and English names.

The words of each entry are the ones of its training: a paraphrase works less well. Free text is
allowed beside them. Knows nothing of how an instruction is spoken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from . import marks
from .errors import Refused


class Kind(StrEnum):
    """What an instruction changes."""

    DIALECT = "dialect"
    EMOTION = "emotion"
    SPEED = "speed"
    VOLUME = "volume"
    CHARACTER = "character"


@dataclass(frozen=True)
class Instruction:
    """``name`` is stable and English, ``chinese`` what a Chinese user reads, ``words`` what the
    model is told."""

    kind: Kind
    name: str
    chinese: str
    words: str


_DIALECTS = {
    "cantonese": "广东话",
    "northeastern": "东北话",
    "gansu": "甘肃话",
    "guizhou": "贵州话",
    "henan": "河南话",
    "hubei": "湖北话",
    "hunan": "湖南话",
    "jiangxi": "江西话",
    "minnan": "闽南话",
    "ningxia": "宁夏话",
    "shanxi": "山西话",
    "shaanxi": "陕西话",
    "shandong": "山东话",
    "shanghai": "上海话",
    "sichuan": "四川话",
    "tianjin": "天津话",
    "yunnan": "云南话",
}

DIALECTS = tuple(
    Instruction(Kind.DIALECT, name, chinese, f"请用{chinese}表达。")
    for name, chinese in _DIALECTS.items()
)
OTHERS = (
    Instruction(Kind.EMOTION, "happy", "开心", "请非常开心地说一句话。"),
    Instruction(Kind.EMOTION, "sad", "伤心", "请非常伤心地说一句话。"),
    Instruction(Kind.EMOTION, "angry", "生气", "请非常生气地说一句话。"),
    Instruction(Kind.SPEED, "slow", "慢速", "请用尽可能慢地语速说一句话。"),
    Instruction(Kind.SPEED, "fast", "快速", "请用尽可能快地语速说一句话。"),
    Instruction(Kind.VOLUME, "loud", "大声", "Please say a sentence as loudly as possible."),
    Instruction(Kind.VOLUME, "soft", "轻声", "Please say a sentence in a very soft voice."),
    Instruction(Kind.CHARACTER, "peppa", "小猪佩奇", "我想体验一下小猪佩奇风格，可以吗？"),
    Instruction(Kind.CHARACTER, "robot", "机器人", "你可以尝试用机器人的方式解答吗？"),
)
CATALOGUE = DIALECTS + OTHERS

SYSTEM = "You are a helpful assistant."


def find(name: str) -> Instruction | None:
    """The entry of that name in either language (``广东`` serves for ``广东话``), or None."""
    wanted = name.strip().lower()
    for entry in CATALOGUE:
        if wanted in {entry.name, entry.chinese, entry.chinese.removesuffix("话")}:
            return entry
    return None


def words(instruct: str) -> str:
    """What the model is told: the words of an entry named so, else the text itself.

    Refused if nothing is said, or if control words of the model are in it.
    """
    text = instruct.strip()
    if not text:
        raise Refused("instruct_missing", "the instruction is empty")
    if "<|" in text:
        raise Refused("text_unreadable", "an instruction cannot hold control words")
    entry = find(text)
    if entry:
        return entry.words
    return text if text[-1] in "。.!！?？" else text + "。"


def prompt_text(transcript: str, instruct: str | None) -> str:
    """The text before the text: who speaks how, and what the recording says."""
    told = f" {words(instruct)}" if instruct is not None else ""
    return f"{SYSTEM}{told}{marks.END_OF_PROMPT}{transcript}"
