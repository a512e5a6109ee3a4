"""Finding jobs: by person, time, verdict and rule.

Knows which topic answers which question. What it finds is a stream, or a page of it with a cursor:
where each partition goes on.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from audit.reading import Eyes, Seen, person_in
from relay.log.port import Place, Record
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

_JUDGED = frozenset(
    {
        *(state for event, state in STATE_OF.items() if "verdict" in event.model_fields),
        State.STUCK,
    }
)
"""States of which records tell the rules that fired."""


class Contradiction(ValueError):
    """Nothing can be what is looked for; says why, and what to ask for."""


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

    def __post_init__(self) -> None:
        """`Contradiction` where nothing can be both."""
        if self.refused and (self.state or self.rule):
            raise Contradiction("what a door turned away has no verdict and no rule")
        if self.rule and self.state and self.state not in _JUDGED:
            told = ", ".join(state.value for state in State if state in _JUDGED)
            raise Contradiction(
                f"no rule is told of where a job came to {self.state.value}: ask for the rule"
                f" alone, or with one of {told}"
            )

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


SCANNED = 20_000
"""Records that one page looks at, whatever they say: its reader waits for it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a search; `cursor` asks for the next, None where it ends."""

    found: Sequence[Seen]
    cursor: str | None


async def search(spine: Spine, wanted: Wanted, *, opens: bool = True) -> AsyncIterator[Seen]:
    """Records that say what is wanted, in order per partition; a job may be found twice."""
    eyes = Eyes(spine.keys if opens else None)
    async for record in spine.log.read(wanted.topics, wanted.since, until=wanted.until):
        if (seen := await _seen(eyes, wanted, record)) is not None:
            yield seen


async def page(
    spine: Spine, wanted: Wanted, cursor: str | None, limit: int, *, opens: bool = True
) -> Page:
    """At most `limit` of them, those among `SCANNED` records; `ValueError` where `cursor` is none.

    So a page may have nothing on it though the next one has.
    """
    begun = _read_cursor(cursor, wanted.topics) if cursor else {}
    places, found, scanned = dict(begun), list[Seen](), 0
    eyes = Eyes(spine.keys if opens else None)
    async for record in spine.log.read(
        wanted.topics, wanted.since, until=wanted.until, start=begun
    ):
        if len(found) == limit or scanned == SCANNED:
            return Page(found, _write_cursor(places))
        if (seen := await _seen(eyes, wanted, record)) is not None:
            found.append(seen)
        places[record.topic, record.partition] = record.offset + 1
        scanned += 1
    return Page(found, None)


async def _seen(eyes: Eyes, wanted: Wanted, record: Record) -> Seen | None:
    """`record`, if it says what is wanted."""
    if wanted.person is not None and person_in(record) != wanted.person:
        return None
    seen = await eyes.see(record)
    return seen if wanted.rule is None or wanted.rule in rules(seen) else None


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


_PLACES = TypeAdapter(list[tuple[str, int, int]])


def _write_cursor(places: Mapping[Place, int]) -> str:
    said = [[topic, number, next_] for (topic, number), next_ in places.items()]
    return base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).decode()


def _read_cursor(cursor: str, topics: Sequence[str]) -> dict[Place, int]:
    try:
        said = _PLACES.validate_json(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValidationError):
        said = []
    if not said or any(topic not in topics or min(at) < 0 for topic, *at in said):
        raise ValueError("the cursor is not one of ours")
    return {(topic, number): next_ for topic, number, next_ in said}
