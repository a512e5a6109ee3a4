"""Figures, read aloud."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.kokoro import numbers


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("共3.14米", "共三点一四米"),
        ("2024年5月1日", "二零二四年五月一日"),
        ("2024-05-01", "二零二四年五月一日"),
        ("12:30出发", "十二点三十分出发"),
        ("8:05", "八点零五分"),
        ("9:00", "九点整"),
        ("占50%", "占百分之五十"),
        ("3/4", "四分之三"),
        ("¥1,299", "一千二百九十九元"),
        ("-5°C", "负五摄氏度"),
        ("3-5天", "三到五天"),
        ("13812345678", "幺三八幺二三四五六七八"),
        ("2个人", "两个人"),
        ("第2名", "第二名"),
        ("12个", "十二个"),
        ("10km", "十公里"),
        ("007", "零零七"),
        ("100000000", "一亿"),
        ("12345678901234567890", "一二三四五六七八九零一二三四五六七八九零"),
    ],
)
def test_mandarin(written: str, spoken: str) -> None:
    assert numbers.mandarin(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("3.14", "three point one four"),
        ("in 1999.", "in nineteen ninety nine."),
        ("in 2005", "in two thousand five"),
        ("in 2024", "in twenty twenty four"),
        ("1,250,000", "one million two hundred fifty thousand"),
        ("$3.50", "three dollars fifty"),
        ("$1", "one dollar"),
        ("the 21st", "the twenty first"),
        ("the 12th", "the twelfth"),
        ("the 30th", "the thirtieth"),
        ("7:05", "seven oh five"),
        ("9:00", "nine o'clock"),
        ("50%", "fifty percent"),
        ("-4", "minus four"),
        ("3-5", "three to five"),
        ("007", "zero zero seven"),
        ("A & B", "A and B"),
        ("voxrelay.com", "voxrelay dot com"),
        ("the end.Next", "the end.Next"),
    ],
)
def test_english(written: str, spoken: str) -> None:
    assert " ".join(numbers.english(written).split()) == spoken


@given(st.text(alphabet="0123456789.,:/-%$¥°CkmgAa年月日 第个+=&", max_size=30))
def test_no_figure_is_left_whatever_is_written(text: str) -> None:
    assert not re.search(r"\d", numbers.mandarin(text))
    assert not re.search(r"\d", numbers.english(text))
