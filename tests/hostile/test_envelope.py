"""Bytes that are no event are a bad record, whatever they are, and nothing worse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.dead import Waiting
from relay.claims import letter_id
from relay.codec import decode, encode, head_of
from relay.errors import BadRecord
from relay.letters import bury, exhume
from relay.log.port import Message, Record
from schemas.envelope import format_time, parse_time
from tests.schemas.make_examples import EXAMPLES, KEY, head

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALID = {name: encode(event, head(event, 0), KEY) for name, event in EXAMPLES.items()}
NAMES = st.sampled_from(sorted(dict(next(iter(VALID.values())).headers)))
TEXTS = st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode))
TIMES = st.one_of(st.datetimes(), st.datetimes(timezones=st.timezones())).map(
    lambda time: time.isoformat().encode()
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A valid record with its value, key or headers changed."""
    was: Message = draw(st.sampled_from(sorted(VALID.values(), key=lambda m: m.value)))
    value = draw(st.one_of(st.just(was.value), TEXTS, _spliced(was.value)))
    changes = draw(st.dictionaries(NAMES, st.one_of(TEXTS, TIMES, st.none()), max_size=3))
    headers = {**dict(was.headers), **changes}
    kept = tuple((name, text) for name, text in headers.items() if text is not None)
    key = draw(st.one_of(st.just(was.key), st.text(max_size=40)))
    return Record(was.topic, 0, 0, key, value, kept, NOW)


def _spliced(value: bytes) -> st.SearchStrategy[bytes]:
    """`value` with bytes put in the place of some of its own."""
    places = st.tuples(st.integers(0, len(value)), st.integers(0, 9), st.binary(max_size=9))
    return places.map(lambda p: value[: p[0]] + p[2] + value[p[0] + p[1] :])


@settings(max_examples=400, deadline=None)
@given(records(), st.booleans())
def test_a_record_is_an_event_or_bad(record: Record, opened: bool) -> None:
    try:
        found = head_of(record)
        event = decode(record, found, KEY if opened else None)
    except BadRecord as why:
        assert _code_in_letter(record, why) == why.code  # noqa: PT017 - either outcome is right
        return
    assert found.type == event.TYPE
    child = found.child(record.topic, 0, event.TYPE)
    assert format_time(parse_time(format_time(child.time))) == format_time(child.time)
    assert child.headers()


def _code_in_letter(record: Record, why: BadRecord) -> str:
    """What a person is told of the record's dead letter."""
    message = bury(record, "view", why, "1")
    dead = Record(message.topic, 0, 0, message.key, message.value, message.headers, NOW)
    code: str = Waiting(letter_id(dead), exhume(dead)).told()["code"]
    return code


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_at_the_edge_of_the_calendar_is_no_time(text: str) -> None:
    """It ended the process of whoever read it, and a cursor that named it was answered with 500."""
    with pytest.raises(ValueError, match="calendars"):
        parse_time(text)
