"""Subscribe messages: from a user who signed in to what WeChat is sent, over real HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from delivery.notify.fields import LIMITS, chosen, data, facts, fitted
from delivery.notify.messenger import Messenger
from delivery.notify.token import EARLY, Token
from ingest.accounts.sign_in import SignIn
from ingest.accounts.wechat import WeChat
from ingest.view import View
from relay.doorbell import Doorbell
from relay.errors import Misconfigured
from relay.notices import WECHAT, Ending, announce
from relay.process import calm_clients
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MasterKey
from relay.sql.schema import due, metadata, notice_tries
from relay.stage import Context
from relay.timer import Timer
from relay.wechat import Api, WeChatSettings
from schemas.envelope import Head
from schemas.events import JobFailed
from schemas.states import TERMINAL, State
from tests.accounts.weixin import APP, SECRET, Weixin, weixin

OPENID = "openid-of-ming"


def settings_of(server: Weixin, **more: str) -> WeChatSettings:
    chosen = {"template": server.template, "page": "pages/job?id={job}", **more}
    return WeChatSettings(app=APP, secret=SecretStr(SECRET), api=server.url, **chosen)


class Site:
    """A site whose users come from a mini-program."""

    def __init__(self, sql: Database, server: Weixin, **more: str) -> None:
        self.sql, self.server = sql, server
        self.keys = SqlKeyStore(sql, MasterKey(b"m" * 32))
        self.settings = settings_of(server, **more)
        self.passed, machine = timedelta(0), sql._clock
        sql._clock = lambda: machine() + self.passed
        self.messenger = Messenger(sql, self.keys, self.settings)
        self.timer = Timer(sql, self.keys, {WECHAT: self.messenger})

    async def user(self) -> UUID:
        """Ming, who has signed in."""
        self.server.codes = {"code": OPENID}
        life = timedelta(days=1)
        door = SignIn(
            self.sql,
            self.keys,
            "voxrelay://here",
            WeChat(self.settings),
            token_life=life,
            session_life=life,
        )
        person = (await door.by_wechat("code")).person
        await door.close()
        return person

    async def end(self, person: UUID, state: State = State.DELIVERED) -> Ending:
        ending = Ending(uuid4(), uuid4(), person, state, self.sql.now())
        await self.sql.run(lambda tx: announce(tx, [ending], messages=True))
        return ending

    async def outcomes(self) -> list[tuple[str, int | None]]:
        columns = notice_tries.c.outcome, notice_tries.c.status
        async with self.sql.reading() as tx:
            rows = await tx.execute(select(*columns).order_by(notice_tries.c.number))
            return [(row.outcome, row.status) for row in rows]

    async def waiting(self) -> int:
        async with self.sql.reading() as tx:
            query = select(func.count()).select_from(due).where(due.c.done.is_(False))
            return int((await tx.execute(query)).scalar_one())


class Silent(Doorbell):
    """Nobody waits for a job here."""

    def __init__(self) -> None:
        pass

    def ring(self, job: UUID) -> None:
        pass


@pytest.fixture
async def server() -> AsyncIterator[Weixin]:
    async with weixin() as opened:
        yield opened


@pytest.fixture
async def site(sql: Database, server: Weixin) -> AsyncIterator[Site]:
    made = Site(sql, server)
    yield made
    await made.messenger.close()


async def test_a_user_is_told_once_within_the_limits_of_the_template(site: Site) -> None:
    person = await site.user()
    site.server.allowed = {OPENID: 1}
    ending = await site.end(person)
    await site.sql.run(lambda tx: announce(tx, [ending], messages=True))  # the same again
    assert await site.timer.once() == 1
    (message,) = site.server.messages
    assert (message["touser"], message["template_id"]) == (OPENID, site.server.template)
    assert message["page"] == f"pages/job?id={ending.job}"
    assert set(message["data"]) == {"thing1", "phrase2", "time3"}
    assert message["data"]["phrase2"] == {"value": "已完成"}
    await site.end(uuid4())  # of somebody who never signed in through WeChat
    assert await site.timer.once() == 0


@pytest.mark.parametrize("messages", [True, False])
async def test_what_the_view_shows_is_told_where_messages_are_sent(
    site: Site, messages: bool
) -> None:
    person = await site.user()
    head = Head(uuid4(), JobFailed.TYPE, "here", site.sql.now(), person, str(uuid4()))
    view = View(site.sql, Silent(), messages=messages)
    for _ in range(2):
        event = JobFailed(stage="synth", code="x", message="x")
        await view.handle(event, Context(head, b"", site.sql.now()))
    assert await site.waiting() == messages


async def test_who_allowed_one_message_gets_one_and_that_is_no_failure(site: Site) -> None:
    person = await site.user()
    site.server.allowed = {OPENID: 1}
    for _ in range(2):
        await site.end(person)
    await site.timer.once()
    assert len(site.server.messages) == 1
    assert sorted(await site.outcomes()) == [("not_allowed", 43101), ("taken", 0)]
    assert await site.waiting() == 0


@pytest.mark.parametrize(
    ("errcode", "code", "again", "told"),
    [
        (43101, "not_allowed", False, ""),
        (40003, "openid_invalid", False, ""),
        (47003, "fields_invalid", False, "VOXRELAY_WECHAT_FIELDS"),
        (41030, "page_invalid", False, "VOXRELAY_WECHAT_PAGE"),
        (40037, "template_invalid", False, "VOXRELAY_WECHAT_TEMPLATE"),
        (40001, "token_invalid", True, ""),
        (42001, "token_invalid", True, ""),
        (45009, "refused", True, ""),
        (-1, "refused", True, ""),
    ],
)
async def test_wechats_errors_are_told_apart(
    site: Site, caplog: pytest.LogCaptureFixture, errcode: int, code: str, again: bool, told: str
) -> None:
    await site.end(await site.user())
    site.server.send_errcode = errcode
    await site.timer.once()
    assert await site.outcomes() == [(code, errcode)]
    assert await site.waiting() == again
    assert (told in caplog.text) if told else ("VOXRELAY_WECHAT" not in caplog.text)


async def test_a_token_that_was_taken_back_is_replaced_and_the_message_sent(site: Site) -> None:
    person = await site.user()
    site.server.allowed = {OPENID: 9}
    await site.end(person)
    await site.timer.once()
    site.server.renew()  # as when somebody forces a refresh elsewhere
    await site.end(person)
    await site.timer.once()
    assert len(site.server.messages) == 1
    site.passed += timedelta(seconds=10)
    await site.timer.once()
    assert len(site.server.messages) == 2
    assert site.server.tokens_asked == 2


async def test_a_token_is_shared_by_processes_and_renewed_before_it_expires(
    sql: Database, server: Weixin
) -> None:
    site = Site(sql, server)
    here, there = (
        Token(sql, SqlKeyStore(sql, MasterKey(b"m" * 32)), site.settings, Api(site.settings))
        for _ in range(2)
    )
    first = await asyncio.gather(*(here.get() for _ in range(4)))
    assert {*first, await there.get()} == {server.token}
    assert server.tokens_asked == 1
    site.passed += timedelta(seconds=7_200) - EARLY - timedelta(seconds=60)
    await there.get()
    assert server.tokens_asked == 1
    server.renew()  # WeChat hands the next one out from five minutes before
    site.passed += timedelta(seconds=60)
    assert await there.get() == await here.get() == server.token != first[0]
    assert server.tokens_asked == 2
    for token in (here, there):
        await token._api.close()
    await site.messenger.close()


async def test_wechat_away_is_tried_again_for_half_an_hour(site: Site) -> None:
    await site.end(await site.user())
    site.server.send_errcode = -1
    for _ in range(4):
        assert await site.timer.once() == 1
        site.passed += timedelta(minutes=40)
    assert await site.waiting() == 0
    assert await site.outcomes() == [("refused", -1)] * 4


async def test_no_row_and_no_log_line_holds_a_token_an_openid_or_the_secret(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    calm_clients()
    person = await site.user()
    for errcode in (None, 40001, 47003):
        site.server.send_errcode = errcode
        await site.end(person)
        await site.timer.once()
    async with site.sql.reading() as tx:
        rows = [str((await tx.execute(select(table))).all()) for table in metadata.sorted_tables]
    for hidden in (OPENID, SECRET, site.server.token):
        assert hidden not in caplog.text
        assert not any(hidden in row for row in rows)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_every_value_fits_every_field(state: State) -> None:
    at = datetime(2026, 5, 1, 16, 30, tzinfo=UTC)
    ending = Ending(UUID(int=1), UUID(int=2**128 - 1), UUID(int=3), state, at)
    for fact in facts(ending):
        for kind, limit in LIMITS.items():
            (said,) = data(ending, [(f"{kind}1", fact)]).values()
            assert 1 <= len(said["value"]) <= limit
    assert facts(ending)["ended"] == "2026-05-02 00:30", "as in China"
    assert fitted("thing1", "字" * 21) == "字" * 19 + "…"
    assert fitted("thing1", "字" * 20) == "字" * 20


@pytest.mark.parametrize(
    "fields", ["thing1", "thing=what", "what=thing1", "nothing1=what", "thing1=x"]
)
def test_a_field_that_wechat_has_not_is_said_at_the_start(fields: str) -> None:
    with pytest.raises(Misconfigured, match="VOXRELAY_WECHAT_FIELDS"):
        chosen(fields)


def test_the_default_fields_are_good() -> None:
    assert len(chosen(WeChatSettings.model_fields["fields"].default)) == 3
