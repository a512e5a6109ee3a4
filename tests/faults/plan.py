"""What is broken when: drawn from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STAGES = ("ingest", "moderation", "synth", "delivery")
ZOMBIE_SECONDS = 14.0
"""Longer than a session lasts, so that somebody else has taken over when it comes back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """After `wait` seconds `how` happens to `targets`, together, for `lasts` seconds.

    `kill` is SIGKILL, and a start again after `lasts`; `freeze` SIGSTOP, then SIGCONT.
    """

    wait: float
    how: str
    targets: tuple[str, ...]
    lasts: float

    @property
    def kills(self) -> int:
        """How many processes it ends; a freeze counts as one, its partitions are taken away."""
        return len(self.targets)


def plan(seed: int, kills: int, servers: Sequence[str]) -> Iterator[Fault]:
    """Faults of at least `kills` kills in all; `servers` may be hit too, and seldom are."""
    draw = random.Random(seed)
    done = 0
    while done < kills:
        fault = _fault(draw, servers)
        done += fault.kills
        yield fault


def _fault(draw: random.Random, servers: Sequence[str]) -> Fault:
    wait = draw.uniform(0.2, 1.5)
    dice = draw.random()
    if dice < 0.06 and servers:
        return Fault(wait, "kill", (draw.choice(servers),), draw.uniform(0.0, 3.0))
    if dice < 0.12:
        return Fault(wait, "freeze", (draw.choice(STAGES[1:]),), ZOMBIE_SECONDS)
    if dice < 0.27:
        several = tuple(draw.sample(STAGES, draw.randint(2, len(STAGES))))
        return Fault(wait, "kill", several, draw.uniform(0.0, 1.0))
    return Fault(wait, "kill", (draw.choice(STAGES),), draw.uniform(0.0, 0.5))
