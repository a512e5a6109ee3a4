"""Held prompts: which wait for a person, and what that person decides.

Knows that a decision is an event, and that the first one wins. Refuses to judge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from relay.claims import claim, claimed
from relay.codec import decode, encode, head_of
from relay.errors import BadRecord, Misconfigured, PersonErased
from relay.log.port import Record
from relay.outbox import enqueue
from relay.spine import Spine
from relay.sql.dues import due_at, held_id
from schemas.envelope import Head
from schemas.events import PromptHeld, PromptReviewed
from schemas.topics import topic_of

_TOPIC = topic_of(PromptHeld)


@dataclass(frozen=True, slots=True)
class Held:
    """A prompt that waits; `prompt` is opened, None where its person was erased or it is broken."""

    head: Head
    since: datetime
    until: datetime | None
    """When its job ends by itself; None where `view` has not come to it yet."""
    prompt: PromptHeld | None

    @property
    def job(self) -> str:
        """Id of its job."""
        return self.head.key


async def waiting(spine: Spine) -> AsyncIterator[Held]:
    """Held prompts that nobody has decided yet, oldest first in each partition.

    A record that cannot be read is passed over: it hides no other.
    """
    async for record in spine.log.read([_TOPIC]):
        try:
            head = head_of(record)
        except BadRecord:
            continue
        async with spine.database.reading() as tx:
            over = await claimed(tx, head.id)
            until = await due_at(tx, held_id(head.id))
        if not over:
            yield Held(head, record.appended, until, await _opened(spine, record, head))


async def review(
    spine: Spine, job: str, reviewer: str, *, approved: bool, note: str | None
) -> bool:
    """Decide on the held prompt of `job`; False where none waits, or somebody was quicker.

    `Misconfigured` at an edge.
    """
    if spine.settings.edge:
        raise Misconfigured("held prompts of an edge are decided at its cluster")
    async for held in waiting(spine):
        if held.job == job and held.prompt is not None:
            return await decide(spine, held.head, held.prompt, reviewer, approved, note)
    return False


async def decide(
    spine: Spine, held: Head, prompt: PromptHeld, reviewer: str, approved: bool, note: str | None
) -> bool:
    """Decide on what was held under `held`; False where somebody was quicker."""
    event = PromptReviewed(
        **{name: getattr(prompt, name) for name in PromptHeld.model_fields},
        approved=approved,
        reviewer=reviewer,
        note=note,
    )
    key = await spine.keys.key(held.person)
    head = held.child(topic_of(PromptReviewed), 0, PromptReviewed.TYPE)
    async with spine.database.transaction() as tx:
        if not await claim(tx, UUID(str(held.id)), reviewer):
            return False
        await enqueue(tx, [encode(event, head, key)])
    return True


async def _opened(spine: Spine, record: Record, head: Head) -> PromptHeld | None:
    try:
        event = decode(record, head, await spine.keys.key(head.person))
    except (PersonErased, BadRecord):
        return None
    return event if isinstance(event, PromptHeld) else None
