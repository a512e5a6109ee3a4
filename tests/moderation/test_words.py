"""Hidden words are found; words that merely look alike are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.words import How, Lexicon, fold

EXACT, HOMOPHONE = How.EXACT, How.HOMOPHONE
LIST = Lexicon(["毒品", "赌博网站", "ass", "kill you", "加vx", "法轮功", "大力丸"])


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
    assert LIST.search(fold(text)) == found


def test_short_words_are_not_matched_by_sound() -> None:
    lexicon = Lexicon(["毒品", "赌博网站"], homophones_from=3)
    assert lexicon.search(fold("独品")) == set()
    assert lexicon.search(fold("堵博网站")) == {HOMOPHONE}


def test_an_empty_list_finds_nothing() -> None:
    assert Lexicon([]).search(fold("毒品")) == set()


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
