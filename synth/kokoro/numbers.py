"""Numbers, signs and units as words, in Mandarin and in English.

Knows how figures are read aloud. Refuses to know phonemes and voices.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import cn2an

_DIGITS = "零一二三四五六七八九"
_UNITS = {
    "km": "公里",
    "kg": "公斤",
    "cm": "厘米",
    "mm": "毫米",
    "ml": "毫升",
    "m": "米",
    "g": "克",
    "°C": "摄氏度",
    "°": "度",
}
_MEASURES = "个只条天年次位本张件种块杯台双家遍名颗棵座所层辆"
_NUMBER = r"\d+(?:\.\d+)?"
_ENDING = r"\.(?=(?:com|cn|net|org|io|ai|app|dev|edu|gov|co|js|py|txt|pdf|docx?|jpg|png|mp[34])\b)"
"""The dot of an address or a file, which is said."""
_LONGEST = 13
"""Figures of more digits than this are read one by one."""


def mandarin(text: str) -> str:
    """`text` without a figure in it: dates, times, money, shares, telephone numbers, the rest."""
    for pattern, spoken in _MANDARIN:
        text = pattern.sub(spoken, text)
    return text


def english(text: str) -> str:
    """`text` without a figure in it, read the American way."""
    for pattern, spoken in _ENGLISH:
        text = pattern.sub(spoken, text)
    return text


def _one_by_one(digits: str, one: str = "一") -> str:
    return "".join(_DIGITS[int(d)] for d in digits).replace("一", one)


def _cardinal(figure: str) -> str:
    whole, _, decimals = figure.partition(".")
    read = _one_by_one(whole) if _is_code(whole) else str(cn2an.an2cn(str(int(whole)), "low"))
    return f"{read}点{_one_by_one(decimals)}" if decimals else read


def _is_code(whole: str) -> bool:
    return len(whole) > _LONGEST or (len(whole) > 1 and whole.startswith("0"))


def _clock(m: re.Match[str]) -> str:
    hour, minute, second = m[1], m[2], m[3]
    minutes = "整" if int(minute) == 0 and not second else f"{_minute(minute)}分"
    return f"{_cardinal(str(int(hour)))}点{minutes}" + (f"{_minute(second)}秒" if second else "")


def _minute(digits: str) -> str:
    return ("零" if digits.startswith("0") else "") + _cardinal(str(int(digits)))


def _few(m: re.Match[str]) -> str:
    return "两" + m[1]


def _date(m: re.Match[str]) -> str:
    return f"{_one_by_one(m[1])}年{_cardinal(str(int(m[2])))}月{_cardinal(str(int(m[3])))}日"


def _mandarin_rules() -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
    units = "|".join(_UNITS)
    return [
        (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), lambda m: ""),
        (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), _date),
        (re.compile(r"(?<!\d)(\d{4})(?=年)"), lambda m: _one_by_one(m[1])),
        (re.compile(r"(?<!\d)([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?!\d)"), _clock),
        (
            re.compile(r"(?<![\d.])(1[3-9]\d{9}|0\d{2,3}-?\d{7,8}|400-?\d{3}-?\d{4})(?![\d.])"),
            lambda m: _one_by_one(m[1].replace("-", ""), one="幺"),
        ),
        (re.compile(rf"({_NUMBER})\s*[-~–—]\s*(?={_NUMBER})"), lambda m: f"{m[1]}到"),
        (re.compile(rf"({_NUMBER})%"), lambda m: f"百分之{_cardinal(m[1])}"),
        (
            re.compile(r"(?<!\d)(\d+)/(\d+)(?!\d)"),
            lambda m: f"{_cardinal(m[2])}分之{_cardinal(m[1])}",
        ),
        (re.compile(rf"¥\s*({_NUMBER})"), lambda m: f"{_cardinal(m[1])}元"),
        (re.compile(rf"\$\s*({_NUMBER})"), lambda m: f"{_cardinal(m[1])}美元"),
        (re.compile(rf"(?<=\d)\s*({units})(?![A-Za-z])"), lambda m: _UNITS[m[1]]),
        (re.compile(rf"(?<![\d.第A-Za-z])2(?=([{_MEASURES}]))"), lambda m: "两"),
        (re.compile(rf"(?<![\w)])-(?={_NUMBER})"), lambda m: "负"),
        (re.compile(_NUMBER), lambda m: _cardinal(m[0])),
        (re.compile(_ENDING), lambda m: "点"),
        (re.compile(r"\s*&\s*"), lambda m: "和"),
        (re.compile(r"\s*\+\s*"), lambda m: "加"),
        (re.compile(r"\s*=\s*"), lambda m: "等于"),
    ]


_UNITS_AND_TEENS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_DECADES = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL, _TENS = _UNITS_AND_TEENS.split(), _DECADES.split()
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def _words(n: int) -> str:
    for scale, name in _SCALES:
        if n >= scale:
            rest = f" {_words(n % scale)}" if n % scale else ""
            return f"{_words(n // scale)} {name}{rest}"
    if n >= 100:
        return f"{_SMALL[n // 100]} hundred" + (f" {_words(n % 100)}" if n % 100 else "")
    if n >= 20:
        return _TENS[n // 10] + (f" {_SMALL[n % 10]}" if n % 10 else "")
    return _SMALL[n]


def _spelled(digits: str) -> str:
    return " ".join(_SMALL[int(d)] for d in digits)


def _figure(figure: str) -> str:
    whole, _, decimals = figure.partition(".")
    read = _spelled(whole) if _is_code(whole) else _words(int(whole))
    return f"{read} point {_spelled(decimals)}" if decimals else read


def _year(m: re.Match[str]) -> str:
    high, low = divmod(int(m[0]), 100)
    if low == 0:
        return f"{_words(high)} hundred"
    return f"{_words(high)} {'oh ' if low < 10 else ''}{_words(low)}"


def _ordinal(m: re.Match[str]) -> str:
    *head, last = _words(int(m[1])).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = (last[:-1] + "ie" if last.endswith("y") else last) + "th"
    return " ".join([*head, last])


def _money(m: re.Match[str]) -> str:
    one = "dollar" if m[1] == "$" else {"£": "pound", "€": "euro", "¥": "yuan"}[m[1]]
    many = one if m[2] == "1" or one == "yuan" else f"{one}s"
    whole, _, cents = m[2].partition(".")
    if len(cents) == 2 and one != "yuan":
        return f"{_figure(whole)} {many}" + (f" {_words(int(cents))}" if int(cents) else "")
    return f"{_figure(m[2])} {many}"


def _time(m: re.Match[str]) -> str:
    hour, minute = _words(int(m[1])), int(m[2])
    if minute == 0:
        return f"{hour} o'clock"
    return f"{hour} {'oh ' if minute < 10 else ''}{_words(minute)}"


def _english_rules() -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
    return [
        (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), lambda m: ""),
        (re.compile(r"(?<!\d)([01]?\d|2[0-4]):([0-5]\d)(?!\d)"), _time),
        (re.compile(r"(?<!\d)(\d{1,12})(?:st|nd|rd|th)\b"), _ordinal),
        (re.compile(rf"([$£€¥])\s*({_NUMBER})"), _money),
        (re.compile(rf"({_NUMBER})%"), lambda m: f"{_figure(m[1])} percent"),
        (re.compile(rf"({_NUMBER})\s*[-–—]\s*(?={_NUMBER})"), lambda m: f"{m[1]} to "),
        (re.compile(r"(?<![\d.$])(?:1[1-9]\d\d|20[1-9]\d)(?!\.?\d|\s*percent)"), _year),
        (re.compile(rf"(?<![\w)])-(?={_NUMBER})"), lambda m: "minus "),
        (re.compile(rf"\s*({_NUMBER})\s*"), lambda m: f" {_figure(m[1])} "),
        (re.compile(_ENDING), lambda m: " dot "),
        (re.compile(r"\s*&\s*"), lambda m: " and "),
        (re.compile(r"\s*\+\s*"), lambda m: " plus "),
        (re.compile(r"\s*=\s*"), lambda m: " equals "),
        (re.compile(r"\s*@\s*"), lambda m: " at "),
    ]


_MANDARIN = _mandarin_rules()
_ENGLISH = _english_rules()
