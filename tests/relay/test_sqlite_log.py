"""What only the embedded log can get wrong: its file, its one writer, its leases and its bell."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.datagrams import Datagrams
from relay.errors import Fenced, Misconfigured, Unavailable
from relay.log.port import Committed, Message
from relay.log.sqlite import SqliteLog, consumer, schema, writer
from relay.log.sqlite.appends import Append
from relay.log.sqlite.groups import Membership
from tests.relay.log_contract import (
    PARTITIONS,
    Hand,
    Names,
    append,
    join,
    joined,
    messages,
    shared,
    until,
)

Make = Callable[[], SqliteLog]


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def make(path: Path, names: Names) -> AsyncIterator[Make]:
    made: list[SqliteLog] = []

    def make() -> SqliteLog:
        made.append(SqliteLog(path))
        return made[-1]

    await make().apply(
        {names.first: PARTITIONS, names.second: PARTITIONS},
        {names.group: [names.first]},
        [names.source, "other"],
    )
    yield make
    for log in made:
        await log.close()


class HeldUp:
    """Keeps the writer inside a transaction until so many jobs wait, so that they are grouped."""

    def __init__(self, log: SqliteLog, waiting: int) -> None:
        self._writer = log.writer
        self._waiting = waiting
        self._go_on, self._inside = threading.Event(), threading.Event()

    async def __aenter__(self) -> None:
        self._call = asyncio.create_task(self._writer.call(self._wait))
        await asyncio.to_thread(self._inside.wait, 10)

    async def __aexit__(self, *_: object) -> None:
        await until(lambda: self._writer._queue.qsize() >= self._waiting)
        self._go_on.set()
        await self._call

    def _wait(self, _: sqlite3.Connection) -> None:
        self._inside.set()
        self._go_on.wait(10)


async def settled(tasks: Sequence["asyncio.Task[Any]"]) -> list[Any]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


# -- the writer ---------------------------------------------------------------------------------


async def test_what_waits_goes_in_one_transaction_and_a_fenced_commit_fails_alone(
    make: Make, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    write = writer.write

    def spy(line: sqlite3.Connection, appends: Sequence[Append]) -> Any:
        groups.append(len(appends))
        return write(line, appends)

    monkeypatch.setattr(writer, "write", spy)
    log = make()
    hand = await joined(log, names)
    await until(lambda: shared(hand), hand)
    claims = [hand.claim(n) for n in range(PARTITIONS)]
    old = claims[1]
    assert hand.consumer is not None
    claims[2] = await hand.consumer.reclaim(claims[2]) or claims[2]
    async with log.source("other") as source:
        await log.writer.call(
            lambda db: db.execute("update claims set epoch = epoch + 1 where id = ?", [old.id])  # type: ignore[attr-defined]
        )
        async with HeldUp(log, PARTITIONS + 1):
            tasks = [
                asyncio.create_task(c.commit(Committed(1, "x"), [Message(names.second, "k", b"c")]))
                for c in claims
            ]
            tasks.append(asyncio.create_task(source.append(messages(names.second, 5), 5)))
        ended = await settled(tasks)
    assert [type(e) for e in ended] == [type(None), Fenced, type(None), type(None), type(None)]
    assert groups[-1] == PARTITIONS + 1
    assert len([r async for r in log.read([names.second])]) == 3 + 5
    assert source.position == 5


async def test_a_transaction_that_cannot_be_written_leaves_nothing_and_says_so(
    make: Make, names: Names
) -> None:
    log = make()
    await append(log, names.source, messages(names.first, 10), 1)

    def limit(pages: int) -> Callable[[sqlite3.Connection], Any]:
        return lambda db: db.execute(f"pragma max_page_count = {pages}").fetchone()

    (full,) = await log.writer.call(limit(1))  # as if the disk were full now
    assert full > 1
    big = [Message(names.first, f"{n}", bytes(100_000)) for n in range(20)]
    async with log.source(names.source) as source:
        with pytest.raises(Unavailable):
            await source.append(big, 9)
        assert source.position == 1
        assert len([r async for r in log.read([names.first])]) == 10
        await log.writer.call(limit(1_000_000))
        await source.append(big, 9)
    assert len([r async for r in log.read([names.first])]) == 30


async def test_a_rollback_that_fails_too_leaves_nobody_without_an_answer() -> None:
    class Ailing(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "rollback":
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)

    def fail(line: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with closing(sqlite3.connect(":memory:", factory=Ailing, isolation_level=None)) as line:
        job = writer._Job(asyncio.get_running_loop().create_future(), call=fail)
        (told,), grown = writer._transact(line, [job])
    assert told[0] is job.future
    assert isinstance(told[1], Unavailable)
    assert not grown


async def test_a_file_that_somebody_locks_is_unavailable_until_it_is_free(
    path: Path, names: Names, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.1)
    log = make()
    await log.check()
    with closing(sqlite3.connect(path, isolation_level=None)) as line:
        line.execute("begin immediate")
        with pytest.raises(Unavailable):
            await log.check()
        with pytest.raises(Unavailable):
            await append(log, names.source, messages(names.first, 1), 1)
        line.execute("rollback")
    await log.check()
    await append(log, names.source, messages(names.first, 1), 1)


async def test_commits_are_durable_before_they_are_answered(make: Make) -> None:
    log = make()

    def ask(db: sqlite3.Connection) -> tuple[Any, ...]:
        asked = ("journal_mode", "synchronous")
        return tuple(db.execute(f"pragma {name}").fetchone()[0] for name in asked)

    await log.check()
    assert await log.writer.call(ask) == ("wal", 2)


async def test_a_closed_log_is_unavailable(make: Make, names: Names) -> None:
    log = make()
    await log.check()
    await log.close()
    with pytest.raises(Unavailable):
        await log.check()
    with pytest.raises(Unavailable):
        await log.join(names.group, [names.first], Hand())


# -- the file -----------------------------------------------------------------------------------


@pytest.fixture
def letter(path: Path) -> Path:
    path.write_bytes(b"this is a letter to a friend, not a database" * 100)
    return path


async def test_a_file_that_is_no_log_is_refused(letter: Path) -> None:
    with pytest.raises(Misconfigured):
        await SqliteLog(letter).check()


async def test_a_file_of_a_newer_version_is_refused(path: Path, make: Make) -> None:
    with closing(sqlite3.connect(path)) as line:
        line.execute(f"pragma user_version = {schema.VERSION + 1}")
    with pytest.raises(Misconfigured, match="newer"):
        await SqliteLog(path).check()


def test_many_may_make_the_file_at_once(path: Path) -> None:
    def prepare(_: int) -> None:
        schema.prepare(path).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prepare, range(8)))
    with closing(sqlite3.connect(path)) as line:
        assert line.execute("select count(*) from topics").fetchone() == (0,)


# -- members ------------------------------------------------------------------------------------


async def test_beats_from_before_the_machine_started_hold_nothing(make: Make, names: Names) -> None:
    log = make()
    await log.check()

    def bury(db: sqlite3.Connection) -> None:
        db.execute(
            "insert into members values ('old', ?, '[]', ?)",
            [names.group, time.monotonic() + 1_000_000],
        )
        db.execute("update claims set member = 'old'")

    await log.writer.call(bury)
    hand = await joined(log, names)
    started = time.monotonic()
    await until(lambda: shared(hand), hand)
    assert time.monotonic() - started < 4.0


async def test_a_poll_cancelled_while_it_takes_claims_loses_none(make: Make, names: Names) -> None:
    log = make()
    hand = await joined(log, names)
    assert hand.consumer is not None
    async with HeldUp(log, 1):
        poll = asyncio.create_task(hand.consumer.poll(1.0))
        await until(lambda: log.writer._queue.qsize() == 1)
        poll.cancel()  # it has asked; the writer will take the claims all the same
        await asyncio.wait([poll])
    await until(lambda: shared(hand), hand)
    claim = hand.claim(0)
    await claim.commit(Committed(0, "ours"), [])


async def test_partitions_are_kept_within_a_share_when_members_come(
    make: Make, names: Names
) -> None:
    one, two = Hand(), Hand()
    await join(make(), names, one)
    await until(lambda: shared(one), one)
    await join(make(), names, two)
    await until(lambda: shared(one, two), one, two)
    assert one.revocations == PARTITIONS // 2  # what it keeps is not taken from it and given back


async def test_what_could_not_be_released_is_released_later(
    make: Make, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a partition would belong to a member that does not know of it."""
    one, two = Hand(), Hand()
    log = make()
    await join(log, names, one)
    await until(lambda: shared(one), one)
    release = Membership.release
    failed: list[Collection[int]] = []

    def full(self: Membership, line: sqlite3.Connection, ids: Collection[int]) -> None:
        if not failed:
            failed.append(ids)
            raise Unavailable("the disk is full")
        release(self, line, ids)

    monkeypatch.setattr(Membership, "release", full)
    await join(make(), names, two)
    with pytest.raises(Unavailable):
        await until(lambda: shared(one, two), one, two)
    await until(lambda: shared(one, two), one, two)


# -- the bell -----------------------------------------------------------------------------------


async def test_other_processes_are_woken_without_waiting_for_the_next_look(
    make: Make, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LOOK_AGAIN", 1000.0)
    hand = await joined(make(), names)
    await until(lambda: shared(hand), hand)
    await hand.poll()
    await append(make(), names.source, messages(names.first, 8), 1)
    await until(lambda: len(hand.got) == 8, hand)


async def test_what_no_bell_tells_is_seen_at_the_next_look(
    make: Make, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = await joined(make(), names)
    await until(lambda: shared(hand), hand)
    monkeypatch.setattr(Datagrams, "send", lambda *_: None)
    await append(make(), names.source, messages(names.first, 8), 1)
    async with asyncio.timeout(5):
        await until(lambda: len(hand.got) == 8, hand)


async def test_dead_sockets(path: Path, make: Make, names: Names) -> None:
    """They are cleared away, and strangers do no harm. The name is short, as a socket's path is."""
    log = make()
    await log.check()
    folder = path.with_name("log.db-bell")
    dead = Datagrams(folder)
    dead.listen(lambda _: None)
    assert dead._socket is not None
    (left,) = {p for p in folder.iterdir() if p.name == Path(dead._path).name}
    asyncio.get_running_loop().remove_reader(dead._socket)
    dead._socket.close()  # as a SIGKILL would: the file stays
    stranger = Datagrams(folder)
    stranger.listen(lambda _: None)
    for word in (b"", b"members", b"1,x", b"\xff" * 500, b",,"):
        stranger.send(word)
    hand = await joined(log, names)
    await append(log, names.source, messages(names.first, 8), 1)
    await until(lambda: len(hand.got) == 8, hand)
    assert not left.exists()
    stranger.close()


async def test_a_path_too_long_for_a_socket_is_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("longer" * 10)
    heard = asyncio.Event()
    one, two = Datagrams(folder), Datagrams(folder)
    one.listen(lambda word: heard.set() if word == b"hello" else None)
    two.listen(lambda _: None)
    two.send(b"hello")
    async with asyncio.timeout(5):
        await heard.wait()
    one.close()
    two.close()
