"""Marks: how far groups and sources have come, kept a second time, outside the log.

A stage goes on from where the log says its group was. A log that says less than is true makes it
do its work again, and a broker of Kafka, killed and started, does (docs/reliability.md). So whoever
commits notes it here, and whoever asks the log compares. Knows a lower bound: an offset, and the
note beside it, which says what is done beyond. Refuses to know where a group really is: that is for
the log to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from relay.log.port import Committed, Place
from relay.note import beyond

NOWHERE = Committed(0)
"""How far everybody has come, whatever else is known."""


class Marks(Protocol):
    """A memory of what was committed; a group's for a partition never gets less."""

    def note(self, group: str, place: Place, mark: Committed) -> None:
        """`group` has committed `mark`; kept soon, and no commit waits for it."""

    async def least(self, group: str) -> Mapping[Place, Committed]:
        """Per partition what `group` has reached; `Unavailable` if it cannot be told."""

    async def forget(self, group: str, places: Collection[Place] | None = None) -> None:
        """Let `group` begin anew, in `places` or everywhere; `Unavailable` if not now."""


def further(mark: Committed, than: Committed) -> bool:
    """Whether `mark` says of more records that they are done.

    At one offset only ever more of those beyond it are.
    """
    if mark.offset != than.offset:
        return mark.offset > than.offset
    return beyond(mark.metadata) > beyond(than.metadata)
