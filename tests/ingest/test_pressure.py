"""Too much waits: a gateway takes no more jobs, says when to come again, and loses none it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest.pressure import Pressure
from ingest.problems import Problem
from relay.errors import Unavailable
from relay.log.open import open_log
from relay.log.port import Message
from relay.settings import Settings
from tests.ingest.conftest import House, house
from tests.ingest.test_jobs import send
from tests.ingest.test_tts import asked


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[House]:
    """Two may wait; nobody publishes what lies in the outbox."""
    async with house(tmp_path, max_waiting=2) as opened:
        yield opened


async def test_a_job_too_many_is_refused_until_there_is_room(
    narrow: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.pressure.FRESH", 0.0)
    async with narrow.client() as client:
        first, second = [(await send(client, key=f"k{n}")).status_code for n in range(2)]
        refused = await send(client, key="k2")
        again = await send(client, key="k0")
        tts = await client.post("/tts", json=asked())
    assert (first, second, again.status_code) == (202, 202, 202)
    assert refused.status_code == 503
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert (tts.status_code, set(tts.json())) == (503, {"error", "task_id"})


class Lagging:
    """A log whose groups are behind by as much as `behind` says, asked `asked` times."""

    def __init__(self, behind: int) -> None:
        self.behind, self.asked = behind, 0
        self.tells = asyncio.Event()
        self.tells.set()

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        await self.tells.wait()
        self.asked += 1
        if self.behind < 0:
            raise Unavailable("the broker does not answer")
        return self.behind


async def checked(pressure: Pressure) -> bool:
    try:
        await pressure.check()
    except Problem as problem:
        return problem.code != "overloaded"
    return True


async def test_all_who_ask_within_a_second_share_one_measurement(gateway: House) -> None:
    log: Any = Lagging(100)
    pressure = Pressure(gateway.database, log, 300)
    said = await asyncio.gather(*(checked(pressure) for _ in range(50)))
    assert set(said) == {False}
    assert log.asked == 3, "each group once"


async def test_who_found_room_does_not_wait_until_it_is_measured_again(gateway: House) -> None:
    log: Any = Lagging(99)
    pressure = Pressure(gateway.database, log, 300)
    assert await checked(pressure)
    pressure._measured -= 2
    log.behind, log.tells = 100, asyncio.Event()
    assert await checked(pressure), "room, as it was known"
    assert log.asked == 3, "nobody has told yet"
    log.tells.set()
    assert pressure._measuring is not None
    await pressure._measuring
    assert (log.asked, await checked(pressure)) == (6, False)
    pressure._measured -= 2
    log.behind = 99
    assert await checked(pressure), "who would be refused waits for what is true now"
    pressure._measured -= 60
    log.behind = 100
    assert not await checked(pressure), "that was long ago"


async def test_a_log_that_takes_long_to_tell_is_heard_when_it_has_told(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does where much waits: given up each time, it would never be heard, and all let in."""
    for name in ("FRESH", "PATIENCE"):
        monkeypatch.setattr(f"ingest.pressure.{name}", 0.0)
    log: Any = Lagging(100)
    log.tells.clear()
    pressure = Pressure(gateway.database, log, 300)
    for _ in range(2):
        assert await measured(pressure) == 0, "nobody knows"
    log.tells.set()
    assert pressure._telling is not None
    await pressure._telling
    assert log.asked == 3, "each group once"
    assert await measured(pressure) == 300
    await pressure.close()


async def test_all_who_waited_for_a_measurement_hear_of_it_though_the_next_has_begun() -> None:
    """Where the database is away none is good, and who asks once more begins another."""

    class Away:
        def reading(self) -> Any:
            raise Unavailable("it does not answer")

    database: Any = Away()
    log: Any = Lagging(100)
    pressure = Pressure(database, log, 300)

    async def twice() -> bool:
        return await checked(pressure) and await checked(pressure)

    assert await asyncio.gather(twice(), checked(pressure)) == [True, True]


async def measured(pressure: Pressure) -> int:
    """What waits, by the measurement that is begun now."""
    await checked(pressure)
    assert pressure._measuring is not None
    await pressure._measuring
    return pressure._waiting


@pytest.mark.parametrize(("behind", "most"), [(99, 300), (10_000, 0)])
async def test_who_is_within_the_limit_or_has_none_is_let_in(
    gateway: House, behind: int, most: int
) -> None:
    log: Any = Lagging(behind)
    assert await checked(Pressure(gateway.database, log, most))


async def test_what_was_known_holds_while_the_log_is_away(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.pressure.FRESH", 0.0)
    log: Any = Lagging(-1)
    pressure = Pressure(gateway.database, log, 300)
    assert await checked(pressure)
    log.behind = 200
    assert not await checked(pressure)
    log.behind = -1
    assert not await checked(pressure)


@pytest.mark.parametrize(("stages", "refuses"), [("ingest,bridge", False), (None, True)])
async def test_what_waits_for_the_line_of_an_edge_closes_no_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: str | None, refuses: bool
) -> None:
    if stages is not None:
        monkeypatch.setenv("VOXRELAY_STAGES", stages)
    log = open_log(Settings(data=tmp_path))
    await log.apply({"prompt-uploaded": 1}, {"moderation": ["prompt-uploaded"]}, ["feed"])
    await log.apply({"prompt-reviewed": 1}, {"moderation": ["prompt-reviewed"]}, [])
    for group, topic in (("synth", "prompt-approved"), ("delivery", "speech-synthesized")):
        await log.apply({topic: 1}, {group: [topic]}, [])
    async with log.source("feed") as source:
        await source.append([Message("prompt-uploaded", str(n), b"") for n in range(9)], 9)
    await log.close()
    async with house(tmp_path, max_waiting=5) as opened, opened.client() as client:
        sent = await send(client, key="k")
    assert sent.status_code == (503 if refuses else 202)
