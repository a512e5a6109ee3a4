"""Every example ever shipped decodes; ids, seals, topics and states are what they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import pytest

from relay.codec import decode, encode, head_of
from relay.errors import BadRecord
from relay.keys import KEY_BYTES, PersonKey
from relay.log.port import Record
from relay.sealing import seal, unseal
from relay.stage import Context
from schemas import topics
from schemas.envelope import Cause, EnvelopeError, read_head
from schemas.events import AFTERWARDS, BY_TYPE, EVENTS, LEDGER, Event, PromptUploaded
from schemas.export import json_schemas
from schemas.sealed import Closed, ciphertext_of, sealed_fields
from schemas.states import STATE_OF, TERMINAL, State, rank, stuck_rank
from schemas.topics import BY_EVENT, TOPICS
from tests.schemas.make_examples import EXAMPLES, FOLDER, KEY, PERSON, head, path

SHIPPED = sorted(FOLDER.rglob("*.json"))


def record(shipped: Path) -> Record:
    said = json.loads(shipped.read_text())
    return Record(
        topic=shipped.parents[1].name,
        partition=0,
        offset=0,
        key=said["key"],
        value=json.dumps(said["value"]).encode(),
        headers=tuple((k, v.encode()) for k, v in said["headers"].items()),
        appended=datetime.now(UTC),
    )


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda p: "/".join(p.parts[-3:]))
def test_a_shipped_example_still_decodes_to_what_it_said(shipped: Path) -> None:
    read = record(shipped)
    event = decode(read, head_of(read), KEY)
    expected = EXAMPLES.get(shipped.stem)
    assert isinstance(event, BY_TYPE[head_of(read).type])
    assert expected is None or event == expected
    for name in sealed_fields(type(event)):
        value = json.loads(read.value).get(name)  # a field may be younger than the example
        assert value is None or ciphertext_of(value) is not None, f"{name} lies open"


def test_every_event_has_an_example_of_its_version() -> None:
    shown = {(p.parents[1].name, p.parent.name) for p in SHIPPED}
    assert shown == {(BY_EVENT[e].name, e.TYPE.rpartition(".")[2]) for e in BY_TYPE.values()}


def test_every_event_has_one_topic_and_one_state() -> None:
    assert {t.event for t in TOPICS} == set(EVENTS) == set(STATE_OF)
    assert {t.event for t in topics.LEDGER} == set(LEDGER)
    assert {t.event for t in topics.AFTERWARDS} == set(AFTERWARDS)
    assert len(topics.BY_NAME) == len(TOPICS) + len(AFTERWARDS) + len(LEDGER)


@pytest.mark.parametrize(("name", "event"), EXAMPLES.items())
def test_equal_input_gives_equal_bytes(name: str, event: Event) -> None:
    n = list(EXAMPLES).index(name)
    once, again = (encode(event, head(event, n), KEY) for _ in range(2))
    assert once == again
    assert json.loads(once.value) == json.loads(path(event, name).read_text())["value"]


def test_a_childs_id_follows_from_its_parents() -> None:
    parent = head(EXAMPLES["plain"], 0)
    child = parent.child("prompt-approved", 1, "x")
    assert child.id == uuid5(parent.id, "prompt-approved/1")
    assert (child.source, child.time, child.person, child.key) == (
        parent.source,
        parent.time,
        parent.person,
        parent.key,
    )


def test_what_an_event_answers_is_read_again_and_a_stranger_may_leave_it_out() -> None:
    parent = head(EXAMPLES["plain"], 0)
    cause = Cause("prompt-uploaded", datetime(2026, 1, 2, 3, 4, 6, 7000, tzinfo=UTC))
    child = parent.child("prompt-approved", 0, "x", cause)
    assert read_head(child.key, child.headers()) == child
    assert child.child("speech-synthesized", 0, "y").cause is None
    for junk in (b"", b"prompt-uploaded", b"a b c", b"\xff 2026", b"prompt-uploaded 2026-01-01"):
        assert read_head(child.key, (*parent.headers(), ("ce_cause", junk))) == parent


def test_a_seal_is_bound_to_its_event_its_field_and_its_key() -> None:
    event = uuid4()
    sealed = seal(KEY, event, "text", "你好")
    assert unseal(KEY, event, "text", sealed) == "你好"
    other = PersonKey(bytes(KEY_BYTES))
    for key, id_, field in [(other, event, "text"), (KEY, uuid4(), "text"), (KEY, event, "note")]:
        with pytest.raises(BadRecord, match="seal_broken"):
            unseal(key, id_, field, sealed)


def test_without_a_key_personal_fields_are_closed_and_the_rest_is_read() -> None:
    read = record(path(EXAMPLES["plain"], "plain"))
    event = decode(read, head_of(read), None)
    assert isinstance(event, PromptUploaded)
    assert event.text == Closed()
    assert event.recording.seconds == 4.2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": b"not json"}, "event_not_json"),
        ({"value": b"[]"}, "event_not_json"),
        ({"value": b"\xff"}, "event_not_json"),
        ({"value": b'{"text": {"sealed": "AAAA"}}'}, "seal_broken"),
        ({"value": b'{"text": "open"}'}, "event_not_sealed"),
        ({"value": b"{}"}, "event_invalid"),
        ({"type": "voxrelay.prompt-uploaded.v99"}, "event_unknown"),
    ],
)
def test_a_record_that_is_none_of_ours_is_bad(change: dict[str, object], code: str) -> None:
    good = record(path(EXAMPLES["plain"], "plain"))
    headers = dict(good.headers) | (
        {"ce_type": str(change["type"]).encode()} if "type" in change else {}
    )
    value = change.get("value", good.value)
    assert isinstance(value, bytes)
    bad = Record(good.topic, 0, 0, good.key, value, tuple(headers.items()), good.appended)
    with pytest.raises(BadRecord) as raised:
        decode(bad, head_of(bad), KEY)
    assert raised.value.code == code


@pytest.mark.parametrize("lacking", ["ce_id", "ce_type", "ce_time", "ce_person", "ce_source"])
def test_a_lacking_header_is_named(lacking: str) -> None:
    good = record(path(EXAMPLES["plain"], "plain"))
    headers = [(k, v) for k, v in good.headers if k != lacking]
    with pytest.raises(EnvelopeError, match=lacking):
        read_head("k", headers)


@pytest.mark.parametrize(
    ("name", "value"), [("ce_id", b"7"), ("ce_time", b"2026-01-01T00:00:00"), ("ce_type", b"\xff")]
)
def test_a_malformed_header_is_refused(name: str, value: bytes) -> None:
    good = dict(record(path(EXAMPLES["plain"], "plain")).headers)
    with pytest.raises(EnvelopeError):
        read_head("k", (good | {name: value}).items())


def test_recipes_of_two_persons_have_nothing_in_common() -> None:
    mine = Context(head(EXAMPLES["plain"], 0), KEY.recipe_key)
    theirs = Context(mine.head, PersonKey(bytes(KEY_BYTES)).recipe_key)
    assert mine.object_key("speech", a=1, b="x") == mine.object_key("speech", b="x", a=1)
    assert mine.object_key("speech", a=1) != theirs.object_key("speech", a=1)
    assert mine.object_key("speech", a=1) != mine.object_key("hearing", a=1)
    assert mine.object_key("speech", a=1).startswith(f"speech/{PERSON}/")


def test_terminal_states_outrank_all_others_and_stuck_gives_way_to_progress() -> None:
    for state, other in permutations(set(State) - {State.STUCK}, 2):
        if state in TERMINAL and other not in TERMINAL:
            assert rank(state) > rank(other)
    assert rank(State.APPROVED) < stuck_rank("prompt-approved") < rank(State.SYNTHESIZED)


def test_the_published_schema_of_every_event_admits_its_examples() -> None:
    published = json_schemas()
    assert set(published) == set(BY_TYPE)
    for shipped in SHIPPED:
        said = json.loads(shipped.read_text())
        properties = published[said["headers"]["ce_type"]]["properties"]
        assert set(said["value"]) <= set(properties)
        for name in sealed_fields(BY_TYPE[said["headers"]["ce_type"]]):
            assert "sealed" in json.dumps(properties[name])


def test_ids_are_uuids_everywhere() -> None:
    assert all(isinstance(head(e, n).id, UUID) for n, e in enumerate(EXAMPLES.values()))
