"""Dead letters: which wait for a person, why, and how they are sent again or given up.

Knows that a redriven record keeps its bytes and id and names its group, and that the first decision
wins. Refuses to mend a record.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from relay.claims import claim, claimed, letter_id
from relay.codec import encode, head_of
from relay.errors import BadRecord
from relay.letters import REDRIVE, DeadLetter, exhume, untouched
from relay.log.port import Message
from relay.outbox import enqueue
from relay.spine import Spine
from relay.sql.database import Transaction
from relay.sql.schema import jobs
from schemas.envelope import Head
from schemas.events import JobFailed
from schemas.topics import CHAIN, DEAD, topic_of


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
    """Give the chosen letters up; how many were given up. Jobs that wait for them end as failed."""
    return await _each(spine, chosen, by, _failed)


async def _each(
    spine: Spine,
    chosen: Chosen,
    by: str,
    follows: Callable[[Transaction, Waiting], Awaitable[list[Message]]],
) -> int:
    done = 0
    async for found in waiting(spine):
        if not chosen(found):
            continue
        async with spine.database.transaction() as tx:
            if await claim(tx, found.id, by):
                await enqueue(tx, await follows(tx, found))
                done += 1
    return done


async def _again(tx: Transaction, found: Waiting) -> list[Message]:
    record = found.letter.record
    headers = (*untouched(record.headers), (REDRIVE, found.letter.group.encode()))
    return [Message(found.letter.topic, record.key, record.value, headers)]


async def _failed(tx: Transaction, found: Waiting) -> list[Message]:
    """The end of the letter's job; nothing where no job waits for that group, or none is known."""
    head = await _head(tx, found) if found.letter.group in CHAIN else None
    if head is None:
        return []
    event = JobFailed(
        stage="audit", code="discarded", message="This could not be done. Please send it again."
    )
    return [encode(event, head.child(topic_of(event), 0, event.TYPE), None)]


async def _head(tx: Transaction, found: Waiting) -> Head | None:
    """The head in the letter; where it is broken, one made from the job's row, as the view does."""
    try:
        return head_of(found.letter.record)
    except BadRecord:
        key = found.letter.key
    try:
        row = (await tx.execute(select(jobs).where(jobs.c.id == UUID(key)))).one_or_none()
    except ValueError:
        return None
    return None if row is None else Head(found.id, "", row.site, row.accepted_at, row.person, key)


def _header(letter: DeadLetter, name: str) -> str | None:
    found = dict(letter.record.headers).get(name)
    return None if found is None else found.decode(errors="replace")
