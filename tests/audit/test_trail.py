"""The trail of a job of each fate is whole, on both logs; a search finds what fits and no other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from audit.reading import person_in
from audit.search import Wanted, search
from audit.trail import trail
from relay.codec import head_of
from relay.spine import Spine, open_spine
from schemas.states import State
from tests.audit.relay import POISON, TEXTS, Lived, address_of

STEPS = {
    "delivered": "prompt-uploaded prompt-approved speech-synthesized speech-delivered",
    "again": "prompt-uploaded prompt-approved speech-synthesized speech-delivered",
    "rejected": "prompt-uploaded prompt-rejected",
    "quiet": "prompt-uploaded prompt-rejected",
    "approved": "prompt-uploaded prompt-held prompt-reviewed prompt-approved "
    "speech-synthesized speech-delivered",
    "refused": "prompt-uploaded prompt-held prompt-reviewed prompt-rejected",
    "held": "prompt-uploaded prompt-held",
    "failed": "prompt-uploaded prompt-approved job-failed",
    "stuck": "prompt-uploaded prompt-approved prompt-approved-dead",
    "erased": "prompt-uploaded prompt-approved speech-synthesized speech-delivered",
}
STATES = {
    "again": "delivered",
    "approved": "delivered",
    "refused": "rejected",
    "quiet": "rejected",
} | {"erased": "delivered"}


@pytest.fixture(params=["sqlite", "kafka"])
def house(request: pytest.FixtureRequest) -> Lived:
    found: Lived = request.getfixturevalue(
        "lived" if request.param == "sqlite" else "lived_on_kafka"
    )
    return found


@asynccontextmanager
async def opened(house: Lived) -> AsyncIterator[Spine]:
    async with open_spine(house.settings) as spine:
        yield spine


async def told(spine: Spine, job: str, *, opens: bool = True) -> dict[str, Any]:
    found = await trail(spine, job, opens=opens)
    assert found is not None
    said: dict[str, Any] = json.loads(json.dumps(found.told))
    return said


async def test_every_step_of_every_fate_is_told_in_order(house: Lived) -> None:
    async with opened(house) as spine:
        for fate, job in house.jobs.items():
            said = await told(spine, job)
            assert " ".join(step["topic"] for step in said["steps"]) == STEPS[fate], fate
            assert said["state"] == said["view"] == STATES.get(fate, fate)
            times = [step["at"] for step in said["steps"]]
            assert times == sorted(times)
            assert len({step["id"] for step in said["steps"]}) >= len(times) - (fate == "stuck")


async def test_a_delivered_job_tells_who_what_how_and_where_to(house: Lived) -> None:
    async with opened(house) as spine:
        said = await told(spine, house.jobs["delivered"])
    uploaded, approved, spoken, delivered = (step["event"] for step in said["steps"])
    assert said["personal"] == "open"
    assert uploaded["text"] == approved["text"] == TEXTS["delivered"]
    assert uploaded["address"] == address_of("delivered")
    assert approved["transcript"].startswith("大家好")
    assert approved["verdict"]["code_version"]
    assert approved["verdict"]["hearing_digest"] == "ear-1"
    assert spoken["spoken"]["engine"] == "tone"
    assert (spoken["seed"], spoken["cached"]) == (0, False)
    assert delivered["label"]["produce_id"] == said["job"]
    kinds = {each["key"].split("/")[0]: each for each in said["objects"]}
    assert kinds.keys() == {"recording", "hearing", "speech", "audio"}
    assert {each["is"] for each in said["objects"]} == {"kept"}
    assert kinds["audio"]["found"] == delivered["audio"]["sha256"]
    assert [each["is"] for each in said["policies"]] == ["kept"]


async def test_a_review_a_rule_and_a_dead_letter_are_told_with_who_and_why(house: Lived) -> None:
    async with opened(house) as spine:
        refused = await told(spine, house.jobs["refused"])
        rejected = await told(spine, house.jobs["rejected"])
        stuck = await told(spine, house.jobs["stuck"])
    held, reviewed = refused["steps"][1:3]
    assert held["decided"]["by"] == reviewed["event"]["reviewer"] == "rita"
    assert reviewed["event"]["note"] == "listened"
    ((rule,),) = [each["fired"] for each in rejected["policies"]]
    assert (rule["id"], rule["action"]) == ("weapons", "reject")
    assert "words" not in rule
    dead = stuck["steps"][-1]
    assert dead["dead"]["group"] == "synth"
    assert dead["event"]["text"] == POISON
    assert "decided" not in dead


async def test_an_erased_persons_job_is_told_whole_with_holes(house: Lived) -> None:
    async with opened(house) as spine:
        said = await told(spine, house.jobs["erased"])
    assert said["personal"] == "erased"
    uploaded = said["steps"][0]["event"]
    assert uploaded["text"] == uploaded["address"] == {"erased": True}
    assert TEXTS["erased"] not in json.dumps(said, ensure_ascii=False)
    assert {each["is"] for each in said["objects"]} == {"gone"}
    assert all(each["said"] for each in said["objects"] if "hearing" not in each["key"])


async def test_nothing_is_opened_unless_asked_for(house: Lived) -> None:
    async with opened(house) as spine:
        said = await told(spine, house.jobs["delivered"], opens=False)
    assert said["steps"][0]["event"]["text"] == {"sealed": True}
    assert TEXTS["delivered"] not in json.dumps(said, ensure_ascii=False)


async def test_an_object_that_was_changed_is_called_altered(lived: Lived) -> None:
    async with opened(lived) as spine:
        before = await told(spine, lived.jobs["again"])
        audio = next(o for o in before["objects"] if o["key"].startswith("audio/"))
        was = await spine.store.get(audio["key"])
        await spine.store.delete(audio["key"])
        await spine.store.put(audio["key"], was + b"x", "audio/mpeg")
        after = await told(spine, lived.jobs["again"])
        await spine.store.delete(audio["key"])
        await spine.store.put(audio["key"], was, "audio/mpeg")
    assert {o["is"] for o in before["objects"]} == {"kept"}
    assert [o["key"] for o in after["objects"] if o["is"] == "altered"] == [audio["key"]]


@pytest.mark.parametrize("job", ["981c5ef7-6068-4f37-8f5d-ff74a863b3bc", "no id at all"])
async def test_a_job_that_never_was_has_no_trail(lived: Lived, job: str) -> None:
    async with opened(lived) as spine:
        assert await trail(spine, job) is None


async def jobs(spine: Spine, wanted: Wanted) -> list[str]:
    return sorted({seen.record.key async for seen in search(spine, wanted)})


def of(house: Lived, *fates: str) -> Sequence[str]:
    return sorted(house.jobs[fate] for fate in fates)


@pytest.mark.parametrize(
    ("wanted", "fates"),
    [
        (Wanted(), tuple(TEXTS)),
        (Wanted(state=State.ACCEPTED), tuple(TEXTS)),
        (Wanted(state=State.REJECTED), ("rejected", "refused", "quiet")),
        (Wanted(state=State.STUCK), ("stuck",)),
        (Wanted(state=State.FAILED), ("failed",)),
        (Wanted(rule="fraud"), ("approved", "refused", "held")),
        (Wanted(rule="fraud", state=State.REJECTED), ("refused",)),
        (Wanted(rule="weapons"), ("rejected",)),
        (Wanted(since=datetime.now(UTC) + timedelta(days=1)), ()),
        (Wanted(until=datetime(2020, 1, 1, tzinfo=UTC)), ()),
        (Wanted(person=UUID(int=5)), ()),
    ],
    ids=lambda value: value if isinstance(value, tuple) else "",
)
async def test_a_search_finds_what_fits(
    house: Lived, wanted: Wanted, fates: tuple[str, ...]
) -> None:
    async with opened(house) as spine:
        assert await jobs(spine, wanted) == of(house, *fates)


async def test_a_search_by_person_finds_theirs(house: Lived) -> None:
    async with opened(house) as spine:
        (first,) = [
            r async for r in spine.log.read(["prompt-uploaded"], key=house.jobs["delivered"])
        ]
        person = head_of(first).person
        assert person_in(first) == person
        assert await jobs(spine, Wanted(person=person)) == of(house, "delivered", "again")
