"""What is broken when: drawn from a seed, so that a run can be repeated. Pure.

A target is a process (`synth-2`), a server (`kafka`), or an instant (`synth.sent`): whoever passes
that one next.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.instants import (
    ACCEPTED,
    INSTANTS,
    KEPT,
    MID_WINDOW,
    OBJECT_AFTER,
    OBJECT_BEFORE,
    REBALANCES,
    SENT,
    STAGES,
    VIEWED,
    instant,
)

LONGER = 4.0
"""Seconds beyond a session, after which somebody else has taken over from a zombie."""


@dataclass(frozen=True, slots=True)
class Fault:
    """After `wait` seconds `how` happens to `targets`, together, for `lasts` seconds.

    `kill` is SIGKILL, and a start again after `lasts`; `freeze` SIGSTOP, then SIGCONT. `restart` is
    SIGTERM, a clean end and a start again, of one after another. `fence` takes every partition of
    a stage away from its holder, twice, and gives it to nobody else.
    """

    wait: float
    how: str
    targets: tuple[str, ...]
    lasts: float = 0.0
    passage: int = 1
    """The how manieth passing of an instant it is."""

    @property
    def kills(self) -> int:
        """How many processes it ends; a freeze counts as one, its partitions are taken away."""
        return len(self.targets) if self.how in ("kill", "freeze") else 0


def plan(
    seed: int, kills: int, processes: Sequence[str], servers: Sequence[str], session: float
) -> Iterator[Fault]:
    """Faults of at least `kills` kills in all; `servers` may be hit too, and seldom are."""
    draw = random.Random(seed)
    done = 0
    while done < kills:
        fault = _fault(draw, processes, servers, session + LONGER)
        done += fault.kills
        yield fault


def _fault(
    draw: random.Random, processes: Sequence[str], servers: Sequence[str], long: float
) -> Fault:
    wait = draw.uniform(0.2, 1.5)
    dice = draw.random()
    if dice < 0.05 and servers:
        return Fault(wait, "kill", (draw.choice(servers),), draw.uniform(0.0, 3.0))
    if dice < 0.08:
        return Fault(wait, "freeze", (draw.choice(processes),), long)
    if dice < 0.10:
        held = draw.choice((SENT, KEPT))
        return Fault(wait, "freeze", (instant(draw.choice(STAGES), held),), long)
    if dice < 0.13:
        return Fault(wait, "fence", (draw.choice(STAGES),))
    if dice < 0.15:
        return Fault(wait, "restart", tuple(processes))
    if dice < 0.30:
        several = tuple(draw.sample(processes, draw.randint(2, len(processes))))
        return Fault(wait, "kill", several, draw.uniform(0.0, 1.0))
    if dice < 0.65:
        stages = draw.sample(STAGES, draw.randint(1, 2))
        targets = tuple(instant(stage, draw.choice(INSTANTS[stage])) for stage in stages)
        return Fault(wait, "kill", targets, draw.uniform(0.0, 0.5), draw.randint(1, 2))
    return Fault(wait, "kill", (draw.choice(processes),), draw.uniform(0.0, 0.5))


def every_instant(processes: Sequence[str], session: float) -> Iterator[Fault]:
    """A kill at each instant there is, two of each stage together; and each other fault once."""
    for pair in ((0, 1), (2, 3), (4, 5), (6, 7)):
        hit = [instant(s, points[n]) for s, points in INSTANTS.items() for n in pair if points[n:]]
        yield Fault(0.2, "kill", tuple(hit))
    yield Fault(0.2, "freeze", tuple(instant(stage, SENT) for stage in STAGES), session + LONGER)
    yield Fault(0.2, "fence", STAGES)
    yield Fault(0.2, "restart", tuple(processes))


SHORT = (
    (instant("ingest", ACCEPTED), instant("moderation", MID_WINDOW)),
    (instant("synth", OBJECT_AFTER), instant("delivery", SENT)),
    (instant("ingest", VIEWED), instant("moderation", KEPT), instant("synth", OBJECT_BEFORE)),
)
"""Every point at which answers could be lost or doubled, in one stage or another."""


def short(session: float) -> Iterator[Fault]:
    """What fits beside other tests: the kills of `SHORT`, a zombie, and every claim taken away."""
    for targets in SHORT:
        yield Fault(0.2, "kill", targets)
    yield Fault(0.2, "freeze", (instant("synth", SENT),), session + LONGER)
    yield Fault(0.2, "fence", STAGES)


def rebalances(target: str) -> bool:
    """Whether `target` is an instant that comes only where members of a group come and go."""
    return target.partition(".")[2] in REBALANCES
