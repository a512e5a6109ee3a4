"""Finding jobs: by person, time, verdict and rule.

Knows which topic answers which question. Refuses to hold what it found: it is a stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.reading import Eyes, Seen, person_in
from relay.spine import Spine
from schemas.events import (
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptUploaded,
    RequestRefused,
)
from schemas.states import STATE_OF, State
from schemas.topics import DEAD, topic_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None means any. Times are the log's."""

    person: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: State | None = None
    """What the job came to: any state that an event brings, or `stuck`."""
    rule: str | None = None
    refused: bool = False
    """What the doors turned away, instead of jobs."""

    @property
    def topics(self) -> Sequence[str]:
        """Where that is said."""
        if self.refused:
            return [topic_of(RequestRefused)]
        if self.state is State.STUCK:
            return DEAD
        if self.state in (State.ACCEPTED, State.UPLOADED):  # each job was both
            return [topic_of(PromptUploaded)]
        if self.state is not None:
            return [topic_of(event) for event, state in STATE_OF.items() if state is self.state]
        if self.rule is not None:
            return [topic_of(event) for event in (PromptApproved, PromptRejected, PromptHeld)]
        return [topic_of(PromptUploaded)]


async def search(spine: Spine, wanted: Wanted, *, opens: bool = True) -> AsyncIterator[Seen]:
    """Records that say what is wanted, in order per partition; a job may be found twice."""
    eyes = Eyes(spine.keys if opens else None)
    async for record in spine.log.read(wanted.topics, wanted.since, until=wanted.until):
        if wanted.person is not None and person_in(record) != wanted.person:
            continue
        seen = await eyes.see(record)
        if wanted.rule is None or wanted.rule in rules(seen):
            yield seen


def told(seen: Seen) -> dict[str, Any]:
    """What a finding says of the job it is about."""
    return {
        "at": seen.record.appended.isoformat(),
        "job": seen.record.key,
        "person": str(seen.head.person) if seen.head else None,
        "topic": seen.record.topic,
        "rules": list(rules(seen)),
        "code": seen.letter.code if seen.letter else seen.fields.get("code"),
        "text": seen.fields.get("text"),
    }


def rules(seen: Seen) -> Sequence[str]:
    """The rules that fired, by the verdict in the event."""
    verdict = getattr(seen.event, "verdict", None)
    return [reason.rule for reason in verdict.reasons] if verdict else []
