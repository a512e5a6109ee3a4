"""Whoever stands beside the house starts a broker that is not believed for long, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import attendant
from tests.faults.attendant import OF_OLD, attended
from tests.sql import until


class Broker:
    """Counts its starts."""

    name = "kafka"

    def __init__(self) -> None:
        self.running, self.launches = True, 0

    def close(self) -> None:
        self.running = False

    def launch(self) -> None:
        self.running = True
        self.launches += 1


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], Any]:
    def made(said: Callable[[], object]) -> Any:
        async def readiness(*_: object) -> object:
            return said()

        monkeypatch.setattr(attendant, "readiness", readiness)
        return SimpleNamespace(stages={"synth": None}, servers={"kafka": Broker()})

    monkeypatch.setattr(attendant, "LOOK", 0.01)
    monkeypatch.setattr(attendant, "PATIENCE", 0.05)
    return made


async def test_a_broker_that_is_not_believed_for_long_is_started_again(
    house: Callable[[Callable[[], object]], Any],
) -> None:
    made = house(
        lambda: {"log": f"Kafka says … come to 0, {OF_OLD} 9"} if not broker.launches else {}
    )
    broker: Broker = made.servers["kafka"]
    async with attended(made) as beside:
        await until(lambda: beside.restarts > 0 and broker.running)
    assert (beside.restarts, broker.launches) == (1, 1)


async def test_other_trouble_and_a_moment_of_disbelief_are_none_of_their_business(
    house: Callable[[Callable[[], object]], Any],
) -> None:
    looks = 0

    def said() -> object:
        nonlocal looks
        looks += 1
        return {"log": OF_OLD} if looks % 2 else {"log": "Kafka does not answer"}

    made = house(said)
    async with attended(made) as beside:
        await until(lambda: looks > 20)
    assert beside.restarts == 0


async def test_what_goes_wrong_with_them_is_told(
    house: Callable[[Callable[[], object]], Any],
) -> None:
    made = house(lambda: {"log": OF_OLD})
    made.servers.clear()
    with pytest.raises(KeyError):
        async with attended(made):
            await until(_ended)


def _ended() -> bool:
    return all(
        task.done() or "Attendant.watch" not in repr(task.get_coro())
        for task in asyncio.all_tasks()
    )
