"""Voices that are saved, shared and taken back, at two gateways of one site."""

from __future__ import annotations

import asyncio
import base64
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select, update

from audit import erasure
from audit.handout import hand_out
from infra.topics import apply
from ingest.accounts import access_keys
from ingest.accounts.access_keys import PREFIX, Wanted
from ingest.voices import REVOKE, Revoker
from relay.codec import decode, head_of
from relay.errors import Missing, Unavailable
from relay.log.sqlite import SqliteLog
from relay.objects.kinds import VOICE
from relay.outbox import Outbox
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.dues import Due
from relay.sql.schema import due, outbox, voice_shares, voices
from relay.sweep import Sweeper
from schemas.events import PromptUploaded, VoiceRevoked, VoiceSaved
from schemas.topics import topic_of
from tests.ingest.by_hand import Chain, in_outbox
from tests.ingest.conftest import House, house
from tests.ingest.sounds import wav
from tests.ingest.test_jobs import send
from tests.sql import until

CONSENT = {"statement": "我同意用我的声音合成语音。", "of": "self"}
ME, FRIEND, STRANGER = "me", "friend", "stranger"


@dataclass
class Site:
    """Two gateways, and callers with keys of their own."""

    one: House
    other: House
    tokens: dict[str, str]
    persons: dict[str, UUID]

    def client(self, who: str, at: House | None = None) -> httpx.AsyncClient:
        head = {"authorization": f"Bearer {self.tokens[who]}"}
        return (at or self.one).client("192.0.2.1", headers=head)

    async def voice_objects(self) -> int:
        return len([stat async for stat in self.one.objects.list(f"{VOICE}/")])


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    sql = "sqlite" if request.param == "sqlite" else request.getfixturevalue("database")
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(house(tmp_path, sql=sql, anonymous=False))
            for _ in range(2)
        ]
        made = Site(one, other, {}, {})
        for who in (ME, FRIEND, STRANGER):
            wanted = Wanted(who)
            key, handed = await one.database.run(lambda tx, w=wanted: access_keys.create(tx, w))
            made.tokens[who], made.persons[who] = handed.spelled(PREFIX), key.person
        yield made


def body(**fields: object) -> dict[str, Any]:
    sound = base64.b64encode(wav()).decode()
    return {"name": "妈妈", "recording": sound, "consent": CONSENT, **fields}


async def saved(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/v1/voices", json=body(**fields))
    assert answer.status_code == 201, answer.text
    voice: dict[str, Any] = answer.json()
    return voice


async def speak(client: httpx.AsyncClient, voice: str, key: str | None = None) -> httpx.Response:
    head = {} if key is None else {"idempotency-key": key}
    return await client.post("/v1/jobs", json={"text": "你好", "voice": voice}, headers=head)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def events(house: House, key: object) -> list[Any]:
    records = await in_outbox(house, str(key))
    heads = [head_of(record) for record in records]
    return [
        decode(record, head, await house.keys.key(head.person))
        for record, head in zip(records, heads, strict=True)
    ]


async def shared(site: Site, voice: str, **fields: object) -> dict[str, Any]:
    async with site.client(ME) as client:
        answer = await client.post(f"/v1/voices/{voice}/shares", json=fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_voice_is_saved_with_its_consent_and_spoken_in(site: Site) -> None:
    async with site.client(ME) as client, site.client(ME, site.other) as there:
        voice = await saved(client, language="zh")
        assert (voice["name"], voice["mine"], voice["language"]) == ("妈妈", True, "zh")
        assert voice["scopes"] == ["listen", "speak"]
        assert voice["consent"] == {**CONSENT, "at": voice["created_at"]}
        assert voice["seconds"] == pytest.approx(2, abs=0.1)
        assert (await there.get("/v1/voices")).json()["voices"][0]["id"] == voice["id"]
        job = (await speak(there, voice["id"])).json()["job_id"]
        sound = await client.get(voice["recording_url"])
        assert (sound.status_code, sound.content[:4]) == (200, b"fLaC")
        forged = voice["recording_url"].replace(voice["id"], str(uuid4()))
        assert refused(await client.get(forged)) == (403, "link_invalid")
    (event,) = await events(site.one, job)
    assert isinstance(event, PromptUploaded)
    assert event.recording.key == f"{VOICE}/{site.persons[ME]}/{voice['id']}"
    assert event.language == "zh"
    (told,) = await events(site.one, site.persons[ME])
    assert isinstance(told, VoiceSaved)
    assert (str(told.voice), told.name, told.statement) == (
        voice["id"],
        "妈妈",
        CONSENT["statement"],
    )
    async with site.one.database.reading() as tx:
        rows = [str((await tx.execute(select(table))).all()) for table in (voices, outbox)]
    assert "妈妈" not in "".join(rows), "a name lies open"


async def test_revoking_stops_new_jobs_at_once_and_takes_the_sound(site: Site) -> None:
    async with site.client(ME) as client, site.client(ME, site.other) as there:
        voice = await saved(client)
        first = await speak(client, voice["id"], key="k")
        assert (await client.delete(f"/v1/voices/{voice['id']}")).status_code == 204
        assert await site.voice_objects() == 0
        assert refused(await speak(there, voice["id"])) == (409, "voice_revoked")
        again = await speak(there, voice["id"], key="k")
        assert again.json()["job_id"] == first.json()["job_id"], "what was accepted is told"
        assert (await there.get("/v1/voices")).json() == {"voices": []}
        shown = (await there.get(f"/v1/voices/{voice['id']}")).json()
        assert shown["revoked_at"] is not None
        assert shown["recording_url"] is None
        renamed = await there.patch(f"/v1/voices/{voice['id']}", json={"name": "x"})
        assert refused(renamed) == (409, "voice_revoked")
        assert (await client.delete(f"/v1/voices/{voice['id']}")).status_code == 204
    told = await events(site.one, site.persons[ME])
    assert [type(each) for each in told] == [VoiceSaved, VoiceRevoked], "once"


async def test_a_gateway_that_dies_after_its_commit_has_revoked_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.client(ME) as client:
        voice = await saved(client)

        async def dies(key: str) -> None:
            raise Unavailable("killed before the object was deleted")

        monkeypatch.setattr(site.one.objects, "delete", dies)
        assert (await client.delete(f"/v1/voices/{voice['id']}")).status_code == 503
        monkeypatch.undo()
        assert await site.voice_objects() == 1
    async with site.other.database.reading() as tx:
        (row,) = (await tx.execute(select(due).where(due.c.kind == REVOKE))).all()
    await Revoker(site.other.objects)(Due(row.id, row.kind, row.at, payload=row.payload))
    assert await site.voice_objects() == 0


async def test_jobs_and_a_revocation_at_once_are_one_after_the_other(site: Site) -> None:
    async with site.client(ME) as client, site.client(ME, site.other) as there:
        voice = await saved(client)
        sent, gone = await asyncio.gather(
            asyncio.gather(*(speak(there, voice["id"]) for _ in range(4))),
            client.delete(f"/v1/voices/{voice['id']}"),
        )
    assert gone.status_code == 204
    assert {answer.status_code for answer in sent} <= {202, 409}
    async with site.one.database.reading() as tx:
        revoked = (await tx.execute(select(voices.c.revoked_at))).scalar_one()
        count = (await tx.execute(select(func.count()).select_from(outbox))).scalar_one()
    assert revoked is not None
    assert count == 2 + sum(answer.status_code == 202 for answer in sent)


async def test_saving_twice_under_one_key_is_one_voice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.voices.MOST", 1)  # who asks again is not refused for want of room
    async with site.client(ME) as client, site.client(ME, site.other) as there:
        head = {"idempotency-key": "k"}
        both = [at.post("/v1/voices", json=body(), headers=head) for at in (client, there)]
        answers = await asyncio.gather(*both)
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json()["id"] == answers[1].json()["id"]
        again = await there.post("/v1/voices", json=body(), headers=head)
        assert (again.status_code, again.json()["id"]) == (201, answers[0].json()["id"])
        full = await client.post("/v1/voices", json=body())
        assert refused(full) == (422, "voices_exceeded")
        other = await client.post("/v1/voices", json=body(name="爸爸"), headers=head)
        assert refused(other) == (422, "idempotency_key_reused")
    assert await site.voice_objects() == 1


async def test_a_code_shares_a_voice_with_the_first_who_shows_it(site: Site) -> None:
    async with (
        site.client(ME) as client,
        site.client(FRIEND, site.other) as friend,
        site.client(STRANGER) as stranger,
    ):
        voice = await saved(client)
        assert refused(await speak(friend, voice["id"])) == (404, "voice_unknown")
        share = await shared(site, voice["id"])
        code = {"code": share["code"]}
        taken = await friend.post("/v1/voices/accept", json=code)
        assert (taken.json()["id"], taken.json()["mine"]) == (voice["id"], False)
        assert (taken.json()["scopes"], taken.json()["recording_url"]) == (["speak"], None)
        assert taken.json()["name"] == "妈妈"
        assert (await friend.post("/v1/voices/accept", json=code)).is_success, "a retry"
        late = await stranger.post("/v1/voices/accept", json=code)
        assert refused(late) == (422, "share_code_invalid")
        job = await speak(friend, voice["id"])
        assert job.status_code == 202, job.text
        await (await Chain.of(site.other, job.json()["job_id"])).uploaded()
        shown = (await friend.get(f"/v1/jobs/{job.json()['job_id']}")).json()
        assert (shown["state"], shown["recording"]) == ("uploaded", None), "not theirs to hear"
        for way, more in (("PATCH", {"json": {"name": "x"}}), ("DELETE", {})):
            answer = await friend.request(way, f"/v1/voices/{voice['id']}", **more)
            assert refused(answer) == (403, "voice_of_another")
        listed = (await client.get(f"/v1/voices/{voice['id']}/shares")).json()["shares"]
        assert [each["person"] for each in listed] == [str(site.persons[FRIEND])]
        gone = await client.delete(f"/v1/voices/{voice['id']}/shares/{share['id']}")
        assert gone.status_code == 204
        assert refused(await speak(friend, voice["id"])) == (409, "voice_unshared")
        assert (await friend.get("/v1/voices")).json() == {"voices": []}


async def test_a_voice_is_renamed_also_by_who_has_no_patch(site: Site) -> None:
    async with site.client(ME) as client, site.client(FRIEND) as friend:
        at = f"/v1/voices/{(await saved(client))['id']}"
        assert (await client.patch(at, json={"name": "爸爸"})).json()["name"] == "爸爸"
        tunnel = {"x-http-method-override": "PATCH"}
        by_post = await client.post(at, json={"name": "奶奶"}, headers=tunnel)
        assert (by_post.status_code, by_post.json()["name"]) == (200, "奶奶")
        plain = await client.post(at, json={"name": "x"})
        assert refused(plain) == (405, "method_not_allowed")
        theirs = await friend.post(at, json={"name": "x"}, headers=tunnel)
        assert refused(theirs) == (404, "voice_unknown")
        assert (await client.get(at)).json()["name"] == "奶奶"


async def test_scopes_and_days_of_a_share_hold(site: Site) -> None:
    friend_id = str(site.persons[FRIEND])
    async with site.client(ME) as client, site.client(FRIEND) as friend:
        voice = await saved(client)
        await shared(site, voice["id"], person=friend_id, scopes=["listen"], days=1)
        assert (await friend.get(f"/v1/voices/{voice['id']}")).json()["recording_url"]
        assert refused(await speak(friend, voice["id"])) == (403, "voice_scope_missing")
        await shared(site, voice["id"], person=friend_id)
        assert (await speak(friend, voice["id"])).status_code == 202
        async with site.one.database.transaction() as tx:
            past = tx.now - timedelta(seconds=1)
            await tx.execute(update(voice_shares).values(expires_at=past))
        assert refused(await speak(friend, voice["id"])) == (409, "voice_unshared")
        nobody = {"person": str(uuid4())}
        answer = await client.post(f"/v1/voices/{voice['id']}/shares", json=nobody)
        assert refused(answer) == (422, "person_unknown")


async def test_whose_share_is_over_is_told_so_and_nobody_else(site: Site) -> None:
    async with (
        site.client(ME) as client,
        site.client(FRIEND, site.other) as friend,
        site.client(STRANGER) as stranger,
    ):
        voice = await saved(client)
        at = f"/v1/voices/{voice['id']}"
        for _ in range(2):
            code = (await shared(site, voice["id"]))["code"]
            await friend.post("/v1/voices/accept", json={"code": code})
        first = await speak(friend, voice["id"], key="k")
        await (await Chain.of(site.one, first.json()["job_id"])).uploaded()
        for share in (await client.get(f"{at}/shares")).json()["shares"]:
            assert (await client.delete(f"{at}/shares/{share['id']}")).status_code == 204
            twice = await client.delete(f"{at}/shares/{share['id']}")
            assert refused(twice) == (404, "share_unknown")
        assert refused(await speak(friend, voice["id"])) == (409, "voice_unshared")
        assert refused(await friend.get(at)) == (409, "voice_unshared")
        late = await friend.post("/v1/voices/accept", json={"code": code})
        assert refused(late) == (422, "share_code_invalid")
        again = await speak(friend, voice["id"], key="k")
        assert again.json()["job_id"] == first.json()["job_id"], "what was accepted is told"
        second = (await saved(client))["id"]
        share = (await shared(site, second, person=str(site.persons[FRIEND])))["id"]
        await client.delete(f"/v1/voices/{second}/shares/{share}")
        assert refused(await speak(friend, second, key="k")) == (409, "voice_unshared")
        assert refused(await speak(stranger, voice["id"])) == (404, "voice_unknown")
        assert refused(await speak(friend, str(uuid4()), key="k")) == (404, "voice_unknown")
        await shared(site, voice["id"], person=str(site.persons[FRIEND]))
        assert (await speak(friend, voice["id"])).status_code == 202, "and it may be given again"


async def test_only_who_may_use_it_is_listed_and_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.shares.MOST", 2)
    async with site.client(ME) as client:
        voice = await saved(client)
        at = f"/v1/voices/{voice['id']}/shares"
        await shared(site, voice["id"], person=str(site.persons[FRIEND]), days=1)
        await shared(site, voice["id"])
        assert refused(await client.post(at, json={})) == (422, "shares_exceeded")
        assert len((await client.get(at)).json()["shares"]) == 2
        async with site.one.database.transaction() as tx:
            past = tx.now - timedelta(days=8)
            over = update(voice_shares).values(created_at=past)
            await tx.execute(over)
            lapsed = update(voice_shares).where(voice_shares.c.expires_at.is_not(None))
            await tx.execute(lapsed.values(expires_at=past + timedelta(days=1)))
        assert (await client.get(at)).json()["shares"] == [], "a code is good for a week"
        for _ in range(2):
            assert (await client.post(at, json={})).status_code == 201
        assert len((await client.get(at)).json()["shares"]) == 2


async def test_a_revoked_voice_is_revoked_for_whom_it_was_shared_with(site: Site) -> None:
    async with site.client(ME) as client, site.client(FRIEND) as friend:
        voice = await saved(client)
        code = (await shared(site, voice["id"]))["code"]
        await shared(site, voice["id"], person=str(site.persons[FRIEND]))
        await client.delete(f"/v1/voices/{voice['id']}")
        assert refused(await speak(friend, voice["id"])) == (409, "voice_revoked")
        late = await friend.post("/v1/voices/accept", json={"code": code})
        assert refused(late) == (409, "voice_revoked")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"consent": None}, (422, "fields_invalid")),
        ({"consent": {"statement": "", "of": "self"}}, (422, "fields_invalid")),
        ({"consent": {"statement": "yes", "of": "nobody"}}, (422, "fields_invalid")),
        ({"name": "\x00"}, (422, "fields_invalid")),
        ({"recording": None}, (422, "recording_missing")),
        ({"recording": "AAAA"}, (422, "recording_not_audio")),
        ({"upload": str(uuid4())}, (422, "recording_ambiguous")),
        ({"upload": str(uuid4()), "recording": None}, (404, "upload_unknown")),
    ],
)
async def test_what_is_no_voice_is_refused_and_leaves_nothing(
    gateway: House, change: dict[str, Any], code: tuple[int, str]
) -> None:
    async with gateway.client() as client:
        answer = await client.post("/v1/voices", json=body(**change))
        assert refused(answer) == code
        assert (await client.get("/v1/voices")).json() == {"voices": []}
    assert [stat async for stat in gateway.objects.list("")] == []


async def test_a_form_with_an_upload_saves_a_voice(gateway: House) -> None:
    async with gateway.client() as client:
        begun = await client.post("/v1/uploads", headers={"upload-length": str(len(wav()))})
        at = begun.headers["location"]
        head = {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
        assert (await client.patch(at, headers=head, content=wav())).status_code == 204
        upload = at.rpartition("/")[2]
        form = {"name": "me", "consent": json.dumps(CONSENT), "upload": upload}
        answer = await client.post("/v1/voices", data=form, files={"nothing": b""})
        assert answer.status_code == 201, answer.text
        by_upload = await client.post("/v1/jobs", json={"text": "你好", "upload": upload})
        assert by_upload.status_code == 202, by_upload.text


async def test_upload_and_recording_with_one_content_are_one_request(gateway: House) -> None:
    async with gateway.client() as client:
        begun = await client.post("/v1/uploads", headers={"upload-defer-length": "1"})
        at = begun.headers["location"]
        upload = at.rpartition("/")[2]
        asked = {"text": "你好，世界", "upload": upload}
        early = await client.post("/v1/jobs", json=asked, headers={"idempotency-key": "k"})
        assert refused(early) == (409, "upload_incomplete")
        head = {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
        head["upload-length"] = str(len(wav()))
        assert (await client.patch(at, headers=head, content=wav())).status_code == 204
        sent = await client.post("/v1/jobs", json=asked, headers={"idempotency-key": "k"})
        assert (await send(client, key="k")).json()["job_id"] == sent.json()["job_id"]
        other = await send(client, key="k", text="别的")
        assert refused(other) == (422, "idempotency_key_reused")


async def test_the_sweep_leaves_a_voice_while_its_owner_has_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.sweep.AGE", timedelta(seconds=-60))  # old enough at once
    gateway = site.one
    sweeper = Sweeper(gateway.database, gateway.objects, SqliteLog(Path("nowhere")))
    async with site.client(ME) as client:
        kept, gone = await saved(client), await saved(client)
        async with gateway.database.transaction() as tx:  # by a gateway that died right then
            over = update(voices).where(voices.c.id == UUID(gone["id"]))
            await tx.execute(over.values(revoked_at=tx.now))
    lying = [stat async for stat in gateway.objects.list("")]
    assert await sweeper._sweep(lying) == 1
    await gateway.objects.stat(f"{VOICE}/{site.persons[ME]}/{kept['id']}")
    with pytest.raises(Missing, match="voice_revoked"):
        await gateway.objects.stat(f"{VOICE}/{site.persons[ME]}/{gone['id']}")


async def test_an_erasure_takes_voices_and_who_may_use_them(site: Site) -> None:
    async with site.client(ME) as client, site.client(FRIEND) as friend:
        voice, theirs = await saved(client), await saved(friend)
        await shared(site, voice["id"], person=str(site.persons[FRIEND]))
        database, keys = site.one.database, site.one.keys
        await erasure.begin(database, keys, "voxrelay://local", site.persons[ME], "operator")
        assert refused(await speak(friend, voice["id"])) == (404, "voice_unknown")
        listed = (await friend.get("/v1/voices")).json()["voices"]
        assert [each["id"] for each in listed] == [theirs["id"]]
    async with database.reading() as tx:
        assert (await tx.execute(select(voice_shares))).all() == []
        assert (await tx.execute(select(voices.c.person))).scalars().all() == [site.persons[FRIEND]]


async def test_an_edge_offers_no_voices_and_says_where_they_are(tmp_path: Path) -> None:
    edge = {"stages": "ingest,bridge", "site": "voxrelay://shop-1"}
    async with house(tmp_path, more=edge) as gateway, gateway.client() as client:
        offered = (await client.get("/openapi.json")).json()["paths"]
        assert [path for path in offered if path.startswith("/v1/voices")] == []
        assert "/v1/jobs" in offered
        for answer in (
            await client.get("/v1/voices"),
            await client.post("/v1/voices", json=body()),
            await client.get(f"/v1/voices/{uuid4()}/shares"),
            await speak(client, str(uuid4())),
        ):
            assert refused(answer) == (409, "voices_elsewhere")
        assert (await send(client)).status_code == 202


async def test_what_a_person_is_handed_has_their_voices(gateway: House, tmp_path: Path) -> None:
    async with gateway.client() as client:
        voice = await saved(client)
        await client.delete(f"/v1/voices/{(await saved(client, name='me'))['id']}")
    async with gateway.database.reading() as tx:
        person = (await tx.execute(select(voices.c.person).limit(1))).scalar_one()
    settings = Settings(data=tmp_path, master_key_file=tmp_path / "test-master.key")
    async with open_spine(settings) as spine:
        await apply(spine.log, settings)
        feeding = Outbox(spine.database, spine.log)
        running = asyncio.create_task(feeding.run())
        try:
            await until(lambda: logged(spine, 3), 30)
        finally:
            feeding.stop()
            await running
        await hand_out(spine, person, tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as found:
        events_ = [json.loads(line) for line in found.read("events.jsonl").splitlines()]
        assert f"{VOICE}/{voice['id']}.flac" in found.namelist()
    assert [each["topic"] for each in events_] == ["voice-saved", "voice-saved", "voice-revoked"]
    assert [each["event"].get("name") for each in events_] == ["妈妈", "me", None]


async def logged(spine: Spine, wanted: int) -> bool:
    topics = [topic_of(VoiceSaved), topic_of(VoiceRevoked)]
    return len([record async for record in spine.log.read(topics)]) == wanted
