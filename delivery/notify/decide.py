"""What follows from a try to tell somebody: done, again later, or never again.

Pure: an outcome and what went before in, a verdict out. Refuses to know clocks and connections.
Source: the schedule that Standard Webhooks recommends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Before the second try, the third … ; after the last the notice is given up."""
JITTER = 0.2
"""So that what failed together is not tried together."""
_FIRST_REST, _LONGEST_REST = timedelta(seconds=5), timedelta(minutes=5)
GONE = 410
SOON = PAUSES[:3]
"""For what nobody wants to hear much later."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try went: the status that was answered, or what kept it from being asked."""

    code: str
    status: int | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the notice, and of the receiver.

    `again` from now, or None: it is done with. For `rest` the receiver is left alone with
    whatever else there is to tell. `disable` says why it is told nothing any more.
    """

    again: timedelta | None = None
    rest: timedelta | None = None
    disable: str | None = None


def later(tries: int, chance: float) -> timedelta | None:
    """How long to wait after try number `tries` of a message; None: it is given up."""
    return None if tries > len(SOON) else SOON[tries - 1] * (1 + JITTER * chance)


def judge(outcome: Outcome, tries: int, failures: int, chance: float) -> Verdict:
    """The verdict on try number `tries` (from 1) of a notice.

    `failures` are the receiver's in a row, this one included; `chance` is drawn from [0, 1).
    """
    if outcome.taken:
        return Verdict()
    if outcome.status == GONE:
        return Verdict(disable="gone")
    if tries > len(PAUSES):
        return Verdict(disable="failing" if failures > len(PAUSES) else None)
    rest = min(_FIRST_REST * 2 ** min(failures - 1, 10), _LONGEST_REST)
    return Verdict(again=PAUSES[tries - 1] * (1 + JITTER * chance), rest=rest)
