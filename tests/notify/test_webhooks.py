"""Webhooks, from registering one to what a receiver gets, over real HTTP and the real timer."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address, ip_network
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from delivery.notify.decide import PAUSES
from delivery.notify.sender import Sender
from delivery.notify.webhook import Poster
from ingest.hooks import Hook, Hooks
from ingest.problems import Problem
from relay.http import HttpWorker
from relay.notices import WEBHOOK, Ending, announce
from relay.outward import Address, Outward, Resolve
from relay.process import calm_clients
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MasterKey
from relay.sql.schema import due, metadata
from relay.timer import Timer
from schemas.states import TERMINAL, State
from tests.sql import until

HERE = [ip_network("127.0.0.0/8")]
ALL = frozenset(TERMINAL)


@dataclass
class Receiver:
    """A server of somebody's, on a port of its own."""

    url: str = ""
    status: int = 204
    hold: asyncio.Event | None = None
    """Nothing is answered until it is set."""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def hear(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        if self.hold is not None:
            await self.hold.wait()
        if self.status == 302:
            return RedirectResponse(f"{self.url}/elsewhere", 302)
        return Response(status_code=self.status)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    routes = [Route("/{path:path}", receiver.hear, methods=["POST", "GET"])]
    worker = HttpWorker(Starlette(routes=routes), "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{worker.port}/hook"
    running = asyncio.create_task(worker.run())
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        worker.stop()
        await running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@dataclass
class Clock:
    """The time of everybody who shares the database; it passes when told to."""

    passed: timedelta = timedelta(0)


class Site:
    """The rows of a site, its webhooks, and a process that tells them."""

    def __init__(self, sql: Database, resolve: Resolve | None = None) -> None:
        self.sql, self.keys = sql, SqlKeyStore(sql, MasterKey(b"m" * 32))
        self.resolve = resolve
        self.hooks = Hooks(sql, self.keys, Outward(HERE, resolve))
        self.clock, machine = Clock(), sql._clock
        sql._clock = lambda: machine() + self.clock.passed
        self.person = uuid4()
        self.timer = self.process()

    def process(self, patience: float = 15.0) -> Timer:
        """Another process that tells."""
        self.poster = Poster(Outward(HERE, self.resolve), patience)
        sender = Sender(self.sql, self.keys, self.poster)
        return Timer(self.sql, self.keys, {WEBHOOK: sender}, at_once=8)

    async def hook(self, url: str, states: frozenset[State] = ALL) -> tuple[Hook, str]:
        return await self.hooks.add(self.person, url, states)

    async def end(self, state: State = State.DELIVERED, person: UUID | None = None) -> Ending:
        """A job ends."""
        ending = Ending(uuid4(), uuid4(), person or self.person, state, self.sql.now())
        await self.sql.run(lambda tx: announce(tx, [ending]))
        return ending

    async def told(self, hook: Hook) -> list[tuple[str, int | None]]:
        """What came of each try, the oldest first."""
        tries = await self.hooks.tries(self.person, hook.id, 100)
        return [(each.outcome, each.status) for each in reversed(tries)]

    async def waiting(self) -> int:
        """Notices that are still to be told."""
        async with self.sql.reading() as tx:
            query = select(func.count()).select_from(due).where(due.c.done.is_(False))
            return int((await tx.execute(query)).scalar_one())


@pytest.fixture
async def site(sql: Database) -> AsyncIterator[Site]:
    made = Site(sql)
    yield made
    await made.poster.close()


async def test_a_receiver_is_told_once_and_can_prove_by_whom(
    site: Site, receiver: Receiver
) -> None:
    hook, secret = await site.hook(receiver.url)
    ending = await site.end()
    await site.sql.run(lambda tx: announce(tx, [ending]))  # the same event again
    assert await site.timer.once() == 1
    assert await site.timer.once() == 0
    ((head, body),) = receiver.got
    assert json.loads(body)["data"] == {"job_id": str(ending.job), "state": "delivered"}
    assert head["webhook-id"] == str(ending.event)
    signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()
    assert head["webhook-signature"] == f"v1,{digest}"
    assert abs(int(head["webhook-timestamp"]) - site.sql.now().timestamp()) < 60
    assert await site.told(hook) == [("answered", 204)]


async def test_only_its_person_and_only_what_was_asked_for(site: Site, receiver: Receiver) -> None:
    await site.hook(receiver.url, frozenset({State.FAILED, State.REJECTED}))
    await site.end(State.DELIVERED)
    await site.end(State.FAILED, person=uuid4())
    assert await site.timer.once() == 0
    await site.end(State.REJECTED)
    assert await site.timer.once() == 1
    assert json.loads(receiver.got[0][1])["type"] == "job.rejected"


async def test_tries_go_on_after_a_restart_until_it_is_taken(
    site: Site, receiver: Receiver
) -> None:
    hook, _ = await site.hook(receiver.url)
    await site.end()
    receiver.status = 500
    for number in range(4):
        assert await site.timer.once() == 1, number
        assert await site.timer.once() == 0, "not before its time"
        site.clock.passed += PAUSES[number] * 1.3
        await site.poster.close()
        site.timer = site.process()  # as after a restart: nothing is remembered but rows
    receiver.status = 200
    assert await site.timer.once() == 1
    assert await site.told(hook) == [("answered", 500)] * 4 + [("answered", 200)]
    assert len({head["webhook-id"] for head, _ in receiver.got}) == 1, "the same id at every try"
    assert await site.waiting() == 0


async def test_who_never_takes_anything_is_given_up_and_told_no_more(
    site: Site, receiver: Receiver
) -> None:
    await site.hook(receiver.url)
    await site.end()
    receiver.status = 503
    for pause in (*PAUSES, timedelta(0)):
        assert await site.timer.once() == 1
        site.clock.passed += pause * 1.3
    assert await site.waiting() == 0
    assert len(receiver.got) == 1 + len(PAUSES)
    (shown,) = await site.hooks.all(site.person)
    assert (shown.disabled_for, shown.failures) == ("failing", 10)
    await site.end()
    assert await site.waiting() == 0


async def test_410_disables_it_and_drops_what_it_was_to_be_told(
    site: Site, receiver: Receiver
) -> None:
    await site.hook(receiver.url)
    for _ in range(5):
        await site.end()
    receiver.status = 410
    await site.timer.once()
    site.clock.passed += timedelta(minutes=5)
    await site.timer.once()
    assert 1 <= len(receiver.got) < 5
    assert await site.waiting() == 0
    (shown,) = await site.hooks.all(site.person)
    assert shown.disabled_for == "gone"


async def test_a_redirect_is_not_followed(site: Site, receiver: Receiver) -> None:
    hook, _ = await site.hook(receiver.url)
    await site.end()
    receiver.status = 302
    await site.timer.once()
    assert await site.told(hook) == [("redirected", 302)]
    assert len(receiver.got) == 1


async def test_a_receiver_that_hangs_keeps_no_other_waiting(site: Site, receiver: Receiver) -> None:
    async with receiving() as hanging:
        hanging.hold = asyncio.Event()
        stuck, _ = await site.hook(hanging.url)
        for _ in range(20):  # more than are ever worked on at once
            await site.end()
        await site.hook(receiver.url)
        ending = await site.end()
        running = asyncio.create_task(site.timer.run())
        await until(lambda: bool(receiver.got), 30)
        assert receiver.got[0][0]["webhook-id"] == str(ending.event)
        assert 1 <= len(hanging.got) <= 2, "and no more than two are on their way to one"
        hanging.hold.set()
        site.timer.stop()
        await running
        assert await site.told(stuck)


async def test_one_that_does_not_answer_in_time_rests(sql: Database, receiver: Receiver) -> None:
    site = Site(sql)
    await site.poster.close()
    site.timer = site.process(patience=1.0)
    receiver.hold = asyncio.Event()
    hook, _ = await site.hook(receiver.url)
    await site.end()
    await site.timer.once()
    assert await site.told(hook) == [("timed_out", None)]
    await site.end()
    await site.timer.once()
    assert len(receiver.got) == 1, "it is left alone for some seconds with what else there is"
    assert await site.waiting() == 2
    await site.poster.close()


class Rebinding:
    """A name that means something else each time it is asked for."""

    def __init__(self, *meanings: str) -> None:
        self.meanings = list(meanings)

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        return [ip_address(self.meanings.pop(0))]


async def test_a_name_that_comes_to_mean_this_machine_is_refused_at_each_try(
    sql: Database, receiver: Receiver
) -> None:
    resolve = Rebinding("1.1.1.1", "169.254.169.254", "10.0.0.1")
    site = Site(sql, resolve)
    port = receiver.url.split(":")[2].partition("/")[0]
    hook, _ = await site.hook(f"https://rebinding.example:{port}/")  # means 1.1.1.1
    await site.end()
    await site.timer.once()
    assert await site.told(hook) == [("address_refused", None)]
    site.clock.passed += PAUSES[0] * 1.3
    await site.timer.once()
    assert await site.told(hook) == [("address_refused", None)] * 2
    assert receiver.got == []
    await site.poster.close()


async def test_the_connection_goes_to_the_address_that_was_judged(
    sql: Database, receiver: Receiver
) -> None:
    # Were the name asked for again to connect, there would be no meaning left to answer with.
    resolve = Rebinding("127.0.0.1", "127.0.0.1")
    site = Site(sql, resolve)
    url = receiver.url.replace("127.0.0.1", "receiver.example")
    hook, _ = await site.hook(url)
    await site.end()
    await site.timer.once()
    assert await site.told(hook) == [("answered", 204)]
    assert receiver.got[0][0]["host"] == url.removeprefix("http://").partition("/")[0]
    assert resolve.meanings == []
    await site.poster.close()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://1.1.1.1/", "url_not_https"),
        ("https://127.0.0.2/", None),  # a network that the operator named
        ("https://10.0.0.1/", "address_refused"),
        ("https://169.254.169.254/latest", "address_refused"),
        ("https://a:b@1.1.1.1/", "url_invalid"),
    ],
)
async def test_an_address_that_may_not_be_called_is_refused_when_it_is_registered(
    site: Site, url: str, code: str | None
) -> None:
    if code is None:
        await site.hook(url)
        return
    with pytest.raises(Problem) as refused:
        await site.hook(url)
    assert (refused.value.code, refused.value.status) == (code, 422)
    assert await site.hooks.all(site.person) == ()


async def test_a_person_has_five_and_sees_no_others(site: Site, receiver: Receiver) -> None:
    made = [await site.hook(f"{receiver.url}/{n}") for n in range(5)]
    with pytest.raises(Problem, match="webhooks_exceeded"):
        await site.hook(receiver.url)
    hooks = [hook for hook, _ in made]
    assert [hook.url for hook in await site.hooks.all(site.person)] == [h.url for h in hooks]
    assert len({secret for _, secret in made}) == 5
    stranger = uuid4()
    assert await site.hooks.all(stranger) == ()
    for call in (site.hooks.remove, lambda p, h: site.hooks.tries(p, h, 5)):
        with pytest.raises(Problem, match="webhook_unknown"):
            await call(stranger, hooks[0].id)
    await site.end()
    await site.hooks.remove(site.person, hooks[0].id)
    await site.timer.once()
    assert len(receiver.got) == 4, "what it was to be told is dropped"


async def test_no_row_and_no_log_line_holds_an_address_or_a_secret(
    site: Site, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    calm_clients()
    _, secret = await site.hook(f"{receiver.url}/path-of-theirs?token=theirs")
    await site.end()
    receiver.status = 500
    await site.timer.once()
    async with site.sql.reading() as tx:
        rows = [str((await tx.execute(select(table))).all()) for table in metadata.sorted_tables]
    for hidden in ("path-of-theirs", "token=theirs", secret.removeprefix("whsec_")):
        assert hidden not in caplog.text
        assert not any(hidden in row for row in rows)


async def test_an_erased_persons_webhook_is_told_nothing(site: Site, receiver: Receiver) -> None:
    await site.hook(receiver.url)
    await site.end()
    async with site.sql.transaction() as tx:
        await site.keys.destroy(tx, site.person)
    await site.timer.once()
    assert receiver.got == []
    assert await site.waiting() == 0
    assert await site.hooks.all(site.person) == ()
