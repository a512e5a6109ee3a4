"""Preset styles: what a user may pick instead of writing an instruction.

Knows each style's names, its wording for an engine, and its pace: one table for whoever offers them
and whoever speaks them. Refuses to know engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a style changes."""

    EMOTION = "emotion"
    MANNER = "manner"
    PACE = "pace"
    VOLUME = "volume"
    DIALECT = "dialect"


@dataclass(frozen=True, slots=True)
class Style:
    """One preset. `instruct` is said to the engine; `speed` multiplies the speed asked for."""

    id: str
    zh: str
    en: str
    kind: Kind
    instruct: str
    speed: float = 1.0


_DIALECTS = (
    ("cantonese", "广东话", "Cantonese"),
    ("northeastern", "东北话", "Northeastern"),
    ("gansu", "甘肃话", "Gansu"),
    ("guizhou", "贵州话", "Guizhou"),
    ("henan", "河南话", "Henan"),
    ("hubei", "湖北话", "Hubei"),
    ("hunan", "湖南话", "Hunan"),
    ("jiangxi", "江西话", "Jiangxi"),
    ("minnan", "闽南话", "Minnan"),
    ("ningxia", "宁夏话", "Ningxia"),
    ("shanxi", "山西话", "Shanxi"),
    ("shaanxi", "陕西话", "Shaanxi"),
    ("shandong", "山东话", "Shandong"),
    ("shanghai", "上海话", "Shanghainese"),
    ("sichuan", "四川话", "Sichuan"),
    ("tianjin", "天津话", "Tianjin"),
    ("yunnan", "云南话", "Yunnan"),
)

STYLES: tuple[Style, ...] = (
    Style("excited", "兴奋", "Excited", Kind.EMOTION, "请用兴奋的语气说。", 1.08),
    Style("happy", "开心", "Happy", Kind.EMOTION, "请非常开心地说一句话。", 1.04),
    Style("sad", "悲伤", "Sad", Kind.EMOTION, "请非常伤心地说一句话。", 0.9),
    Style("angry", "生气", "Angry", Kind.EMOTION, "请非常生气地说一句话。", 1.04),
    Style("gentle", "温柔", "Gentle", Kind.MANNER, "请用温柔的语气说。", 0.94),
    Style("serious", "严肃", "Serious", Kind.MANNER, "请用严肃的语气说。", 0.96),
    Style("calm", "平静", "Calm", Kind.MANNER, "请用平静的语气说。"),
    Style("affectionate", "深情", "Affectionate", Kind.MANNER, "请用深情的语气说。", 0.92),
    Style("mysterious", "神秘", "Mysterious", Kind.MANNER, "请用神秘的语气说。", 0.92),
    Style("newsreader", "播报", "Newsreader", Kind.MANNER, "请用新闻播报的语气说。", 1.04),
    Style("storyteller", "讲故事", "Storyteller", Kind.MANNER, "请用讲故事的语气说。", 0.95),
    Style("fast", "快速", "Fast", Kind.PACE, "请用尽可能快地语速说一句话。", 1.15),
    Style("slow", "慢速", "Slow", Kind.PACE, "请用尽可能慢地语速说一句话。", 0.85),
    Style("loud", "大声", "Loud", Kind.VOLUME, "请用大一点的音量说。"),
    Style("soft", "小声", "Soft", Kind.VOLUME, "请用小一点的音量说。"),
    *(Style(id_, zh, en, Kind.DIALECT, f"请用{zh}表达。") for id_, zh, en in _DIALECTS),
)

BY_NAME: Mapping[str, Style] = {
    name.lower(): style for style in STYLES for name in (style.id, style.zh, style.en)
}
