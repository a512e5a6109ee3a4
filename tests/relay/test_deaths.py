"""Thousands of deaths at random: only what kills its process is buried, and nothing twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from relay.limits import Limits
from relay.log.port import Committed, Message, Record
from relay.window import Window

LIMITS = Limits(in_flight=4)
COMMIT, SHORTEST, LONGEST, LIFE = 0.1, 0.5, 1.5, 6.0
"""Of time: a commit, a handler, and how long a process lives on the average.

Who is killed faster than it can handle one record alone is blamed for it sooner or later.
"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Died(Exception):
    """The process ended without a word."""


class House:
    """One partition without an end, and the processes that hold it one after another."""

    def __init__(self, seed: int, poison: frozenset[int] = frozenset()) -> None:
        self.random = random.Random(seed)
        self.poison = poison
        self.kept = Committed(0)
        self.answered: list[int] = []
        self.buried: list[int] = []

    def live(self) -> None:
        """One process, from its start to its death."""
        self.window = Window(self.kept, waiting=16, ahead=2 * LIMITS.in_flight)
        self.next = self.kept.offset
        self.left = self.random.expovariate(1 / LIFE)
        self.running: list[tuple[float, Record]] = []
        try:
            while True:
                self._turn()
        except Died:
            return

    def _turn(self) -> None:
        while not self.window.full:
            self.window.offer([_record(self.next)])
            self.next += 1
        if self.window.wants_commit:
            self._commit()
        suspect = self.window.suspect()
        if suspect is None:
            self._start_many()
        elif not self.running:
            self._start_alone(suspect)
        self._finish_one()

    def _start_many(self) -> None:
        while len(self.running) < LIMITS.in_flight and (one := self.window.start()) is not None:
            self._run(one)

    def _start_alone(self, suspect: Record) -> None:
        before = self.window.accuse(suspect)
        self._commit()
        self.window.start_alone(suspect)
        if LIMITS.guilty(before) is not None:
            self.window.answer(suspect, (Message("dead", str(suspect.offset), b""),))
        else:
            self._run(suspect)

    def _run(self, record: Record) -> None:
        takes = self.random.uniform(SHORTEST, LONGEST)
        self.running.append((takes, record))

    def _finish_one(self) -> None:
        if not self.running:
            return
        self.running.sort(key=lambda each: each[0])
        (takes, record), *rest = self.running
        self._pass(takes)
        self.running = [(left - takes, each) for left, each in rest]
        if record.offset in self.poison:
            raise Died
        self.window.answer(record, (Message("out", str(record.offset), b""),))

    def _commit(self) -> None:
        step = self.window.step()
        try:
            self._pass(COMMIT)
        except Died:
            if self.random.random() < 0.5:  # it arrived all the same
                self._keep(step.mark, step.messages)
            raise
        self._keep(step.mark, step.messages)
        self.window.committed(step)

    def _keep(self, mark: Committed, messages: tuple[Message, ...]) -> None:
        self.kept = mark
        for message in messages:
            (self.answered if message.topic == "out" else self.buried).append(int(message.key))

    def _pass(self, time: float) -> None:
        self.left -= time
        if self.left < 0:
            raise Died


def _record(offset: int) -> Record:
    return Record("t", 0, offset, f"job-{offset % 50}", b"", (), NOW)


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_random_kills_bury_nobody(seed: int) -> None:
    house = House(seed)
    for _ in range(1000):
        house.live()
    assert house.buried == []
    assert len(house.answered) == len(set(house.answered)) > 1000


@pytest.mark.parametrize("seed", range(3))
def test_among_random_kills_what_kills_is_buried_and_no_neighbour_of_it(seed: int) -> None:
    poison = frozenset({7, 8, 40, 300})
    house = House(seed, poison)
    for _ in range(1000):
        house.live()
    assert sorted(house.buried) == sorted(poison)
    assert not poison & set(house.answered)
    assert len(house.answered) == len(set(house.answered)) > 1000
