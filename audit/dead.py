"""Dead letters: which wait for a person, why, and how they are sent again or given up.

Knows that a redriven record keeps its bytes and id and names its group, and that the first decision
wins. Refuses to mend a record.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from relay.claims import claim, claimed, letter_id
from relay.codec import encode, head_of
from relay.errors import BadRecord
from relay.letters import REDRIVE, DeadLetter, exhume, untouched
from relay.log.port import Message
from relay.outbox import enqueue
from relay.spine import Spine
from schemas.events import JobFailed
from schemas.topics import DEAD, topic_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """A dead letter that nobody has decided on, by the id that a decision claims."""

    id: UUID
    letter: DeadLetter

    def told(self) -> dict[str, Any]:
        """What a person is shown; personal fields stay sealed."""
        record = self.letter.record
        return {
            "id": str(self.id),
            "job": self.letter.key,
            "topic": self.letter.topic,
            "group": self.letter.group,
            "code": self.letter.code,
            "message": self.letter.message,
            "at": record.appended.isoformat(),
            "code_version": _header(self.letter, "dead_code_version"),
            "redriven_before": any(name == REDRIVE for name, _ in record.headers),
        }

    def payload(self) -> Any:
        """The record's value: its JSON with personal fields sealed, or its bytes as text."""
        value = self.letter.record.value
        try:
            return json.loads(value)
        except ValueError:  # that may be why it died
            return value.decode(errors="backslashreplace")


Chosen = Callable[[Waiting], bool]


async def waiting(spine: Spine) -> AsyncIterator[Waiting]:
    """Dead letters that nobody has redriven, discarded or let go, oldest first in each topic."""
    async for record in spine.log.read(list(DEAD)):
        found = Waiting(letter_id(record), exhume(record))
        async with spine.database.reading() as tx:
            over = await claimed(tx, found.id)
        if not over:
            yield found


async def redrive(spine: Spine, chosen: Chosen, by: str) -> int:
    """Send the chosen letters to their topics again, for their groups alone; how many went."""
    return await _each(spine, chosen, by, _again)


async def discard(spine: Spine, chosen: Chosen, by: str) -> int:
    """Give the chosen letters up: their jobs end as failed; how many were given up."""
    return await _each(spine, chosen, by, _failed)


async def _each(
    spine: Spine, chosen: Chosen, by: str, follows: Callable[[Waiting], list[Message]]
) -> int:
    done = 0
    async for found in waiting(spine):
        if not chosen(found):
            continue
        async with spine.database.transaction() as tx:
            if await claim(tx, found.id, by):
                await enqueue(tx, follows(found))
                done += 1
    return done


def _again(found: Waiting) -> list[Message]:
    record = found.letter.record
    headers = (*untouched(record.headers), (REDRIVE, found.letter.group.encode()))
    return [Message(found.letter.topic, record.key, record.value, headers)]


def _failed(found: Waiting) -> list[Message]:
    """The end of the letter's job; nothing where the record does not say whose it is."""
    try:
        head = head_of(found.letter.record)
    except BadRecord:
        return []
    event = JobFailed(
        stage="audit", code="discarded", message="This could not be done. Please send it again."
    )
    return [encode(event, head.child(topic_of(event), 0, event.TYPE), None)]


def _header(letter: DeadLetter, name: str) -> str | None:
    found = dict(letter.record.headers).get(name)
    return None if found is None else found.decode(errors="replace")
