"""Events to messages and records to events: the one place where JSON, headers and seals meet.

Knows the envelope, the models and sealing. Refuses to know logs, stages and what becomes of an
error.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import ValidationError, create_model
from pydantic_core import from_json, to_json

from relay.errors import BadRecord
from relay.keys import PersonKey
from relay.log.port import Message, Record
from relay.sealing import seal, unseal
from schemas.envelope import EnvelopeError, Head, read_head
from schemas.events import BY_TYPE, Event
from schemas.sealed import Closed, ciphertext_of, sealed_fields, sealed_form
from schemas.topics import BY_NAME, topic_of

_COMPACTED = frozenset(topic.name for topic in BY_NAME.values() if topic.compacted)
"""Keys there are what the latest record stands for, not ids."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""JSON may spell it; PostgreSQL keeps it in neither text nor JSON."""


def encode(event: Event, head: Head, key: PersonKey | None) -> Message:
    """The message for `event` under `head`, its personal fields sealed with the person's `key`.

    None will do for events without personal fields.
    """
    value = event.model_dump(mode="json")
    for name in sealed_fields(type(event)):
        if key is None:
            raise ValueError(f"{type(event).__name__} has personal fields and needs a key")
        if value[name] is not None:
            value[name] = sealed_form(seal(key, head.id, name, value[name]))
    return Message(topic_of(event), head.key, to_json(value), head.headers())


def head_of(record: Record) -> Head:
    """The record's head; `BadRecord` (`envelope_invalid`) where key or headers are not ours."""
    try:
        if record.topic not in _COMPACTED:
            UUID(record.key)
        return read_head(record.key, record.headers)
    except EnvelopeError as wrong:
        raise BadRecord("envelope_invalid", f"The event's envelope is broken: {wrong}.") from None
    except ValueError:
        raise BadRecord("envelope_invalid", "The event's key is no id.") from None


def decode(record: Record, head: Head, key: PersonKey | None) -> Event:
    """The event in `record`; `BadRecord` where type, JSON, seal or a field is wrong.

    With a `key` its personal fields are opened. Without one they are `Closed`, and the event is of
    a subclass that allows that.
    """
    model = BY_TYPE.get(head.type)
    if model is None or topic_of(model) != record.topic.removesuffix("-dead"):
        raise BadRecord("event_unknown", "Nothing here reads events of its type.")
    value = _object(record.value)
    for name in sealed_fields(model):
        value[name] = Closed() if key is None else _opened(value.get(name), head.id, name, key)
    model = _closed(model) if key is None else model
    try:
        return model.model_validate(value)
    except ValidationError as wrong:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in wrong.errors())
        raise BadRecord("event_invalid", f"The event's fields are wrong: {fields}.") from None


@cache
def _closed(model: type[Event]) -> type[Event]:
    """`model` with every personal field replaced by `Closed`."""
    holes: dict[str, Any] = dict.fromkeys(sealed_fields(model), (Closed, ...))
    return create_model(model.__name__, __base__=model, **holes)


def _object(value: bytes) -> dict[str, Any]:
    if b"\\u0000" in value and _NUL.search(value):
        raise BadRecord("event_not_json", "The event holds a character that nothing can store.")
    try:
        found = from_json(value, allow_inf_nan=False)
    except ValueError:
        raise BadRecord("event_not_json", "The event is not JSON.") from None
    if not isinstance(found, dict):
        raise BadRecord("event_not_json", "The event is not a JSON object.")
    return found


def _opened(value: Any, event_id: UUID, name: str, key: PersonKey) -> Any:
    if value is None:
        return None
    ciphertext = ciphertext_of(value)
    if ciphertext is None:
        raise BadRecord("event_not_sealed", f"The personal field {name} is not sealed.")
    return unseal(key, event_id, name, ciphertext)
