"""Marks: how far groups and sources have come, kept a second time, outside the log.

A stage goes on from where the log says its group was. A log that says less than is true makes it
do its work again, and a broker of Kafka, killed and started, does (docs/reliability.md). So whoever
commits notes it here, and whoever asks the log compares. Knows a lower bound. Refuses to know where
a group really is: that is for the log to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from relay.log.port import Place


class Marks(Protocol):
    """A memory of offsets; a group's for a partition never gets less."""

    def note(self, group: str, place: Place, offset: int) -> None:
        """`group` has committed `offset`; kept soon, and no commit waits for it."""

    async def least(self, group: str) -> Mapping[Place, int]:
        """Per partition an offset that `group` has reached; `Unavailable` if it cannot be told."""

    async def forget(self, group: str) -> None:
        """Let `group` begin anew; `Unavailable` if it cannot be forgotten now."""
