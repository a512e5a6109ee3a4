"""What an operator sees of a process: whether it is ready, and its metrics.

Knows names of metrics and the shape of readiness. Refuses to know users: no label holds a job, a
person, a text or a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

ANSWERED = Counter("voxrelay_records_answered", "Records answered", ["group", "outcome"])
IN_FLIGHT = Gauge("voxrelay_records_in_flight", "Records being handled", ["group"])
HANDLE_SECONDS = Histogram(
    "voxrelay_handle_seconds",
    "Seconds a handler took",
    ["group"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
COMMIT_SECONDS = Histogram(
    "voxrelay_commit_seconds",
    "Seconds a commit took",
    ["group"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
RETRIES = Counter("voxrelay_unavailable", "Times a part of our world did not answer", ["group"])
WAITING = Gauge("voxrelay_waiting", "Calls that wait for a part of our world", ["part"])
CLAIMS = Gauge("voxrelay_claims", "Partitions held", ["group"])

PATIENCE = 2.0
"""Seconds without an answer after which a part of our world is in trouble."""


class Health:
    """Who is in trouble right now with which part of our world; ready when nobody is.

    One who is well again says nothing of the others: a part works when the last of them is.
    """

    def __init__(self) -> None:
        self._troubles: dict[str, dict[object, str]] = {}

    def trouble(self, part: str, what: str, who: object = None) -> None:
        """Say that `part` does not work for `who`; `what` names no user, text or secret."""
        self._troubles.setdefault(part, {})[who] = what

    def well(self, part: str, who: object = None) -> None:
        """Say that `part` works for `who` again, or that `who` does not need it any more."""
        theirs = self._troubles.get(part, {})
        theirs.pop(who, None)
        if not theirs:
            self._troubles.pop(part, None)

    @contextmanager
    def expecting(self, part: str) -> Iterator[None]:
        """Say that `part` does not answer where the body takes longer than `PATIENCE`.

        A client gives up after much longer, and all that while nothing has failed yet.
        """
        who, loop = object(), asyncio.get_running_loop()
        late = loop.call_later(
            PATIENCE, self.trouble, part, f"does not answer within {PATIENCE:g} s", who
        )
        try:
            yield
        finally:
            late.cancel()
            self.well(part, who)

    @property
    def troubles(self) -> dict[str, str]:
        """Part by part what was said first, and how many more say so."""
        return {part: _told(list(theirs.values())) for part, theirs in self._troubles.items()}

    @property
    def ready(self) -> bool:
        return not self._troubles


def _told(said: Sequence[str]) -> str:
    return said[0] if len(said) == 1 else f"{said[0]} (and {len(said) - 1} more)"
