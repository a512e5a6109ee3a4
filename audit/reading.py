"""Records as an auditor sees them: opened where a key allows it, with holes where none does.

Knows events, dead letters and what stands for a field that nobody may read. Refuses to pass over a
record: what cannot be read is shown with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from relay.codec import decode, head_of
from relay.errors import BadRecord, PersonErased
from relay.keys import KeyStore
from relay.letters import DeadLetter, exhume
from relay.log.port import Record
from schemas.envelope import Head
from schemas.events import BY_TYPE, LEDGER, Event
from schemas.sealed import sealed_fields


class Personal(StrEnum):
    """What has become of an event's personal fields."""

    OPEN = "open"
    ERASED = "erased"
    """Their person's key was destroyed."""
    SEALED = "sealed"
    """Nobody asked for them to be opened."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record and what could be read of it; `why` says what was wrong where that is not all."""

    record: Record
    head: Head | None = None
    event: Event | None = None
    personal: Personal = Personal.SEALED
    why: str | None = None
    letter: DeadLetter | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The event's fields as JSON; `{"erased": true}` or `{"sealed": true}` for a hole."""
        if self.event is None:
            return {}
        holes = sealed_fields(BY_TYPE[self.event.TYPE]) if self.personal != Personal.OPEN else ()
        told = self.event.model_dump(mode="json", exclude=set(holes))
        return {
            name: told.get(name, {self.personal.value: True})
            for name in type(self.event).model_fields
        }


class Eyes:
    """Reads records; with `keys`, opens what they open."""

    def __init__(self, keys: KeyStore | None) -> None:
        self._keys = keys

    async def see(self, record: Record) -> Seen:
        """`record`, as far as it can be read. `Unavailable` where the keys cannot be asked."""
        letter = exhume(record) if record.topic.endswith("-dead") else None
        try:
            head = head_of(record)
        except BadRecord as wrong:
            return Seen(record, why=wrong.message, letter=letter)
        personal, key = Personal.SEALED, None
        if self._keys is not None and _is_open(head):
            personal = Personal.OPEN  # its person may never have had a key
        elif self._keys is not None:
            try:
                personal, key = Personal.OPEN, await self._keys.key(head.person)
            except PersonErased:
                personal = Personal.ERASED
        try:
            event = decode(record, head, key)
        except BadRecord as wrong:
            return Seen(record, head, None, personal, wrong.message, letter)
        return Seen(record, head, event, personal, letter=letter)


def _is_open(head: Head) -> bool:
    """Whether it is of no job, and nothing personal is in it."""
    model = BY_TYPE.get(head.type)
    return model in LEDGER and not sealed_fields(model)


def person_in(record: Record) -> UUID | None:
    """Whose record it is, by its header alone; None where that is broken."""
    for name, value in record.headers:
        if name == "ce_person":
            try:
                return UUID(value.decode())
            except ValueError:
                return None
    return None
