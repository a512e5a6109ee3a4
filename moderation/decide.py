"""Judge a prompt: values in, verdict out.

Knows what each kind of rule means. Refuses to know clocks, networks, models and stores: the same
values give the same verdict, now and when it is judged again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from moderation.hearing import Heard, Hearing, Sound
from moderation.policy import (
    Action,
    Clipped,
    Language,
    NoSpeech,
    Policy,
    Quiet,
    Rule,
    SoundRule,
    Steady,
    Unclear,
    Where,
    Words,
)
from moderation.sentences import SENTENCES, Sentence
from moderation.words import Folded, How, fold
from schemas.events import Prompt, Reason


@dataclass(frozen=True, slots=True)
class Approve:
    """Let it through; `reasons` are remarks only."""

    policy_digest: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A person has to decide."""

    policy_digest: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """Turn it down."""

    policy_digest: str
    reasons: tuple[Reason, ...]


Verdict = Approve | Hold | Reject
Fired = tuple[Action, Reason]
Found = Mapping[str, Set[tuple[Where, How]]]
"""Where words were found, and how: by the id of their rule, if they were."""


def must_listen(sound: Sound, policy: Policy) -> bool:
    """Whether the ear is worth asking: not where the sound alone already has to be rejected."""
    return not any(
        rule.action is Action.REJECT and _sounds_wrong(rule, sound)
        for rule in policy.rules
        if isinstance(rule, SoundRule)
    )


def decide(prompt: Prompt, heard: Heard, policy: Policy) -> Verdict:
    """The verdict on `prompt`, with every rule that fired, in the policy's order."""
    said = {
        Where.TEXT: fold(prompt.text),
        Where.INSTRUCT: fold(prompt.instruct or ""),
        Where.RECORDING: fold(heard.hearing.text if heard.hearing else ""),
    }
    found = _found(said, policy)
    return _strictest(
        (fired for rule in policy.rules for fired in _apply(rule, heard, said, found)),
        policy.digest,
    )


def decide_review(approved: bool, reasons: tuple[Reason, ...], policy_digest: str) -> Verdict:
    """The verdict of a person on what was held for `reasons` under that policy."""
    if approved:
        return Approve(policy_digest, reasons)
    sentence = SENTENCES["review_rejected"]
    review = Reason(code="review_rejected", rule="review", where="review", message=sentence.told())
    return Reject(policy_digest, (*reasons, review))


def _found(said: Mapping[Where, Folded], policy: Policy) -> Found:
    found = defaultdict[str, set[tuple[Where, How]]](set)
    for where, text in said.items():
        for rule, how in policy.lexicon.search(text):
            found[rule].add((where, how))
    return found


def _strictest(fired: Iterable[Fired], digest: str) -> Verdict:
    pairs = list(fired)
    actions = {action for action, _ in pairs}
    reasons = tuple(reason for _, reason in pairs)
    if Action.REJECT in actions:
        return Reject(digest, reasons)
    if Action.HOLD in actions:
        return Hold(digest, reasons)
    return Approve(digest, reasons)


def _apply(rule: Rule, heard: Heard, said: Mapping[Where, Folded], found: Found) -> Iterator[Fired]:
    if isinstance(rule, Words):
        if rule.id in found:
            yield from _words(rule, found[rule.id])
    elif isinstance(rule, SoundRule):
        if _sounds_wrong(rule, heard.sound):
            yield rule.action, _reason(rule, _CODES[type(rule)], Where.RECORDING)
    elif heard.hearing and _heard_wrong(rule, heard.hearing, said[Where.RECORDING]):
        yield rule.action, _reason(rule, _CODES[type(rule)], Where.RECORDING)


def _sounds_wrong(rule: SoundRule, sound: Sound) -> bool:
    match rule:
        case Quiet():
            return sound.level < rule.below
        case Steady():
            return sound.range < rule.below
        case Clipped():
            return sound.clipped > rule.above


def _heard_wrong(rule: NoSpeech | Unclear | Language, hearing: Hearing, said: Folded) -> bool:
    match rule:
        case NoSpeech():
            silent = hearing.no_speech_prob > rule.above
            return not said.chars or (silent and hearing.avg_logprob < rule.unsure_below)
        case Unclear():
            repeats = hearing.compression_ratio > rule.repetition_above
            return repeats or hearing.avg_logprob < rule.unsure_below
        case Language():
            foreign = bool(rule.allowed) and hearing.language not in rule.allowed
            return foreign or hearing.language_probability < rule.unlikely_below


def _words(rule: Words, found: Set[tuple[Where, How]]) -> Iterator[Fired]:
    for where in rule.where:
        if (where, How.EXACT) in found:
            yield rule.action, _reason(rule, f"{where.value}_not_allowed", where)
        elif (where, How.HOMOPHONE) in found and rule.homophones != "off":
            yield rule.homophones, _reason(rule, f"{where.value}_not_allowed", where)


_CODES: dict[type[Rule], str] = {
    Quiet: "recording_too_quiet",
    Steady: "recording_noise",
    Clipped: "recording_clipped",
    NoSpeech: "recording_no_speech",
    Unclear: "recording_unclear",
    Language: "recording_language",
}


def _reason(rule: Rule, code: str, where: Where) -> Reason:
    """Why, without a word of what was said: reasons are not sealed."""
    own = rule.message
    sentence = Sentence(own.zh, own.en) if own else SENTENCES[code]
    return Reason(code=rule.code or code, rule=rule.id, where=where.value, message=sentence.told())
