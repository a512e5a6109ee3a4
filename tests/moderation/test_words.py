"""Hidden words are found; words that merely look alike are not."""

from __future__ import annotations

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypinyin.constants import PHRASES_DICT

from moderation.words import How, Lexicon, fold, simplified

PHRASES = list(PHRASES_DICT)
LONGEST = max(map(len, PHRASES))
EXACT, HOMOPHONE = How.EXACT, How.HOMOPHONE
WORDS = ["毒品", "赌博网站", "ass", "kill you", "加vx", "法轮功", "大力丸"]
LIST = Lexicon({"words": (WORDS, 2)})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("毒品", {EXACT}),
        ("这里有毒品卖", {EXACT}),
        ("毒 品", {EXACT}),
        ("毒-*品。", {EXACT}),
        ("毒\u200b品", {EXACT}),
        ("毒\u0301品", {EXACT}),
        ("賭博網站", {EXACT}),
        ("⼤⼒丸", {EXACT}),
        ("独品", {HOMOPHONE}),
        ("度品", {HOMOPHONE}),
        ("独 品", {HOMOPHONE}),
        ("毒品和独品", {EXACT, HOMOPHONE}),
        ("读书品茶", set()),
        ("读品", {HOMOPHONE}),
        ("消毒产品", set()),
        ("ass", {EXACT}),
        ("ａｓｓ", {EXACT}),
        ("A.S.S", {EXACT}),
        ("a s s", {EXACT}),
        ("äss", {EXACT}),
        ("class", set()),
        ("as sure as that", set()),
        ("pass it", set()),
        ("I will KILL   you!", {EXACT}),
        ("skill you have", set()),
        ("加VX聊", {EXACT}),
        ("加 v-x", {EXACT}),
        ("加vxz", set()),
        ("", set()),
        ("！？…", set()),
        ("\0毒\0品", {EXACT}),
        ("𠀀𠀁", set()),
    ],
)
def test_table(text: str, found: set[How]) -> None:
    assert LIST.search(fold(text)) == {("words", how) for how in found}


def test_short_words_are_not_matched_by_sound() -> None:
    lexicon = Lexicon({"long": (["毒品", "赌博网站"], 3)})
    assert lexicon.search(fold("独品")) == set()
    assert lexicon.search(fold("堵博网站")) == {("long", HOMOPHONE)}


def test_lists_are_told_apart_though_they_share_words_and_sounds() -> None:
    lexicon = Lexicon({"a": (["毒品", "ass"], 2), "b": (["独品"], 2), "c": (["毒品"], 3)})
    assert lexicon.search(fold("独品")) == {("a", HOMOPHONE), ("b", EXACT)}
    assert lexicon.search(fold("毒品")) == {("a", EXACT), ("b", HOMOPHONE), ("c", EXACT)}


def test_a_phrase_gives_its_characters_their_sounds() -> None:
    lexicon = Lexicon({"words": (["银航"], 2)})
    assert lexicon.search(fold("我去银行")) == {("words", HOMOPHONE)}
    assert lexicon.search(fold("银行动了")) == {("words", HOMOPHONE)}
    assert lexicon.search(fold("银色行人")) == set()
    assert Lexicon({"words": (["银形"], 2)}).search(fold("我去银行")) == set()


@given(
    st.lists(st.sampled_from([*PHRASES[:: len(PHRASES) // 500], *"行长乐重银的ab1"])).map("".join)
)
def test_the_longest_phrase_at_a_place_gives_the_sounds(text: str) -> None:
    pieces, rest = list[str](), text
    while rest:
        lengths = range(min(len(rest), LONGEST), 0, -1)
        pieces.append(next(rest[:n] for n in lengths if n == 1 or rest[:n] in PHRASES_DICT))
        rest = rest.removeprefix(pieces[-1])
    by_piece = "".join(fold(piece).sounds for piece in pieces)
    assert fold(text).sounds == by_piece


@pytest.mark.parametrize("char", ["瞭", "乾", "為", "后", "一", "目"])
def test_what_is_not_converted_has_nothing_to_convert(char: str) -> None:
    whole = opencc.OpenCC("t2s")
    for text in (char, f"一目{char}然", f"{char}坤", f"不{char}"):
        assert simplified(text) == whole.convert(text)


def test_an_empty_list_finds_nothing() -> None:
    assert Lexicon({"none": ([], 2)}).search(fold("毒品")) == set()
    assert Lexicon({}).search(fold("毒品")) == set()


@given(st.text())
def test_every_text_folds_and_keeps_its_places(text: str) -> None:
    folded = fold(text)
    assert len(folded.chars) == len(folded.at) == len(folded.sounds)
    assert list(folded.at) == sorted(set(folded.at))
    LIST.search(folded)


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(" .-_*·、。！\u200b\ufeff\t\n'"), min_size=3, max_size=3),
    st.sampled_from(["法轮功", "法輪功", "法轮工"]),
)
def test_marks_in_between_hide_nothing(marks: list[str], word: str) -> None:
    hidden = "".join(char + mark for char, mark in zip(word, marks, strict=True))
    assert LIST.search(fold(f"你好{hidden}再见"))
