"""Outcomes of this edge's jobs come down with their audio; others' do not."""

from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from relay.errors import Missing, Unavailable
from relay.letters import REDRIVE
from relay.log.port import Message, Record
from schemas.events import Audio, AudioFormat, Label, SpeechDelivered
from tests.bridge.sides import SITE, Side, down_of, told
from tests.ingest.chain import SPOKEN, Chain

SOUND = b"ID3 and so on"


def delivered(person: UUID, digest: str | None = None) -> SpeechDelivered:
    return SpeechDelivered(
        audio=Audio(
            key=f"delivered/{person}/a",
            sha256=digest or sha256(SOUND).hexdigest(),
            bytes=len(SOUND),
            seconds=1,
            sample_rate=24000,
        ),
        format=AudioFormat.MP3,
        spoken=SPOKEN,
        label=Label(aigc="{}", producer="voxrelay", produce_id="x"),
    )


async def outcome(edge: Side, cluster: Side, **more: Any) -> tuple[UUID, Record]:
    """A delivered job of somebody of the edge, its audio at the cluster."""
    person = await edge.person()
    event = delivered(person, more.pop("digest", None))
    await cluster.objects.put(event.audio.key, SOUND, "audio/mpeg")
    [record] = await cluster.receives(await told(edge, person, event, **more))
    return person, record


def same(record: Record) -> tuple[Message, ...]:
    return (Message(record.topic, record.key, record.value, record.headers),)


async def test_an_outcome_comes_with_its_audio(edge: Side, cluster: Side) -> None:
    person, record = await outcome(edge, cluster)
    assert await down_of(edge, cluster)(record) == same(record)
    stat = await edge.objects.stat(f"delivered/{person}/a")
    assert (stat.content_type, stat.size) == ("audio/mpeg", len(SOUND))
    assert await edge.objects.get(stat.key) == SOUND


async def test_every_step_is_told_as_it_was(edge: Side, cluster: Side) -> None:
    person, chain = await edge.person(), Chain()
    chain.person = person
    for event in (chain.approved(), chain.held(), chain.rejected(), chain.failed()):
        record = (await cluster.receives(await told(edge, person, event)))[-1]
        assert await down_of(edge, cluster)(record) == same(record)
    assert [stat async for stat in edge.objects.list("")] == []


async def test_another_sites_is_left_where_it_is(edge: Side, cluster: Side) -> None:
    person, record = await outcome(edge, cluster, site="voxrelay://shop-2")
    assert await down_of(edge, cluster)(record) == ()
    broken = replace(record, headers=())
    assert await down_of(edge, cluster)(broken) == ()
    redriven = replace(record, headers=(*record.headers, (REDRIVE, b"view")))
    assert await down_of(edge, cluster)(redriven) == ()
    with pytest.raises(Missing):
        await edge.objects.stat(f"delivered/{person}/a")


async def test_an_erased_person_hears_of_the_end_and_no_audio_is_kept(
    edge: Side, cluster: Side
) -> None:
    person, record = await outcome(edge, cluster)
    await edge.erase(person)
    assert await down_of(edge, cluster)(record) == same(record)
    assert [stat async for stat in edge.objects.list("")] == []


async def test_audio_of_a_person_erased_meanwhile_does_not_stay(edge: Side, cluster: Side) -> None:
    person, record = await outcome(edge, cluster)

    class Erasing:
        """The person is erased while their audio is on the way."""

        async def get(self, key: str) -> bytes:
            await edge.erase(person)
            return await cluster.objects.get(key)

        def __getattr__(self, name: str) -> Any:
            return getattr(cluster.objects, name)

    down = down_of(edge, replace(cluster, objects=Erasing()))
    assert await down(record) == same(record)
    assert [stat async for stat in edge.objects.list("")] == []


@pytest.mark.parametrize("amiss", ["gone", "damaged"])
async def test_an_outcome_whose_audio_cannot_be_had_comes_alone(
    edge: Side, cluster: Side, amiss: str
) -> None:
    digest = "00" * 32 if amiss == "damaged" else None
    person, record = await outcome(edge, cluster, digest=digest)
    if amiss == "gone":
        await cluster.objects.delete(f"delivered/{person}/a")
    assert await down_of(edge, cluster)(record) == same(record)
    assert [stat async for stat in edge.objects.list("")] == []


async def test_an_event_of_a_later_version_comes_as_it_is(edge: Side, cluster: Side) -> None:
    _, record = await outcome(edge, cluster)
    headers = dict(record.headers) | {"ce_type": b"voxrelay.speech-delivered.v9"}
    later = replace(record, headers=tuple(headers.items()))
    assert await down_of(edge, cluster)(later) == same(later)


async def test_while_the_store_does_not_answer_the_outcome_waits(edge: Side, cluster: Side) -> None:
    _, record = await outcome(edge, cluster)

    class Cut:
        async def get(self, key: str) -> bytes:
            raise Unavailable("the object store does not answer: IncompleteRead")

        def __getattr__(self, name: str) -> Any:
            return getattr(cluster.objects, name)

    with pytest.raises(Unavailable):
        await down_of(edge, replace(cluster, objects=Cut()))(record)
    assert [stat async for stat in edge.objects.list("")] == []
    assert dict(record.headers)["ce_source"].decode() == SITE
