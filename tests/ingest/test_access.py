"""Every door and every kind of caller: who is let in where, and that nobody sees another's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
import websockets
from fastapi.routing import APIRoute, APIWebSocketRoute
from sqlalchemy import select
from starlette.routing import Route

from audit.doors import ROUTERS as LOOKING_AFTER
from infra.topics import apply
from ingest.accounts import access_keys
from ingest.accounts.access_keys import PREFIX, Wanted
from ingest.accounts.roles import Role, Scope
from ingest.app import ROUTERS
from relay.notices import WEBHOOK
from relay.sql.database import Transaction
from relay.sql.schema import due
from tests.accounts.test_sign_in import linked
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import House, house, served
from tests.ingest.test_jobs import send, wish
from voxrelay_client import AsyncClient, Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY, FORGED, USER, OTHER, OPERATOR, AUDITOR, SENDS, READS, REVOKED = [
    "nobody",
    "forged",
    "user",
    "other",
    "operator",
    "auditor",
    "sends",
    "reads",
    "revoked",
]
KEYS: Mapping[str, Wanted] = {
    USER: Wanted(USER),
    OTHER: Wanted(OTHER),
    OPERATOR: Wanted(OPERATOR, Role.OPERATOR),
    AUDITOR: Wanted(AUDITOR, Role.AUDITOR),
    SENDS: Wanted(SENDS, scopes=frozenset({Scope.SEND})),
    READS: Wanted(READS, scopes=frozenset({Scope.READ})),
    REVOKED: Wanted(REVOKED),
}

UNPROVEN = frozenset({NOBODY, FORGED, REVOKED})
EVERYBODY = frozenset({*KEYS, *UNPROVEN})
KNOWN = EVERYBODY - UNPROVEN

LET_IN: Mapping[tuple[str, str], frozenset[str]] = {
    ("POST", "/tts"): frozenset({USER, OTHER, OPERATOR, SENDS}),
    ("POST", "/v1/jobs"): frozenset({USER, OTHER, OPERATOR, SENDS}),
    ("GET", "/v1/jobs"): KNOWN - {SENDS},
    ("GET", "/v1/jobs/{job_id}"): frozenset({USER}),
    ("GET", "/v1/jobs/{job_id}/events"): frozenset({USER}),
    ("WS", "/v1/ws"): KNOWN - {SENDS},
    ("GET", "/v1/jobs/{job_id}/{thing}"): frozenset(),  # who has a signed address, see below
    ("HEAD", "/v1/jobs/{job_id}/{thing}"): frozenset(),
    ("POST", "/v1/jobs/{job_id}/played"): frozenset({USER}),
    ("POST", "/v1/jobs/{job_id}/rating"): frozenset({USER}),
    ("POST", "/v1/jobs/{job_id}/report"): frozenset({USER}),
    ("POST", "/v1/jobs/{job_id}/appeal"): frozenset({USER}),
    ("POST", "/v1/jobs/{job_id}/share"): frozenset({USER}),
    ("DELETE", "/v1/jobs/{job_id}/share"): frozenset({USER}),
    ("GET", "/s/{token}"): EVERYBODY,  # of a page that is not there
    ("GET", "/s/{token}/speech"): EVERYBODY,
    ("POST", "/s/{token}/report"): EVERYBODY,
    ("GET", "/v1/review"): frozenset({OPERATOR}),
    ("POST", "/v1/review/{review_id}"): frozenset({OPERATOR}),
    ("GET", "/v1/dead"): frozenset({OPERATOR}),
    ("GET", "/v1/dead/{letter_id}"): frozenset({OPERATOR}),
    ("POST", "/v1/dead/{letter_id}/redrive"): frozenset({OPERATOR}),
    ("POST", "/v1/dead/{letter_id}/discard"): frozenset({OPERATOR}),
    ("GET", "/v1/status"): frozenset({OPERATOR, AUDITOR}),
    ("GET", "/v1/audit/trail/{trail_id}"): frozenset({AUDITOR}),
    ("GET", "/v1/audit/jobs"): frozenset({AUDITOR}),
    ("GET", "/audit"): EVERYBODY,
    ("GET", "/v1/catalogue"): EVERYBODY,
    ("OPTIONS", "/v1/uploads"): EVERYBODY,
    ("POST", "/v1/uploads"): frozenset({USER, OTHER, OPERATOR, SENDS}),
    ("HEAD", "/v1/uploads/{upload_id}"): frozenset({USER}),
    ("PATCH", "/v1/uploads/{upload_id}"): frozenset({USER}),
    ("POST", "/v1/uploads/{upload_id}"): frozenset({USER}),
    ("DELETE", "/v1/uploads/{upload_id}"): frozenset({USER, OTHER, OPERATOR, SENDS}),  # of none
    ("WS", "/v1/uploads/ws"): frozenset({USER, OTHER, OPERATOR, SENDS}),
    ("GET", "/v1/voices"): frozenset({USER, OTHER, OPERATOR}),
    ("POST", "/v1/voices"): frozenset({USER, OTHER, OPERATOR}),
    ("POST", "/v1/voices/accept"): frozenset({USER, OTHER, OPERATOR}),  # of no code
    ("GET", "/v1/voices/{voice_id}"): frozenset({USER}),
    ("PATCH", "/v1/voices/{voice_id}"): frozenset({USER}),
    ("POST", "/v1/voices/{voice_id}"): frozenset({USER}),
    ("DELETE", "/v1/voices/{voice_id}"): frozenset({USER, OTHER, OPERATOR}),  # of none
    ("GET", "/v1/voices/{voice_id}/recording"): frozenset(),  # who has a signed address
    ("HEAD", "/v1/voices/{voice_id}/recording"): frozenset(),
    ("GET", "/v1/voices/{voice_id}/shares"): frozenset({USER}),
    ("POST", "/v1/voices/{voice_id}/shares"): frozenset({USER}),
    ("DELETE", "/v1/voices/{voice_id}/shares/{share_id}"): frozenset({USER}),  # of none
    ("POST", "/v1/session"): EVERYBODY,  # where a proof is checked
    ("POST", "/v1/session/refresh"): EVERYBODY,
    ("GET", "/v1/session"): KNOWN,
    ("DELETE", "/v1/session"): frozenset(),  # a key is not signed out; a session is, see below
    ("GET", "/v1/keys"): frozenset({OPERATOR, AUDITOR}),
    ("POST", "/v1/keys"): frozenset({OPERATOR}),
    ("DELETE", "/v1/keys/{key_id}"): frozenset({OPERATOR}),
    ("GET", "/v1/webhooks"): frozenset({USER, OTHER, OPERATOR}),
    ("POST", "/v1/webhooks"): frozenset({USER, OTHER, OPERATOR}),
    ("GET", "/v1/webhooks/{hook_id}/tries"): frozenset({USER}),
    ("DELETE", "/v1/webhooks/{hook_id}"): frozenset({USER, OTHER, OPERATOR}),  # of none
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/metrics"): EVERYBODY,
    ("GET", "/"): EVERYBODY,
    ("GET", "/page/{name}"): EVERYBODY,
    ("GET", "/docs"): EVERYBODY,
    ("GET", "/{proof}.txt"): EVERYBODY,
    ("GET", "/openapi.json"): EVERYBODY,
}
"""Who gets an answer at a door that is not a refusal of who they are. What is there is USER's."""

BODIES: Mapping[str, Any] = {
    "/tts": {"text": ""},  # let in, it is told what lacks
    "/v1/jobs": wish(),
    "/v1/voices": {
        "name": "me",
        "recording": wish()["recording"],
        "consent": {"statement": "yes", "of": "self"},
    },
    "/v1/voices/accept": {"code": "vrv_none.such"},
    "/v1/voices/{voice_id}": {"name": "mine"},
    "/v1/voices/{voice_id}/shares": {},
    "/v1/session": {"link": "never made"},
    "/v1/session/refresh": {"refresh_token": "never made"},
    "/v1/keys": {"name": "made"},
    "/v1/webhooks": {"url": "https://1.1.1.1/"},
    "/v1/jobs/{job_id}/rating": {"stars": 5},
    "/v1/jobs/{job_id}/report": {"reason": "other"},
    "/v1/jobs/{job_id}/appeal": {"note": "why"},
    "/s/{token}/report": {"reason": "other"},
    "/v1/review/{review_id}": {"approve": True, "reason": "why"},
}
HEADS: Mapping[str, Mapping[str, str]] = {
    "/v1/uploads": {"upload-length": "3"},
    "/v1/uploads/{upload_id}": {
        "x-http-method-override": "PATCH",
        "upload-offset": "0",
        "content-type": "application/offset+octet-stream",
    },
    "/v1/voices/{voice_id}": {"x-http-method-override": "PATCH"},
}
NOT_REFUSED: Mapping[tuple[str, str], frozenset[int]] = {
    ("OPTIONS", "/v1/uploads"): frozenset({204}),
    ("PATCH", "/v1/uploads/{upload_id}"): frozenset({204}),
    ("POST", "/v1/uploads/{upload_id}"): frozenset({204}),
    ("DELETE", "/v1/uploads/{upload_id}"): frozenset({404}),
    ("POST", "/tts"): frozenset({400}),
    ("POST", "/v1/voices/accept"): frozenset({422}),
    ("DELETE", "/v1/voices/{voice_id}"): frozenset({404}),
    ("DELETE", "/v1/voices/{voice_id}/shares/{share_id}"): frozenset({404}),
    ("POST", "/v1/session"): frozenset({401}),
    ("POST", "/v1/session/refresh"): frozenset({401}),
    ("DELETE", "/v1/keys/{key_id}"): frozenset({404}),
    ("DELETE", "/v1/webhooks/{hook_id}"): frozenset({404}),
    ("POST", "/v1/jobs/{job_id}/appeal"): frozenset({409}),
    ("DELETE", "/v1/jobs/{job_id}/share"): frozenset({204}),
    ("GET", "/s/{token}"): frozenset({404}),
    ("GET", "/s/{token}/speech"): frozenset({404}),
    ("POST", "/s/{token}/report"): frozenset({404}),
    ("POST", "/v1/review/{review_id}"): frozenset({404}),
    ("GET", "/v1/dead/{letter_id}"): frozenset({404}),
    ("POST", "/v1/dead/{letter_id}/redrive"): frozenset({404}),
    ("POST", "/v1/dead/{letter_id}/discard"): frozenset({404}),
    ("GET", "/v1/audit/trail/{trail_id}"): frozenset({404}),
    ("GET", "/{proof}.txt"): frozenset({404}),
}
"""What a door answers who is let in with a request that asks for nothing there is."""


@dataclass
class World:
    """A gateway that wants tokens, a bearer of each kind, and a job of USER's."""

    gateway: House
    tokens: Mapping[str, str]
    job: str
    hook: str
    upload: str = ""
    voice: str = ""

    def client(self, who: str) -> httpx.AsyncClient:
        """A client of `who`, from an address of nobody's."""
        return self.gateway.client("192.0.2.1", headers=self.head(who))

    def head(self, who: str) -> dict[str, str]:
        token = self.tokens.get(who)
        return {"authorization": f"Bearer {token}"} if token else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with house(tmp_path_factory.mktemp("access"), anonymous=False) as gateway:
        await apply(gateway.spine.log, gateway.spine.settings)
        tokens = {FORGED: "vrk_0123456789abcdef.forged"}
        for who, wanted in KEYS.items():

            async def make(tx: Transaction, wanted: Wanted = wanted) -> tuple[str, str]:
                key, handed = await access_keys.create(tx, wanted)
                return key.id, handed.spelled(PREFIX)

            id_, tokens[who] = await gateway.database.run(make)
            if who == REVOKED:
                await gateway.database.run(lambda tx, id_=id_: access_keys.revoke(tx, id_))
        made = World(gateway, tokens, "", "")
        async with made.client(USER) as client:
            made.job = (await send(client)).json()["job_id"]
            hook = await client.post("/v1/webhooks", json=BODIES["/v1/webhooks"])
            made.hook = hook.json()["id"]
            begun = await client.post("/v1/uploads", headers=HEADS["/v1/uploads"])
            made.voice = (await client.post("/v1/voices", json=BODIES["/v1/voices"])).json()["id"]
            made.upload = begun.headers["location"].rpartition("/")[2]
        chain = await Chain.of(gateway, made.job)
        await chain.uploaded()
        await chain.delivered()
        yield made


async def test_every_door_is_in_the_table(world: World) -> None:
    routers = (*ROUTERS, *LOOKING_AFTER)
    routes = [route for router in routers for route in router.routes]
    own = [route for route in world.gateway.app.routes if isinstance(route, Route)]
    doors = {("WS", route.path) for route in routes if isinstance(route, APIWebSocketRoute)}
    doors |= {(way, at.path) for at in routes if isinstance(at, APIRoute) for way in at.methods}
    doors |= {("GET", route.path) for route in own}
    assert doors == set(LET_IN)
    assert len(world.gateway.app.routes) == len(routers) + len(own), "a door beside the routers"


@pytest.mark.parametrize("door", [d for d in LET_IN if d[0] != "WS"], ids=" ".join)
async def test_a_door_lets_in_whom_the_table_says(world: World, door: tuple[str, str]) -> None:
    method, pattern = door
    path = pattern.replace("{job_id}", world.job).replace("{thing}", "audio")
    path = path.replace("{key_id}", "0" * 16).replace("{token}", "t" * 32)
    path = path.replace("{name}", "main.js")
    for name in ("{review_id}", "{letter_id}", "{trail_id}"):
        path = path.replace(name, str(uuid4()))
    path = path.replace("{hook_id}", world.hook if method == "GET" else str(uuid4()))
    path = path.replace("{upload_id}", world.upload if method != "DELETE" else str(uuid4()))
    own = (method, pattern) != ("DELETE", "/v1/voices/{voice_id}")
    path = path.replace("{voice_id}", world.voice if own else str(uuid4()))
    path = path.replace("{share_id}", str(uuid4())).replace(
        "/recording", f"/recording?owner={uuid4()}"
    )
    body = BODIES.get(pattern) if method in ("POST", "PATCH") else None
    for who in sorted(EVERYBODY):
        async with world.client(who) as client:
            answer = await client.request(method, path, json=body, headers=HEADS.get(pattern))
        told = f"{who} at {method} {path}: {answer.status_code}"
        code = _code(answer)
        if who in LET_IN[door]:
            good = NOT_REFUSED.get(door, frozenset({200, 201, 202, 503}))
            assert answer.status_code in good, told
            assert code not in ("token_required", "key_invalid", "scope_missing"), told
        else:
            refused = _refused(method, pattern, who)
            assert answer.status_code == refused[0], told
            assert code in (refused[1], None), told  # None: HEAD, and /tts has no code
            assert (refused[0] == 401) == ("www-authenticate" in answer.headers), told


def _refused(method: str, pattern: str, who: str) -> tuple[int, str]:
    """What `who` is told at a door that is not theirs."""
    if "{thing}" in pattern or pattern.endswith("/recording"):
        return 403, "link_invalid"
    if who in UNPROVEN:
        codes = {NOBODY: "token_required", REVOKED: "key_revoked"}
        return 401, codes.get(who, "key_invalid")
    if (method, pattern) == ("DELETE", "/v1/session"):
        return 401, "token_required"
    if "{job_id}" in pattern and who != SENDS:
        return 404, "job_unknown"
    if "{hook_id}" in pattern and who in (OTHER, OPERATOR):
        return 404, "webhook_unknown"
    if "{voice_id}" in pattern and who in (OTHER, OPERATOR):
        return 404, "voice_unknown"
    if "{upload_id}" in pattern and who in (OTHER, OPERATOR, SENDS):
        return 404, "upload_unknown"
    return 403, "scope_missing"


def _code(answer: httpx.Response) -> str | None:
    try:
        said = answer.json()
    except ValueError:
        return None
    return said.get("code") if isinstance(said, dict) else None


async def test_anothers_job_is_not_there_whoever_asks(world: World) -> None:
    for who in (OTHER, OPERATOR, AUDITOR, READS):
        async with world.client(who) as client:
            ghost = await client.get(f"/v1/jobs/{uuid4()}")
            for path in (f"/v1/jobs/{world.job}", f"/v1/jobs/{world.job}/events"):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()) == (404, ghost.json()), who
            jobs = (await client.get("/v1/jobs", params={"limit": 100})).json()["jobs"]
            assert world.job not in {job["job_id"] for job in jobs}


async def test_sound_is_fetched_at_an_address_that_its_owner_was_given(world: World) -> None:
    async with world.client(USER) as client:
        job = (await client.get(f"/v1/jobs/{world.job}")).json()
    async with world.client(NOBODY) as client:
        assert (await client.get(job["audio"]["url"])).status_code == 200
        other = job["audio"]["url"].replace(world.job, str(uuid4()))
        assert (await client.get(other)).json()["code"] == "link_invalid"


async def test_a_session_is_begun_renewed_seen_and_ended(world: World) -> None:
    gateway = world.gateway
    code = await linked(gateway.database, gateway.keys)
    async with world.client(NOBODY) as client:
        begun = await client.post("/v1/session", json={"link": code})
        assert begun.status_code == 200, begun.text
        again = {"refresh_token": begun.json()["refresh_token"]}
        fresh = (await client.post("/v1/session/refresh", json=again)).json()
        head = {"authorization": f"bearer {fresh['access_token']}"}
        who = (await client.get("/v1/session", headers=head)).json()
        assert (who["role"], who["person"]) == ("operator", begun.json()["person"])
        made = await client.post("/v1/keys", headers=head, json={"name": "shop", "days": 1})
        assert made.status_code == 201, made.text
        key = {"authorization": f"Bearer {made.json()['key']}"}
        assert (await client.get("/v1/jobs", headers=key)).status_code == 200
        shown = (await client.get("/v1/keys", headers=head)).json()["keys"]
        assert {each["id"] for each in shown} > {made.json()["id"]}
        assert "key" not in shown[0]
        path = f"/v1/keys/{made.json()['id']}"
        assert (await client.delete(path, headers=head)).status_code == 204
        revoked = await client.get("/v1/jobs", headers=key)
        assert (revoked.status_code, revoked.json()["code"]) == (401, "key_revoked")
        assert (await client.delete("/v1/session", headers=head)).status_code == 204
        ended = await client.get("/v1/session", headers=head)
        assert (ended.status_code, ended.json()["code"]) == (401, "token_revoked")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "proof_ambiguous"),
        ({"link": "a", "wechat_code": "b"}, "proof_ambiguous"),
        ({"wechat_code": "b"}, "wechat_off"),
        ({"link": "x" * 301}, "fields_invalid"),
        ({"link": "\x00"}, "sign_in_link_invalid"),
        ([], "fields_invalid"),
    ],
)
async def test_a_proof_that_is_none_is_refused(world: World, body: Any, code: str) -> None:
    async with world.client(NOBODY) as client:
        answer = await client.post("/v1/session", json=body)
    assert answer.json()["code"] == code


async def test_a_bad_token_is_refused_also_where_nobody_needs_one(shared: House) -> None:
    async with shared.client() as client:
        assert (await client.get("/v1/jobs")).status_code == 200
        for head in ("Bearer nonsense", "Bearer vrk_0.x"):
            answer = await client.get("/v1/jobs", headers={"authorization": head})
            assert answer.status_code == 401
        proxy = {"authorization": "Basic dXNlcjpwYXNz"}
        assert (await client.get("/v1/jobs", headers=proxy)).status_code == 200


async def test_an_upload_over_a_socket_takes_who_may_send(world: World) -> None:
    async with served(world.gateway) as address:
        for who in sorted(EVERYBODY - {NOBODY, FORGED, REVOKED}):
            url = f"ws://{address}/v1/uploads/ws"
            async with websockets.connect(url, additional_headers=world.head(who)) as line:
                await line.send(f'{{"type": "resume", "upload": "{world.upload}"}}')
                said = json.loads(await line.recv())
            let_in = who in LET_IN["WS", "/v1/uploads/ws"]
            code = "upload_unknown" if let_in else "scope_missing"
            assert said.get("code") == (None if who == USER else code), who


async def test_a_socket_takes_its_token_in_its_head_or_as_its_first_word(world: World) -> None:
    async with served(world.gateway) as address:
        url = f"ws://{address}/v1/ws"
        for who in sorted(EVERYBODY - {NOBODY, FORGED, REVOKED}):
            async with websockets.connect(url, additional_headers=world.head(who)) as line:
                await line.send('{"ping": true}')
                said = str(await line.recv())
                assert ("pong" in said) == (who in LET_IN["WS", "/v1/ws"]), who
        async with websockets.connect(url) as line:
            assert "token_required" in str(await line.recv())
            await line.send(f'{{"token": "{world.tokens[USER]}"}}')
            assert "welcome" in str(await line.recv())
            await line.send(f'{{"subscribe": "{world.job}"}}')
            assert "uploaded" in str(await line.recv())
        for wrong in ('{"ping": true}', '{"token": "nonsense"}', "nonsense"):
            async with websockets.connect(url) as line:
                await line.recv()
                await line.send(wrong)
                assert "problem" in str(await line.recv())
                with pytest.raises(websockets.ConnectionClosed):
                    await line.recv()


async def test_the_python_client_bears_a_key(world: World) -> None:
    async with served(world.gateway) as address:
        async with AsyncClient(f"http://{address}", token=world.tokens[USER]) as client:
            assert str((await client.job(world.job)).job_id) == world.job
        async with AsyncClient(f"http://{address}", token=world.tokens[REVOKED]) as client:
            with pytest.raises(Refused) as refused:
                await client.jobs()
    assert (refused.value.status, refused.value.code) == (401, "key_revoked")


async def test_an_address_signs_in_so_often_a_minute(tmp_path: Path) -> None:
    async with (
        house(tmp_path, anonymous=False, sign_ins_per_minute=2) as gateway,
        gateway.client("192.0.2.1") as client,
        gateway.client("192.0.2.2") as other,
    ):
        proof = {"link": "never made"}
        said = [await client.post("/v1/session", json=proof) for _ in range(3)]
        assert [answer.status_code for answer in said] == [401, 401, 429]
        assert said[2].json()["code"] == "sign_in_too_often"
        assert 1 <= int(said[2].headers["retry-after"]) <= 31
        assert (await other.post("/v1/session", json=proof)).status_code == 401


async def test_an_ending_that_the_view_shows_is_to_be_told_once(world: World) -> None:
    chain = await Chain.of(world.gateway, world.job)
    await chain.delivered()  # as after a death: the view sees the event again
    async with world.gateway.database.reading() as tx:
        rows = (await tx.execute(select(due).where(due.c.kind == WEBHOOK))).all()
    (payload,) = [row.payload for row in rows if row.payload["receiver"] == world.hook]
    assert (payload["job"], payload["state"], payload["tries"]) == (world.job, "delivered", 0)
