"""What an examination finds: one line a fact, with what to do where there is something to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much somebody has to care."""

    GOOD = "good"
    ABSENT = "absent"
    """Not set up, and not needed for what is."""
    DOUBTFUL = "doubtful"
    """It works, and some users will be in trouble."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about `part`; `do` is empty where nothing has to be done."""

    part: str
    level: Level
    says: str
    do: str = ""


Look = Callable[[], AsyncIterator[Finding]]
"""One part's examination. It may raise `Unavailable` and `Misconfigured`: they become findings."""


def good(part: str, says: str) -> Finding:
    """All is well."""
    return Finding(part, Level.GOOD, says)


def absent(part: str, says: str, do: str = "") -> Finding:
    """There is none; `do` says how to have it."""
    return Finding(part, Level.ABSENT, says, do)


def doubtful(part: str, says: str, do: str) -> Finding:
    """It may hurt."""
    return Finding(part, Level.DOUBTFUL, says, do)


def bad(part: str, says: str, do: str) -> Finding:
    """It does hurt."""
    return Finding(part, Level.BAD, says, do)
