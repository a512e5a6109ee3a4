"""How much a process takes on, and when it gives up on a record.

Knows numbers. Refuses to know what is counted against them (`relay.runner`, `relay.window`).
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.errors import BadRecord
from relay.note import Blame


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a process takes on. `waiting` is per partition; seconds where a time.

    Of each partition it holds at most so many records, and so many bytes and one fetch more.
    """

    in_flight: int = 16
    waiting: int = 256
    waiting_bytes: int = 4_000_000
    drain: float = 30.0
    exceptions: int = 3
    deaths: int = 10
    poll: float = 0.5

    def guilty(self, blame: Blame) -> BadRecord | None:
        """Why a record with this blame is given up; None where it is tried again."""
        if blame.exceptions >= self.exceptions:
            return BadRecord("handler_failed", f"It raised {blame.exceptions} times.")
        if blame.deaths >= self.deaths:
            return BadRecord("process_died", f"The process died {blame.deaths} times over it.")
        return None
