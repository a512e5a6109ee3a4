"""Preset styles."""

from __future__ import annotations

import pytest

from relay.errors import BadRecord
from schemas.styles import BY_NAME, STYLES, Kind
from synth.styles import find, resolve
from synth.voice import Mode


def test_names_are_unique_in_both_languages() -> None:
    assert len(BY_NAME) == len({n.lower() for s in STYLES for n in (s.id, s.zh, s.en)})
    for field in ("id", "zh", "en"):
        assert len({getattr(style, field) for style in STYLES}) == len(STYLES)


def test_the_seventeen_dialects_are_there_in_the_words_the_model_knows() -> None:
    dialects = [style for style in STYLES if style.kind is Kind.DIALECT]
    assert len(dialects) == 17
    assert find("广东话").instruct == "请用广东话表达。"


@pytest.mark.parametrize("name", ["gentle", "温柔", "Gentle", " GENTLE "])
def test_a_style_is_found_by_any_of_its_names(name: str) -> None:
    assert find(name).id == "gentle"


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(BadRecord) as refused:
        resolve(Mode.ZERO_SHOT, None, "grumpy", 1.0)
    assert refused.value.code == "unknown_style"


def test_no_style_changes_nothing() -> None:
    for style in (None, "", " "):
        wish = resolve(Mode.ZERO_SHOT, None, style, 1.2)
        assert (wish.mode, wish.instruct, wish.style, wish.speed) == (
            Mode.ZERO_SHOT,
            None,
            None,
            1.2,
        )


def test_a_style_is_an_instruction_ahead_of_the_users_own() -> None:
    wish = resolve(Mode.ZERO_SHOT, "慢一点。", "四川话", 1.0)
    assert wish.mode is Mode.INSTRUCT
    assert wish.instruct == "请用四川话表达。慢一点。"
    assert resolve(Mode.CROSS_LINGUAL, None, "四川话", 1.0).mode is Mode.CROSS_LINGUAL


def test_pace_multiplies_and_stays_within_the_limits() -> None:
    assert resolve(Mode.INSTRUCT, "x", "slow", 1.0).speed == 0.85
    assert resolve(Mode.INSTRUCT, "x", "fast", 2.0).speed == 2.0
    assert resolve(Mode.INSTRUCT, "x", "slow", 0.5).speed == 0.5
