"""What would be judged otherwise: recorded verdicts against new ones, counted by kind and by rule.

Pure: values in, a tally out. Refuses to know logs, stores and who asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moderation.decide import Approve, Hold, decide, must_listen
from moderation.decide import Verdict as Judgement
from moderation.hearing import Heard
from moderation.policy import Policy
from schemas.events import Prompt, Reason, Verdict
from schemas.states import State

EXAMPLES = 5
"""Of each change."""

Fired = tuple[str, str]
"""A rule, and where it fired."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """Where a prompt goes, and for which rules."""

    state: State
    fired: frozenset[Fired]


@dataclass(frozen=True, slots=True)
class Change:
    """A prompt that would be judged otherwise. `cause` is `policy`, `code` or `unknown`."""

    job: str
    before: Ruling
    after: Ruling
    cause: str

    @property
    def told(self) -> dict[str, Any]:
        """The change as JSON."""
        return {
            "job": self.job,
            "from": self.before.state.value,
            "to": self.after.state.value,
            "appears": sorted(map(list, self.after.fired - self.before.fired)),
            "vanishes": sorted(map(list, self.before.fired - self.after.fired)),
            "cause": self.cause,
        }


class Unheard(Exception):
    """The policy needs to hear a recording that nobody listened to then."""


def recorded(state: State, verdict: Verdict) -> Ruling:
    """The ruling in an event."""
    return Ruling(state, _fired(verdict.reasons))


def again(prompt: Prompt, heard: Heard, policy: Policy, *, as_then: bool = False) -> Ruling:
    """The ruling of today's code under `policy` on what was recorded; `Unheard` where it cannot.

    A recording that `policy` rejects by its sound is not listened to; `as_then` is for the policy
    that was in force, which had what is recorded before it and nothing else.
    """
    listens = must_listen(heard.sound, policy)
    if listens and heard.hearing is None:
        raise Unheard
    known = heard if as_then or listens else Heard(sound=heard.sound)
    judgement = decide(prompt, known, policy)
    return Ruling(_state(judgement), _fired(judgement.reasons))


def _state(judgement: Judgement) -> State:
    if isinstance(judgement, Approve):
        return State.APPROVED
    return State.HELD if isinstance(judgement, Hold) else State.REJECTED


def _fired(reasons: tuple[Reason, ...]) -> frozenset[Fired]:
    return frozenset((reason.rule, reason.where) for reason in reasons)


@dataclass(slots=True)
class Tally:
    """What a replay has found so far; small, however much it reads."""

    judged: int = 0
    changed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Prompts that could not be judged again, by why."""
    moves: Counter[str] = field(default_factory=Counter)
    appears: Counter[str] = field(default_factory=Counter)
    vanishes: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    code: Counter[str] = field(default_factory=Counter)
    """Prompts by the version of the code that judged them."""
    ears: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def saw(self, verdict: Verdict, change: Change | None) -> None:
        """Count one prompt that was judged again."""
        self.judged += 1
        self.code[verdict.code_version] += 1
        self.ears[verdict.hearing_digest] += 1
        if change is None:
            return
        told = change.told
        move = f"{told['from']} -> {told['to']}"
        self.changed += 1
        self.moves[move] += 1
        self.causes[change.cause] += 1
        self.appears.update({rule for rule, _ in told["appears"]})
        self.vanishes.update({rule for rule, _ in told["vanishes"]})
        shown = self.examples.setdefault(move, [])
        if len(shown) < EXAMPLES:
            shown.append(told)

    @property
    def told(self) -> dict[str, Any]:
        """The tally as JSON; `restored` reads it back."""
        return {
            name: dict(value) if isinstance(value, Counter) else value
            for name in self.__slots__
            for value in (getattr(self, name),)
        }


def restored(told: Mapping[str, Any]) -> Tally:
    """The tally that `told` spells."""
    tally = Tally()
    for name, value in told.items():
        setattr(tally, name, Counter(value) if name in _COUNTERS else value)
    return tally


_COUNTERS = frozenset({"left_out", "moves", "appears", "vanishes", "causes", "code", "ears"})
