"""One request, several manners: a job each, accepted together or not at all."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import select

from relay.errors import Unavailable
from relay.sql.schema import idempotency, jobs, quotas
from schemas.events import Mode, PromptUploaded
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import House
from tests.ingest.sounds import wav
from tests.ingest.test_accept import Pair, counted, pair, with_key  # noqa: F401 - a fixture
from tests.ingest.test_jobs import send, wish

MANNERS = [
    {"style": "sichuan"},
    {"instruct": "轻声地说。", "speed": 1.25},
    {"style": "gentle", "seed": 7},
]
LABELS = ["sichuan", "轻声地说。, ×1.25", "gentle, #7"]


async def prompts(house: House, ids: list[str]) -> list[PromptUploaded]:
    return [(await Chain.of(house, job)).prompt for job in ids]


async def test_each_manner_is_a_job_of_its_own_and_all_are_one_request(
    pair: Pair,  # noqa: F811
) -> None:
    one, other = pair
    async with one.client("192.0.2.1") as here, other.client("192.0.2.1") as there:
        both = [send(at, key="k", variants=MANNERS) for at in (here, there)]
        sent, again = [answer.json() for answer in await asyncio.gather(*both)]
        ids = [each["job_id"] for each in sent["variants"]]
        assert [each["variant"] for each in sent["variants"]] == LABELS
        assert (sent["job_id"], len(set(ids))) == (ids[0], 3)
        assert [each["job_id"] for each in again["variants"]] == ids
        other_manners = await send(here, key="k", variants=MANNERS[:2])
        assert other_manners.json()["code"] == "idempotency_key_reused"
        assert (await there.get(f"/v1/jobs/{ids[1]}")).json()["variant"] == LABELS[1]
    assert await counted(one) == (3, 3, 1)
    said = await prompts(one, ids)
    assert [(each.mode, each.style, each.speed, each.seed) for each in said] == [
        (Mode.ZERO_SHOT, "sichuan", 1.0, 0),
        (Mode.INSTRUCT, None, 1.25, 0),
        (Mode.ZERO_SHOT, "gentle", 1.0, 7),
    ]
    assert len({each.recording.key for each in said}) == 1
    async with one.database.reading() as tx:
        left = (await tx.execute(select(quotas.c.tokens))).scalar_one()
        rows = str((await tx.execute(select(jobs.c.sealed))).all())
    assert left == pytest.approx(2, abs=0.5), "one token"
    assert "轻声" not in rows


async def test_all_are_accepted_or_none(
    pair: Pair,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house, _ = pair
    from ingest import accept

    enqueue, told = accept.enqueue, []

    async def dies_at_the_second(tx: object, messages: object) -> None:
        told.append(messages)
        if len(told) == 2:
            raise Unavailable("killed between two of them")
        await enqueue(tx, messages)  # type: ignore[arg-type]

    monkeypatch.setattr(accept, "enqueue", dies_at_the_second)
    async with house.client("192.0.2.1") as client:
        assert (await send(client, key="k", variants=MANNERS)).status_code == 503
        assert await counted(house) == (0, 0, 0)
        assert (await send(client, key="k", variants=MANNERS)).status_code == 202
    assert await counted(house) == (3, 3, 1)


async def test_as_many_count_as_are_worked_on(pair: Pair) -> None:  # noqa: F811
    house, _ = pair
    head = await with_key(house, per_minute=0.0, concurrent=4.0)
    async with house.client(headers=head) as client:
        assert (await send(client, variants=MANNERS)).status_code == 202
        assert (await send(client, variants=MANNERS)).json()["code"] == "jobs_unfinished"
        assert (await send(client, variants=MANNERS[:1])).status_code == 202


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"variants": []}, "fields_invalid"),
        ({"variants": [{}] * 9}, "fields_invalid"),
        ({"variants": [{"volume": 2}]}, "fields_invalid"),
        ({"variants": [{"speed": 9}]}, "fields_invalid"),
        ({"variants": [{"instruct": "x" * 501}]}, "instruct_too_long"),
        ({"variants": [{"speed": 1.5}], "mode": "instruct"}, "instruct_missing"),
    ],
)
async def test_a_manner_that_is_none_refuses_them_all(
    gateway: House, fields: dict[str, object], code: str
) -> None:
    async with gateway.client() as client:
        answer = await client.post("/v1/jobs", json=wish(**fields))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await counted(gateway) == (0, 0, 0)


async def test_a_form_spells_them_as_json_and_one_alone_has_none(gateway: House) -> None:
    async with gateway.client() as client:
        form = {"text": "你好", "variants": json.dumps(MANNERS, ensure_ascii=False)}
        sent = await client.post("/v1/jobs", data=form, files={"recording": wav()})
        assert [each["variant"] for each in sent.json()["variants"]] == LABELS
        alone = (await send(client)).json()
    assert (alone["variants"], alone["variant"]) == (None, None)
    async with gateway.database.reading() as tx:
        assert (await tx.execute(select(idempotency))).all() == []
