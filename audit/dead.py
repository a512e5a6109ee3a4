"""Dead letters: which wait for a person, why, and how they are sent again or given up.

Knows that a redriven record keeps its bytes and id and names its group, and that the first decision
wins. Refuses to mend a record.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from pydantic_core import from_json
from sqlalchemy import select

from relay.claims import claim, claimed_of, letter_id
from relay.codec import encode, head_of
from relay.errors import BadRecord, PersonErased, Unavailable
from relay.keys import PersonKey
from relay.letters import DeadLetter, again, exhume
from relay.log.port import Message
from relay.outbox import enqueue
from relay.sealing import unseal
from relay.spine import Spine
from relay.sql.database import Transaction
from relay.sql.schema import jobs
from schemas.envelope import Head
from schemas.events import BY_TYPE, JobFailed
from schemas.sealed import ciphertext_of, sealed_fields
from schemas.topics import CHAIN, DEAD, topic_of

_PAGE, _PAGE_BYTES = 200, 4_000_000
"""Letters that are held, and decided on in one transaction, however many there are."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A dead letter that nobody has decided on, by the id that a decision claims."""

    id: UUID
    letter: DeadLetter

    def told(self) -> dict[str, Any]:
        """What a person is shown; personal fields stay sealed."""
        letter = self.letter
        return {
            "id": str(self.id),
            "job": printable(letter.key),
            "topic": letter.topic,
            "place": letter.place and printable(letter.place),
            "group": printable(letter.group),
            "code": printable(letter.code),
            "message": printable(letter.message),
            "at": letter.record.appended.isoformat(),
            "code_version": letter.version and printable(letter.version),
            "times": letter.times,
            "cut": letter.cut,
        }

    def payload(self) -> Any:
        """The record's value: its JSON with personal fields sealed, or its bytes as text."""
        value = self.letter.record.value
        try:
            found = from_json(value)
            json.dumps(found, allow_nan=False)  # 1e999 is read, and could not be said again
            return found
        except ValueError:  # that may be why it died
            return value.decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; None is any."""

    id: str | None = None
    group: str | None = None
    code: str | None = None
    topic: str | None = None
    job: str | None = None

    def __call__(self, found: Waiting) -> bool:
        """Whether `found` is one of them."""
        letter = found.letter
        has = (str(found.id), letter.group, letter.code, letter.topic, letter.key)
        wanted = (self.id, self.group, self.code, self.topic, self.job)
        return all(want is None or want == is_ for want, is_ in zip(wanted, has, strict=True))


Chosen = Callable[[Waiting], bool]


def every(_: Waiting) -> bool:
    """All that wait."""
    return True


async def waiting(spine: Spine, chosen: Chosen = every) -> AsyncIterator[Waiting]:
    """Chosen letters that nobody has redriven, discarded or let go, oldest first in each topic."""
    async for page in _pages(spine, chosen):
        async with spine.database.reading() as tx:
            over = await claimed_of(tx, [found.id for found in page])
        for found in page:
            if found.id not in over:
                yield found


async def payload(spine: Spine, found: Waiting) -> Any:
    """The record's value with personal fields opened, for an operator who asks for that.

    One whose person was erased is a hole; one that cannot be opened stays as it lies.
    """
    value = found.payload()
    try:
        head = head_of(found.letter.record)
        key = await spine.keys.key(head.person)
    except PersonErased:
        key = None
    except (BadRecord, Unavailable):
        return value
    model = BY_TYPE.get(head.type)
    if model is None or not isinstance(value, dict):
        return value
    names = sealed_fields(model) & value.keys()
    return value | {name: _opened(key, head.id, name, value[name]) for name in names}


async def redrive(spine: Spine, chosen: Chosen, by: str) -> int:
    """Send the chosen letters to their topics again, for their groups alone; how many went.

    One that does not hold its record stays; so does one whose key is no text, which nothing would
    ever read.
    """

    def able(found: Waiting) -> bool:
        return not found.letter.cut and found.letter.key.isprintable() and chosen(found)

    return await _each(spine, able, by, _again)


async def discard(spine: Spine, chosen: Chosen, by: str) -> int:
    """Give the chosen letters up; how many were given up. Jobs that wait for them end as failed."""
    return await _each(spine, chosen, by, _failed)


Follows = Callable[[Transaction, Waiting], Awaitable[Sequence[Message]]]


async def _each(spine: Spine, chosen: Chosen, by: str, follows: Follows) -> int:
    """A page at a time: claims, and what follows from them, stand together or not at all."""
    done = 0
    async for page in _pages(spine, chosen):
        done += await spine.database.run(partial(_decide, page, by, follows))
    return done


async def _decide(page: Sequence[Waiting], by: str, follows: Follows, tx: Transaction) -> int:
    won = [found for found in page if await claim(tx, found.id, by)]
    for found in won:
        await enqueue(tx, await follows(tx, found))
    return len(won)


async def _pages(spine: Spine, chosen: Chosen) -> AsyncIterator[Sequence[Waiting]]:
    page: list[Waiting] = []
    async for record in spine.log.read(list(DEAD)):
        found = Waiting(letter_id(record), exhume(record))
        if chosen(found):
            page.append(found)
        size = sum(len(each.letter.record.value) for each in page)
        if len(page) >= _PAGE or size >= _PAGE_BYTES:
            yield page
            page = []
    if page:
        yield page


async def _again(_: Transaction, found: Waiting) -> Sequence[Message]:
    return [again(found.letter)]


async def _failed(tx: Transaction, found: Waiting) -> Sequence[Message]:
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


def _opened(key: PersonKey | None, event: UUID, name: str, value: Any) -> Any:
    if (ciphertext := ciphertext_of(value)) is None:
        return value
    if key is None:
        return {"erased": True}
    try:
        return unseal(key, event, name, ciphertext)
    except BadRecord:
        return value


def printable(text: str) -> str:
    """`text` with whatever would move a cursor, or is no character at all, spelled out."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
