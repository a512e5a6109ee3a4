"""Key, recording, event go up in this order; a job that must not go up ends at the edge, once."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from relay.bridge.up import Up
from relay.codec import decode, head_of
from relay.errors import Unavailable
from relay.keys import PersonKey
from relay.letters import CODE, GROUP, REDRIVE
from relay.log.port import Message, Record
from relay.objects.port import ObjectStore
from relay.sql.schema import outbox
from schemas.events import JobFailed, PromptUploaded
from tests.bridge.sides import Side, accepted, up_of


async def ended(edge: Side) -> list[Message]:
    """What waits in the edge's outbox."""
    async with edge.database.reading() as tx:
        rows = (await tx.execute(select(outbox).order_by(outbox.c.id))).all()
    return [Message(row.topic, row.key, row.value, tuple(row.headers)) for row in rows]


async def objects(store: ObjectStore) -> set[str]:
    return {stat.key.split("/")[0] async for stat in store.list("")}


async def test_the_cluster_can_read_what_arrives(edge: Side, cluster: Side) -> None:
    person = await edge.person()
    [record] = await edge.receives(await accepted(edge, person, "说这句话", b"the voice"))
    [sent] = await (await up_of(edge, cluster))(record)
    assert sent == Message(record.topic, record.key, record.value, record.headers)
    [there] = await cluster.receives(sent)
    event = decode(there, head_of(there), await cluster.keys.key(person))
    assert isinstance(event, PromptUploaded)
    assert event.text == "说这句话"
    assert await cluster.objects.get(event.recording.key) == b"the voice"


class Noting:
    """A store that notes what is put, and breaks where it is told to."""

    def __init__(self, store: ObjectStore, breaks_at: str = "") -> None:
        self._store, self._breaks_at = store, breaks_at
        self.put_: list[str] = []

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        if self._breaks_at and key.startswith(self._breaks_at):
            raise Unavailable("the object store refused: AccessDenied")
        self.put_.append(key.split("/")[0])
        return await self._store.put(key, data, content_type)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_the_key_goes_first_and_once_and_nothing_twice(edge: Side, cluster: Side) -> None:
    noting = Noting(cluster.objects)
    up = await up_of(edge, replace(cluster, objects=noting))
    person = await edge.person()
    first, second = await accepted(edge, person), await accepted(edge, person, sound=b"other")
    for record in await edge.receives(first, second):
        assert len(await up(record)) == 1
        assert len(await up(record)) == 1
    assert noting.put_ == ["handover", "recording", "recording"]


@pytest.mark.parametrize("breaks_at", ["handover", "recording"])
async def test_what_the_cluster_refuses_is_no_end_of_the_job(
    edge: Side, cluster: Side, breaks_at: str
) -> None:
    refusing = replace(cluster, objects=Noting(cluster.objects, breaks_at))
    [record] = await edge.receives(await accepted(edge, await edge.person()))
    with pytest.raises(Unavailable, match="AccessDenied"):
        await (await up_of(edge, refusing))(record)
    assert await ended(edge) == []


async def test_of_an_erased_person_nothing_goes_up(edge: Side, cluster: Side) -> None:
    person = await edge.person()
    [record] = await edge.receives(await accepted(edge, person))
    up = await up_of(edge, cluster)
    await edge.erase(person)
    assert await up(record) == ()
    assert await objects(cluster.objects) == set()
    await assert_failed_once(edge, up, record, "erased")


async def test_of_a_person_erased_after_their_first_job_nothing_more_goes_up(
    edge: Side, cluster: Side
) -> None:
    person, up = await edge.person(), await up_of(edge, cluster)
    first, second = await edge.receives(
        await accepted(edge, person), await accepted(edge, person, sound=b"second")
    )
    assert len(await up(first)) == 1
    await edge.erase(person)
    assert await up(second) == ()
    await assert_failed_once(edge, up, second, "erased")


@pytest.mark.parametrize("code", ["object_missing", "object_broken"])
async def test_a_recording_that_is_gone_or_damaged_ends_its_job(
    edge: Side, cluster: Side, code: str
) -> None:
    up = await up_of(edge, cluster)
    [record] = await edge.receives(await accepted(edge, await edge.person()))
    event = decode(record, head_of(record), None)
    assert isinstance(event, PromptUploaded)
    await edge.objects.delete(event.recording.key)
    if code == "object_broken":
        await edge.objects.put(event.recording.key, b"noise", "audio/flac")
    assert await up(record) == ()
    await assert_failed_once(edge, up, record, code)


async def assert_failed_once(edge: Side, up: Up, record: Record, code: str) -> None:
    """The job's one end waits in the outbox, also when the record is met again."""
    await up(record)
    [message] = await ended(edge)
    assert (message.topic, message.key) == ("job-failed", record.key)
    failed = JobFailed.model_validate_json(message.value)
    assert (failed.stage, failed.code) == ("bridge", code)


async def test_a_record_whose_envelope_is_broken_becomes_a_dead_letter_of_the_edge(
    edge: Side, cluster: Side
) -> None:
    message = await accepted(edge, await edge.person())
    broken = replace(message, headers=tuple(h for h in message.headers if h[0] != "ce_id"))
    [record] = await edge.receives(broken)
    up = await up_of(edge, cluster)
    assert await up(record) == ()
    assert await up(record) == ()
    [letter] = await ended(edge)
    assert (letter.topic, letter.value) == ("prompt-uploaded-dead", record.value)
    assert {GROUP, CODE} <= {name for name, _ in letter.headers}


async def test_a_redriven_record_goes_up_as_it_was_and_anothers_does_not(
    edge: Side, cluster: Side
) -> None:
    message, up = await accepted(edge, await edge.person()), await up_of(edge, cluster)
    ours, others = (
        replace(message, headers=(*message.headers, (REDRIVE, group)))
        for group in (b"bridge", b"view")
    )
    mine, theirs = await edge.receives(ours, others)
    assert await up(mine) == (message,)
    assert await up(theirs) == ()
    assert await ended(edge) == []


async def test_a_key_is_sealed_to_the_cluster_alone(edge: Side, cluster: Side) -> None:
    person = await edge.person()
    [record] = await edge.receives(await accepted(edge, person))
    await (await up_of(edge, cluster))(record)
    key: PersonKey = await edge.keys.key(person)
    lying = [await cluster.objects.get(s.key) async for s in cluster.objects.list("handover/")]
    assert len(lying) == 1
    assert key.secret not in lying[0]
    with pytest.raises(Unavailable):
        (await edge.keys.receiver()).open(person, lying[0])
    assert await cluster.keys.key(person) == key
    with pytest.raises(Unavailable):
        await cluster.keys.key(uuid4())
