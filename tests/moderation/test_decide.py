"""The verdict as tables: what is known of a prompt, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.decide import (
    Approve,
    Hold,
    Reject,
    Verdict,
    decide,
    decide_review,
    must_listen,
)
from moderation.hearing import Heard, Hearing, Sound
from moderation.policy import Action, load_policy, read_policy
from moderation.sentences import SENTENCES
from schemas.events import PromptUploaded, Reason, Recording

POLICY = load_policy()
SPOKEN = Sound(seconds=5, level=-15, floor=-70, clipped=0)
CLEAR = Hearing(
    text="今天天气很好",
    language="zh",
    language_probability=0.98,
    no_speech_prob=0.02,
    avg_logprob=-0.2,
    compression_ratio=0.9,
    seconds=5,
)
RECORDING = Recording(
    key="recording/p/1", sha256="00", seconds=5, sample_rate=16000, container="wav", codec="pcm"
)


def prompt(text: str = "你好", instruct: str | None = None) -> PromptUploaded:
    return PromptUploaded(text=text, instruct=instruct, recording=RECORDING, door="jobs")


def heard(**differs: object) -> Heard:
    return Heard(sound=SPOKEN, hearing=CLEAR.model_copy(update=differs))


def unheard(**differs: object) -> Heard:
    return Heard(sound=SPOKEN.model_copy(update=differs))


def fired(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [(reason.rule, reason.code, reason.where) for reason in verdict.reasons]


def test_a_clear_recording_and_a_harmless_text_are_approved() -> None:
    assert decide(prompt(), heard(), POLICY) == Approve(POLICY.digest)


@pytest.mark.parametrize(
    ("sound", "rules"),
    [
        ({"level": -120.0, "floor": -120.0}, ["silent", "too-quiet", "steady-noise"]),
        ({"level": -60.1}, ["silent", "too-quiet"]),
        ({"level": -50.1, "floor": -90.0}, ["too-quiet"]),
        ({"level": -50.0, "floor": -90.0}, []),
        ({"floor": -18.9}, ["steady-noise"]),
        ({"floor": -19.0}, []),
        ({"clipped": 0.051}, ["clipped"]),
        ({"clipped": 0.05}, []),
    ],
)
def test_sound(sound: dict[str, float], rules: list[str]) -> None:
    measured = SPOKEN.model_copy(update=sound)
    assert must_listen(measured, POLICY) is not bool(rules)
    verdict = decide(prompt(), Heard(sound=measured), POLICY)
    assert [rule for rule, _, _ in fired(verdict)] == rules
    assert isinstance(verdict, Reject if rules else Approve)


@pytest.mark.parametrize(
    ("hearing", "rules"),
    [
        ({"no_speech_prob": 0.9, "avg_logprob": -1.2}, ["nobody-speaks"]),
        ({"no_speech_prob": 0.9, "avg_logprob": -0.3}, []),
        ({"no_speech_prob": 0.1, "avg_logprob": -1.2}, []),
        ({"text": " ...！"}, ["nobody-speaks"]),
        ({"text": ""}, ["nobody-speaks"]),
        ({"compression_ratio": 2.5}, ["cannot-make-out"]),
        ({"compression_ratio": 2.4}, []),
        ({"avg_logprob": -1.6}, ["cannot-make-out"]),
        ({"language_probability": 0.01}, ["other-language"]),
        ({"language": "en", "text": "hello there"}, []),
    ],
)
def test_hearing(hearing: dict[str, object], rules: list[str]) -> None:
    verdict = decide(prompt(), heard(**hearing), POLICY)
    assert [rule for rule, _, _ in fired(verdict)] == rules
    assert isinstance(verdict, Reject if rules else Approve)


@pytest.mark.parametrize(
    ("text", "instruct", "said", "kind", "reasons"),
    [
        ("买卖毒品", None, "你好", Reject, [("drugs", "text_not_allowed", "text")]),
        ("你好", "买卖毒品", "你好", Reject, [("drugs", "instruct_not_allowed", "instruct")]),
        ("你好", None, "買賣毒品", Reject, [("drugs", "recording_not_allowed", "recording")]),
        ("麦卖读品", None, "你好", Hold, [("drugs", "text_not_allowed", "text")]),
        ("你好", None, "请你验证马发给我", Hold, [("fraud", "recording_not_allowed", "recording")]),
        (
            "转到安全账户",
            None,
            "I will kill you",
            Reject,
            [
                ("fraud", "text_not_allowed", "text"),
                ("threats", "recording_not_allowed", "recording"),
            ],
        ),
        ("skill your class", None, "assess", Approve, []),
    ],
)
def test_words(
    text: str, instruct: str | None, said: str, kind: type[Verdict], reasons: list[tuple[str, ...]]
) -> None:
    verdict = decide(prompt(text, instruct), heard(text=said), POLICY)
    assert (type(verdict), fired(verdict)) == (kind, reasons)


def test_a_silent_recording_does_not_hide_what_is_wrong_with_the_text() -> None:
    verdict = decide(prompt("买卖毒品"), unheard(level=-70.0, floor=-120.0), POLICY)
    assert [where for _, _, where in fired(verdict)] == ["recording", "recording", "text"]


def rule(kind: str, action: Action, id_: str) -> str:
    return f'[[rules]]\nid = "{id_}"\naction = "{action}"\nkind = {kind}\n'


HEAD = 'format = 1\nname = "t"\nversion = "1"\n'


def test_a_language_can_be_required() -> None:
    text = HEAD + rule('"language"\nallowed = ["zh", "en"]', Action.HOLD, "ours")
    policy = read_policy(text, Path())
    assert isinstance(decide(prompt(), heard(language="en"), policy), Approve)
    assert isinstance(decide(prompt(), heard(language="ja"), policy), Hold)


def test_a_rule_may_say_it_in_its_own_words_and_look_at_one_place_only() -> None:
    text = HEAD + rule(
        '"words"\nwords = ["甲"]\nwhere = ["text"]\ncode = "no_a"\n'
        'message.zh = "不"\nmessage.en = "no"',
        Action.NOTE,
        "a",
    )
    policy = read_policy(text, Path())
    verdict = decide(prompt("甲", instruct="甲"), heard(text="甲"), policy)
    assert verdict == Approve(
        policy.digest, (Reason(code="no_a", rule="a", where="text", message="不 / no"),)
    )


def test_a_sound_that_is_only_held_is_listened_to() -> None:
    policy = read_policy(HEAD + rule('"quiet"\nbelow = -40.0', Action.HOLD, "q"), Path())
    assert must_listen(SPOKEN.model_copy(update={"level": -45.0}), policy)


@given(st.lists(st.sampled_from(list(Action)), max_size=5))
def test_the_strictest_rule_decides_and_every_one_is_told(actions: list[Action]) -> None:
    rules = "".join(
        rule('"words"\nwords = ["甲"]\nwhere = ["text"]', action, f"r{n}")
        for n, action in enumerate(actions)
    )
    policy = read_policy(HEAD + (rules or "rules = []"), Path())
    verdict = decide(prompt("甲"), heard(), policy)
    kinds = {Action.NOTE: Approve, Action.HOLD: Hold, Action.REJECT: Reject}
    order = [Action.NOTE, Action.HOLD, Action.REJECT]
    assert type(verdict) is kinds[max(actions, key=order.index, default=Action.NOTE)]
    assert [reason.rule for reason in verdict.reasons] == [f"r{n}" for n in range(len(actions))]


@given(st.text(), st.text())
def test_a_verdict_repeats_nothing_that_was_said_and_is_the_same_again(
    text: str, said: str
) -> None:
    told = {reason.message for reason in decide(prompt(text), heard(text=said), POLICY).reasons}
    assert told <= {sentence.told() for sentence in SENTENCES.values()}
    assert decide(prompt(text), heard(text=said), POLICY) == decide(
        prompt(text), heard(text=said), POLICY
    )


def test_a_review_approves_what_was_held_and_keeps_why() -> None:
    held = decide(prompt("转到安全账户"), heard(), POLICY)
    assert isinstance(held, Hold)
    assert decide_review(True, held.reasons, "digest") == Approve("digest", held.reasons)


def test_a_review_that_rejects_says_so_after_the_rules() -> None:
    verdict = decide_review(False, (), "digest")
    assert isinstance(verdict, Reject)
    assert fired(verdict) == [("review", "review_rejected", "review")]
