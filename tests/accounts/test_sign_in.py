"""Sessions, keys and links in SQL: each good for what it is for, and no longer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from starlette.responses import Response

from ingest.accounts import access_keys, links, sessions, signing
from ingest.accounts.access_keys import PREFIX, AccessKey, Wanted
from ingest.accounts.roles import SCOPES, Role, Scope
from ingest.accounts.sign_in import SignIn, Tokens
from ingest.accounts.tokens import Claims
from ingest.accounts.wechat import WeChat
from ingest.problems import Problem
from relay.process import calm_clients
from relay.sql.database import Database, Transaction
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MasterKey
from relay.sql.schema import accounts, metadata
from relay.wechat import WeChatSettings
from tests.accounts.weixin import APP, SECRET, SESSION_KEY, Weixin, weixin

HOUR, MONTH = timedelta(hours=1), timedelta(days=30)


@pytest.fixture
def keys(sql: Database) -> SqlKeyStore:
    return SqlKeyStore(sql, MasterKey(b"m" * 32))


@pytest.fixture
async def wechat() -> AsyncIterator[Weixin]:
    async with weixin() as server:
        server.codes = {"code-1": "openid-of-ming", "code-2": "openid-of-ming", "code-3": "other"}
        yield server


def asking(api: str, secret: str = SECRET) -> WeChat:
    """WeChat, where it is reached at `api`."""
    return WeChat(WeChatSettings(app=APP, secret=SecretStr(secret), api=api))


def signing_in(sql: Database, keys: SqlKeyStore, api: str | None = None) -> SignIn:
    """A gateway's own; without `api` nobody signs in through WeChat."""
    wechat = None if api is None else asking(api)
    return SignIn(sql, keys, "voxrelay://here", wechat, token_life=HOUR, session_life=MONTH)


@pytest.fixture
async def door(sql: Database, keys: SqlKeyStore, wechat: Weixin) -> AsyncIterator[SignIn]:
    opened = signing_in(sql, keys, wechat.url)
    yield opened
    await opened.close()


async def linked(sql: Database, keys: SqlKeyStore) -> str:
    """What a fresh link for the operator bears."""

    async def work(tx: Transaction) -> str:
        person = await keys.person_of_name(tx, links.OPERATOR)
        return await links.first(tx, person) or await links.make(tx, person)

    return await sql.run(work)


def passing(sql: Database, by: timedelta) -> None:
    """Let time pass for everybody who shares the database."""
    clock = sql._clock
    sql._clock = lambda: clock() + by


async def claims(door: SignIn, tokens: Tokens) -> Claims:
    said = await door.bearer(tokens.access)
    assert isinstance(said, Claims)
    return said


async def test_who_wechat_knows_is_one_person_and_another_is_another(door: SignIn) -> None:
    first, again, other = [await door.by_wechat(f"code-{n}") for n in (1, 2, 3)]
    assert first.person == again.person != other.person
    said = await claims(door, first)
    assert (said.sub, said.role) == (first.person, Role.USER)
    assert said.sid != (await claims(door, again)).sid


async def test_no_row_and_no_log_line_holds_a_code_an_openid_or_a_secret(
    door: SignIn, sql: Database, wechat: Weixin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    calm_clients()
    tokens = await door.by_wechat("code-1")
    await door.renewed(tokens.refresh)
    for errcode in (-1, 40013, 40029, 45011):
        wechat.errcode = errcode
        with pytest.raises(Problem):
            await door.by_wechat("code-2")
    async with sql.reading() as tx:
        rows = [str((await tx.execute(select(table))).all()) for table in metadata.sorted_tables]
    assert any(str(tokens.person) in row or tokens.person.hex in row for row in rows)
    assert "40013" in caplog.text
    hidden = ("code-1", "code-2", "openid-of-ming", SECRET, SESSION_KEY, tokens.access)
    for secret in (*hidden, tokens.refresh, tokens.refresh.partition(".")[2]):
        assert secret not in caplog.text
        assert not any(secret in row for row in rows), secret


@pytest.mark.parametrize(
    ("errcode", "code", "status"),
    [
        (40029, "code_refused", 401),
        (40163, "code_refused", 401),
        (40226, "sign_in_refused", 403),
        (45011, "sign_in_too_often", 429),
        (-1, "wechat_unavailable", 503),
        (40013, "wechat_misconfigured", 503),
        (40125, "wechat_misconfigured", 503),
        (40164, "wechat_misconfigured", 503),
    ],
)
async def test_wechats_errors_are_told_apart(
    wechat: Weixin, errcode: int, code: str, status: int
) -> None:
    wechat.errcode = errcode
    asked = asking(wechat.url)
    with pytest.raises(Problem) as refused:
        await asked.openid("code-1")
    await asked.close()
    assert (refused.value.code, refused.value.status) == (code, status)


async def test_a_code_is_good_once_and_the_secret_has_to_be_right(wechat: Weixin) -> None:
    right = asking(wechat.url)
    wrong = asking(wechat.url, "another")
    with pytest.raises(Problem, match="wechat_misconfigured"):
        await wrong.openid("code-1")
    assert await right.openid("code-1") == "openid-of-ming"
    with pytest.raises(Problem, match="code_refused"):
        await right.openid("code-1")
    for nonsense in ("", "with space", "x" * 300, "你好"):
        with pytest.raises(Problem, match="code_refused"):
            await right.openid(nonsense)
    await right.close()
    await wrong.close()


@pytest.mark.parametrize(
    "raw",
    [
        Response("<html>502</html>", status_code=502),
        Response("<html>hello</html>"),
        Response("[]"),
        Response('{"openid": ""}'),
        Response('{"openid": 7}'),
        Response("{}"),
        Response('{"errcode": "what"}'),
    ],
)
async def test_an_answer_that_is_none_of_wechats_signs_nobody_in(
    wechat: Weixin, raw: Response
) -> None:
    wechat.raw = raw
    asked = asking(wechat.url)
    with pytest.raises(Problem, match="wechat_unavailable"):
        await asked.openid("code-1")
    await asked.close()


async def test_wechat_out_of_reach_is_said_so() -> None:
    nowhere = asking("http://127.0.0.1:9")
    with pytest.raises(Problem, match="wechat_unavailable"):
        await nowhere.openid("code-1")
    await nowhere.close()


async def test_a_link_signs_the_operator_in_once_and_the_first_is_printed_once(
    sql: Database, keys: SqlKeyStore
) -> None:
    async def first(tx: Transaction) -> str | None:
        return await links.first(tx, await keys.person_of_name(tx, links.OPERATOR))

    printed = await asyncio.gather(*(sql.run(first) for _ in range(4)))
    (code,) = [each for each in printed if each is not None]
    door = signing_in(sql, keys)
    tokens = await door.by_link(code)
    assert (await claims(door, tokens)).role is Role.OPERATOR
    for spent in (code, "never made"):
        with pytest.raises(Problem, match="sign_in_link_invalid"):
            await door.by_link(spent)
    late = await linked(sql, keys)
    passing(sql, links.LIFE)
    with pytest.raises(Problem, match="sign_in_link_invalid"):
        await door.by_link(late)


async def test_a_refresh_token_is_good_once_and_a_stolen_one_ends_the_session(
    sql: Database, keys: SqlKeyStore
) -> None:
    door = signing_in(sql, keys)
    first = await door.by_link(await linked(sql, keys))
    second = await door.renewed(first.refresh)
    assert second.refresh != first.refresh
    assert (await claims(door, second)).sid == (await claims(door, first)).sid
    third = await door.renewed(first.refresh)  # the answer was lost on the way to the phone
    passing(sql, sessions.GRACE + timedelta(seconds=1))
    with pytest.raises(Problem, match="refresh_invalid"):
        await door.renewed(first.refresh)
    for tokens in (first, second, third):
        with pytest.raises(Problem, match="token_revoked"):
            await door.bearer(tokens.access)
    with pytest.raises(Problem, match="refresh_invalid"):
        await door.renewed(third.refresh)


async def test_a_session_ends_when_it_is_ended_or_left(sql: Database, keys: SqlKeyStore) -> None:
    door = signing_in(sql, keys)
    mine, other, left = [await door.by_link(await linked(sql, keys)) for _ in range(3)]
    await door.out((await claims(door, mine)).sid)
    with pytest.raises(Problem, match="token_revoked"):
        await door.bearer(mine.access)
    await claims(door, other)
    assert await sql.run(lambda tx: sessions.end_all(tx, other.person)) == 2
    with pytest.raises(Problem, match="token_revoked"):
        await door.bearer(other.access)
    for nonsense in ("", "vrr_", f"vrr_{'0' * 32}.x", "vrr_zz.x", left.access, "vrr_a.b" * 99):
        with pytest.raises(Problem, match="refresh_invalid"):
            await door.renewed(nonsense)
    late = await door.by_link(await linked(sql, keys))
    passing(sql, MONTH)
    with pytest.raises(Problem, match="refresh_invalid"):
        await door.renewed(late.refresh)


async def test_gateways_that_start_for_the_first_time_at_once_make_one_key(
    sql: Database, keys: SqlKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one finds no key, the first makes one, and the second means to make one, too."""
    here, there = signing.Signing(sql, keys), signing.Signing(sql, keys)
    looks = there._kids

    async def late() -> list[str]:
        found = await looks()
        monkeypatch.setattr(there, "_kids", looks)
        await here.ring()
        return found

    monkeypatch.setattr(there, "_kids", late)
    ring = await there.ring()
    assert len(ring.keys) == 1
    assert ring == await here.ring()


async def test_tokens_outlive_a_rotation_of_their_key_but_not_one_at_once(
    sql: Database, keys: SqlKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "FRESH", 0.0)
    here, there = signing_in(sql, keys), signing_in(sql, keys)
    old = await here.by_link(await linked(sql, keys))
    await sql.run(lambda tx: signing.rotate(tx, HOUR))
    new = await there.by_link(await linked(sql, keys))
    for gateway in (here, there):
        await claims(gateway, old)
        await claims(gateway, new)
    await sql.run(lambda tx: signing.rotate(tx, timedelta(0)))
    for tokens in (old, new):
        with pytest.raises(Problem, match="token_invalid"):
            await here.bearer(tokens.access)
    await claims(here, await here.renewed(new.refresh))


async def test_a_key_is_kept_as_a_hash_and_good_until_revoked_or_expired(
    sql: Database, keys: SqlKeyStore
) -> None:
    door = signing_in(sql, keys)
    wanted = Wanted("shop", scopes=frozenset({Scope.SEND}), life=HOUR, limits={"per_minute": 60.0})
    key, handed = await sql.run(lambda tx: access_keys.create(tx, wanted))
    spelled = handed.spelled(PREFIX)
    found = await door.bearer(spelled)
    assert isinstance(found, AccessKey)
    assert replace(found, created_at=key.created_at, expires_at=key.expires_at) == key
    async with sql.reading() as tx:
        rows = str((await tx.execute(select(metadata.tables["access_keys"]))).all())
    assert handed.secret not in rows
    for nonsense in (
        f"{PREFIX}{key.id}.x",
        f"{PREFIX}{'0' * 16}.{handed.secret}",
        PREFIX,
        "vrk_é.x",
    ):
        with pytest.raises(Problem, match="key_invalid"):
            await door.bearer(nonsense)
    other, theirs = await sql.run(lambda tx: access_keys.create(tx, Wanted("other")))
    assert other.person != key.person
    assert other.scopes == SCOPES[Role.USER]
    assert await sql.run(lambda tx: access_keys.revoke(tx, other.id))
    assert not await sql.run(lambda tx: access_keys.revoke(tx, other.id))
    with pytest.raises(Problem, match="key_revoked"):
        await door.bearer(theirs.spelled(PREFIX))
    passing(sql, HOUR)
    with pytest.raises(Problem, match="key_expired"):
        await door.bearer(spelled)


async def test_a_key_has_no_scope_beyond_its_role_and_no_person_who_is_not_there(
    sql: Database, keys: SqlKeyStore
) -> None:
    beyond = Wanted("x", Role.AUDITOR, frozenset({Scope.SEND}))
    with pytest.raises(Problem, match="scope_beyond_role"):
        await sql.run(lambda tx: access_keys.create(tx, beyond))
    first, _ = await sql.run(lambda tx: access_keys.create(tx, Wanted("x")))
    second, _ = await sql.run(lambda tx: access_keys.create(tx, Wanted("y", person=first.person)))
    assert second.person == first.person
    ghost = Wanted("z", person=type(first.person)(int=1))
    with pytest.raises(Problem, match="person_unknown"):
        await sql.run(lambda tx: access_keys.create(tx, ghost))


async def test_an_account_made_an_operator_signs_in_as_one(door: SignIn, sql: Database) -> None:
    tokens = await door.by_wechat("code-1")
    async with sql.transaction() as tx:
        await tx.execute(accounts.update().values(role="operator"))
    assert (await door.by_wechat("code-2")).role is Role.OPERATOR
    assert (await claims(door, tokens)).role is Role.USER, "a session keeps the role it began with"


async def test_wechat_is_off_unless_it_is_set(sql: Database, keys: SqlKeyStore) -> None:
    with pytest.raises(Problem, match="wechat_off"):
        await signing_in(sql, keys).by_wechat("code-1")
