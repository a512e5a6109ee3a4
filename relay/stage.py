"""What a stage is: events it consumes, and a handler that answers one with others.

Knows the shape and nothing behind it: a handler never sees the log, offsets, headers' spelling or
any key of sealing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import new as hmac
from typing import Any, Protocol, runtime_checkable

from relay.letters import DeadLetter
from schemas.envelope import Head
from schemas.events import Event


@dataclass(frozen=True, slots=True)
class Context:
    """What the relay lends a handler for the event in hand.

    `recipe_key` is the person's, so a recipe's hash says nothing to whoever lacks it; handlers use
    `object_key` and leave it alone.
    """

    head: Head
    recipe_key: bytes
    appended: datetime | None = None
    """When the log took the event: a stage's own time."""

    def object_key(self, kind: str, **recipe: Any) -> str:
        """Key `<kind>/<person>/<hash>` of the object that `recipe` makes.

        Equal recipes give equal keys for one person and unrelated ones for two. Values are
        anything JSON can say (bytes excepted).
        """
        digest = hmac(self.recipe_key, _canonical({"kind": kind, **recipe}), sha256).hexdigest()
        return f"{kind}/{self.head.person}/{digest}"


def _canonical(recipe: dict[str, Any]) -> bytes:
    return json.dumps(recipe, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


class Stage(Protocol):
    """One consumer group with a handler.

    `handle` may be called for several events at once, never for two of one job. It answers with
    the events that follow (their ids, headers and keys are the relay's business), or raises
    `BadRecord` (the job ends), `Unavailable` (it is called again later), `Lost` (by
    another process) or anything else (a bug).
    It may be called again for an event after a death, so what it writes elsewhere is keyed by the
    event's id or recipe and put if absent.
    """

    @property
    def name(self) -> str:
        """The consumer group: also the stage's name in metrics and commands."""

    @property
    def consumes(self) -> tuple[type[Event], ...]: ...

    @property
    def ends_jobs(self) -> bool:
        """Whether a bad record ends its job as `job-failed`; else it becomes a dead letter."""

    @property
    def opens(self) -> bool:
        """Whether personal fields are opened; if not, they are `Closed`."""

    async def handle(self, event: Event, context: Context) -> Sequence[Event]: ...

    async def check(self) -> None:
        """Raise `Unavailable` while the stage cannot work (model missing, device lost)."""


@runtime_checkable
class DeadReader(Protocol):
    """A stage that also reads the dead-letter topics."""

    async def mourn(self, letter: DeadLetter) -> None:
        """Take note of a dead letter; may be called again for the same one."""
