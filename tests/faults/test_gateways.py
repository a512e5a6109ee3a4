"""Two gateways of one site on Kafka and PostgreSQL: what one of them knows the other does, too.

And when one is killed over a part of an upload or a saved voice, nothing of that is left half done.
Jobs are spoken by stand-ins; everything else is what a cluster runs.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from infra.local import Cluster
from infra.servers import ToolMissing
from ingest.accounts import access_keys
from ingest.accounts.access_keys import PREFIX, Wanted
from relay import flac
from relay.spine import open_spine
from tests.faults.conftest import SESSION
from tests.faults.driver import mend
from tests.faults.house import House, standing
from tests.faults.instants import (
    ACCEPTED,
    OBJECT_AFTER,
    OBJECT_BEFORE,
    PART,
    STAGES,
    VOICE,
)
from tests.faults.jobs import sound
from tests.faults.kept import SOON, events_of, left, survived
from tests.journeys.steps import ENDED
from tests.servers import unavailable
from tests.sql import until
from voxrelay_client import Client, Refused, Unreachable, wire

pytestmark = pytest.mark.timeout(600)

A_MINUTE = {"VOXRELAY_INGEST_QUOTA_PER_MINUTE": "3"}
STATES = {"uploaded", "approved", "synthesized", "delivered"}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Two gateways, and one process of each other stage."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        try:
            made = Cluster(Path(folder))
            servers = {"kafka": made.kafka, "s3": made.s3, "postgres": made.postgres}
            given, names = {**made.environment(), **A_MINUTE}, (*STAGES, "ingest-2")
            with standing(Path(folder), servers, given, names=names, session=SESSION) as stands:
                yield stands
        except ToolMissing as lacking:
            unavailable(str(lacking))


@dataclass(frozen=True)
class Somebody:
    """A person, and the key they call with."""

    id: UUID
    token: str

    @property
    def head(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@pytest.fixture
async def somebody(house: House) -> Somebody:
    """Somebody new; both gateways stand."""
    await mend(house)
    async with open_spine(house.settings) as spine:
        wanted = Wanted("somebody")
        key, handed = await spine.database.run(lambda tx: access_keys.create(tx, wanted))
    return Somebody(key.person, handed.spelled(PREFIX))


@pytest.fixture
def head(somebody: Somebody) -> dict[str, str]:
    """What they say in the head of each request."""
    return somebody.head


async def saved(door: str, head: dict[str, str]) -> str:
    """A voice to speak in: a job in one has no recording that would have to be decoded first."""
    with Client(door, token=head["authorization"].removeprefix("Bearer ")) as client:
        voice = await asyncio.to_thread(client.save_voice, "我", sound(0), "我同意。")
    return voice.id


async def send(
    door: str, head: dict[str, str], text: str, voice: str, key: str | None = None
) -> httpx.Response:
    """A job, sent to one gateway."""
    given = head if key is None else {**head, "idempotency-key": key}
    async with httpx.AsyncClient(timeout=SOON) as client:
        return await client.post(
            f"{door}/v1/jobs", headers=given, json={"text": text, "voice": voice}
        )


async def accepted(door: str, head: dict[str, str], text: str) -> str:
    answer = await send(door, head, text, await saved(door, head))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def heard(
    door: str, head: dict[str, str], job: str, after: int = 0
) -> AsyncGenerator[dict[str, Any], None]:
    """What a socket at `door` says of a job's states; it ends with the job, or with the line."""
    async with connect(f"{door.replace('http', 'ws')}/v1/ws", additional_headers=head) as line:
        await line.send(json.dumps({"subscribe": job, "after": after}))
        while True:
            try:
                event = json.loads(await asyncio.wait_for(line.recv(), SOON))
            except ConnectionClosed:
                return
            assert event["type"] in ("state", "queue"), event
            if event["type"] == "state":
                yield event
                if event["state"] in ENDED:
                    return


def told_of(events: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """Which events they are; a job's topics are seen one by one, so that some may come late."""
    return [(event["seq"], event["state"]) for event in events]


async def test_a_socket_at_one_gateway_hears_of_a_job_sent_to_the_other(
    house: House, head: dict[str, str]
) -> None:
    here, there = house.doors
    job = await accepted(there, head, "另一扇门。慢1")
    events = [event async for event in heard(here, head, job)]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["state"] for event in events} <= STATES
    assert events[-1]["state"] == "delivered"
    assert events[-1]["job"]["audio"]["seconds"] > 0


async def test_whose_gateway_is_killed_goes_on_at_the_other_where_it_was(
    house: House, head: dict[str, str]
) -> None:
    here, there = house.doors
    job = await accepted(there, head, "一扇门会关上。慢4")
    events = []
    async with aclosing(heard(here, head, job)) as line:
        async for event in line:
            events.append(event)
            if event["state"] == "approved":  # it is being spoken, for seconds
                house.stages["ingest"].kill()
    assert events[-1]["state"] not in ENDED, "the line went dead"
    events += [event async for event in heard(there, head, job, after=events[-1]["seq"])]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["state"] == "delivered"
    await asyncio.to_thread(house.stages["ingest"].start)
    again = [event async for event in heard(here, head, job)]
    assert told_of(again) == told_of(events), "it is told the same where it began"


async def test_what_comes_to_both_at_once_is_counted_as_one(
    house: House, head: dict[str, str]
) -> None:
    doors, voice = cycle(house.doors), await saved(house.doors[0], head)
    begun = time.monotonic()
    same = await asyncio.gather(*(send(next(doors), head, "一次。", voice, "k") for _ in range(6)))
    assert {answer.status_code for answer in same} == {202}
    (job,) = {answer.json()["job_id"] for answer in same}
    others = await asyncio.gather(*(send(next(doors), head, f"第{n}次。", voice) for n in range(8)))
    answers = Counter(answer.status_code for answer in others)
    refilled = int((time.monotonic() - begun) // 20)  # three a minute
    assert 2 <= answers[202] <= 2 + refilled, "and one was the six together"
    assert answers == {202: answers[202], 429: 8 - answers[202]}
    refused = next(answer for answer in others if answer.status_code == 429)
    assert refused.json()["code"] == "quota_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    async with httpx.AsyncClient(base_url=house.doors[1], headers=head, timeout=SOON) as client:
        listed = (await client.get("/v1/jobs")).json()["jobs"]
    taken = {answer.json()["job_id"] for answer in others if answer.status_code == 202}
    assert {each["job_id"] for each in listed} == {job} | taken
    events = [event async for event in heard(house.doors[0], head, job)]
    assert events[-1]["state"] == "delivered"
    topics = await events_of(house, job)
    assert topics["prompt-uploaded"] == topics["speech-delivered"] == 1


async def test_a_gateway_killed_over_an_upload_costs_one_part_and_leaves_none(
    house: House, somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sound(0)
    monkeypatch.setattr(wire, "PIECE", len(whole) // 2 + 1)
    with Client(house.doors[0], token=somebody.token, patience=SOON) as client:
        upload = await survived(
            house, [OBJECT_BEFORE, OBJECT_AFTER, PART], lambda: client.upload(whole)
        )
        job = await survived(
            house, [OBJECT_AFTER, ACCEPTED], lambda: client.send("分段。", upload=upload)
        )
        job = await asyncio.to_thread(client.wait, job.job_id)
        assert job.state == "delivered", job.why
        assert [each.job_id for each in client.jobs().jobs] == [job.job_id], "it is one job"
    assert job.recording is not None
    async with httpx.AsyncClient(timeout=SOON) as http:
        kept = flac.read_flac((await http.get(job.recording.url)).content)
    assert np.array_equal(kept.samples, flac.read_flac(whole).samples), "all parts, each once"
    there = await left(house, somebody.id, monkeypatch)
    assert there.objects["recording"] == there.objects["audio"] == 1
    assert (there.objects["upload"], there.rows) == (0, Counter())


async def test_a_gateway_killed_while_a_voice_is_saved_and_revoked_does_both_once(
    house: House, somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(house.doors[0], token=somebody.token, patience=SOON) as client:
        voice = await survived(
            house,
            [OBJECT_BEFORE, OBJECT_AFTER, VOICE],
            lambda: client.save_voice("我", sound(0), "我同意。"),
        )
        assert [each.id for each in client.voices()] == [voice.id]
        there = await left(house, somebody.id, monkeypatch)
        assert (there.objects, there.rows) == ({"voice": 1}, {"voices": 1})
        hasty = Client(house.doors[0], token=somebody.token, patience=0.1)
        with hasty, pytest.raises(Unreachable):
            await survived(house, [VOICE], lambda: hasty.revoke_voice(voice.id))
        await gone(house, voice.id)  # and nobody has asked again
        client.revoke_voice(voice.id)
        with pytest.raises(Refused, match="voice_revoked"):
            client.send("你好", voice=voice.id)
    there = await left(house, somebody.id, monkeypatch)
    assert (there.objects, there.rows) == ({}, {"voices": 1})

    async def published() -> bool:  # whoever was killed may have held the outbox for a while
        return "voice-revoked" in await events_of(house, somebody.id)

    await until(published, SOON)
    assert await events_of(house, somebody.id) == {"voice-saved": 1, "voice-revoked": 1}


async def gone(house: House, voice: str) -> None:
    """Return once the recording of a voice is deleted."""
    async with open_spine(house.settings) as spine:

        async def none() -> bool:
            return not [stat async for stat in spine.store.list("voice/") if voice in stat.key]

        await until(none, SOON)
