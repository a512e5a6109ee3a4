"""Estimates, told in a world made up for them: what is learnt of a stage, and what follows."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from ingest import estimate
from ingest.estimate import Learnt, Pace, Standing, Stay, Text, forecast, learnt

NOBODY = UUID(int=0)
QUICK = Learnt(Pace(8, 0.01, 0.0), known=True)


def text(size: int, lane: int = 0, person: UUID = NOBODY) -> Text:
    return Text(uuid4(), size, lane, person)


def told(stage: Learnt, now: float) -> Mapping[UUID, Standing]:
    """What is told while `stage` is synth's, and the others are quick and empty."""
    return forecast([QUICK, stage, QUICK], now)


def lived(
    slots: int,
    takes: Callable[[int], float],
    comes: Callable[[random.Random], float],
    count: int = 120,
    seed: int = 1,
    persons: int = 1,
) -> list[Stay]:
    """Stays in a stage of so many slots, first come, first served."""
    draw, at, stays = random.Random(seed), 0.0, []
    free = [0.0] * slots
    for _ in range(count):
        at += comes(draw)
        size = draw.randrange(20, 200)
        left = max(at, heapq.heappop(free)) + takes(size) * draw.uniform(0.85, 1.15)
        heapq.heappush(free, left)
        stays.append(Stay(text(size, person=UUID(int=draw.randrange(persons))), at, left))
    return stays


def burst(draw: random.Random) -> float:
    """Many at once, then a pause."""
    return draw.expovariate(5.0) if draw.random() < 0.9 else draw.uniform(20.0, 40.0)


def text_takes(size: int) -> float:
    return 0.5 + 0.02 * size


@pytest.mark.parametrize("slots", [1, 2, 4, 8, 16])
def test_slots_and_pace_are_seen_from_when_jobs_came_and_left(slots: int) -> None:
    found = learnt(lived(slots, text_takes, burst)).pace
    assert 0.5 <= found.slots / slots <= 1.6
    for size in (40, 110, 180):
        assert found.takes(size) == pytest.approx(text_takes(size), rel=0.25)


def test_a_stage_that_one_job_alone_has_left_tells_nothing_yet() -> None:
    assert not learnt([]).known
    assert not learnt([Stay(text(9), 0.0, 1.0)]).known
    assert learnt([Stay(text(9), 0.0, 1.0), Stay(text(9), 5.0, 6.0)]).known


def test_jobs_that_came_before_all_that_is_known_teach_no_waiting_for_work() -> None:
    """Of a full stage only the end is remembered: the first of them waited for others."""
    whole = lived(1, text_takes, lambda draw: 0.1, count=200)
    assert learnt(whole[120:]).pace.takes(100) == pytest.approx(text_takes(100), rel=0.2)


def test_whose_turn_it_was_is_known_where_persons_take_turns() -> None:
    """One slot; a person's five, then another's one, which is dealt after the first of the five."""
    mine, other = [text(10 * n) for n in range(1, 6)], text(200, person=uuid4())
    came = [Stay(each, 0.1 * n) for n, each in enumerate([*mine, other])]
    order, at, left = [mine[0], other, *mine[1:]], 0.0, {}
    for each in order:
        at += text_takes(each.size)
        left[each.id] = at
    stays = [Stay(stay.text, stay.came, left[stay.text.id]) for stay in came]
    found = learnt(stays).pace
    assert (found.slots, found.base, found.per) == (1, pytest.approx(0.5), pytest.approx(0.02))


@pytest.mark.parametrize("slots", [1, 4])
def test_a_stage_where_nobody_takes_turns_is_known_and_told_so(slots: int) -> None:
    """It takes on more than it has slots for: all wait in one line."""
    found = learnt(lived(slots, text_takes, lambda draw: 0.1, persons=8))
    assert not found.fair
    assert found.pace.slots == slots
    one, other = UUID(int=1), UUID(int=2)
    waiting = [Stay(text(9, person=person), 0.1 * n) for n, person in enumerate([one, one, other])]
    stage = Learnt(Pace(1, 1.0, 0.0), waiting, known=True, fair=False)
    assert [told(stage, 100.0)[stay.text.id].place for stay in waiting] == [0, 1, 2]


def test_of_one_line_the_one_accepted_first_is_next_whenever_it_came_here() -> None:
    """As where moderation lets several go at once, in whatever order."""
    texts = [Text(uuid4(), 9, 0, NOBODY, accepted) for accepted in (3.0, 1.0, 2.0)]
    waiting = [Stay(text, 10.0 + 0.01 * n) for n, text in enumerate(texts)]
    found = told(Learnt(Pace(1, 5.0, 0.0), waiting, known=True, fair=False), 20.0)
    assert [found[text.id].place for text in texts] == [2, 0, 1]


def test_where_nothing_speaks_for_turns_it_is_one_line() -> None:
    assert not learnt(lived(1, text_takes, lambda draw: 60.0, persons=8)).fair


def test_of_thousands_that_left_only_the_latest_are_gone_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They wait for the next stage; to go through them all for each guess would take seconds."""
    looked: list[int] = []
    served = estimate._served

    def counted(stays: Sequence[Stay], slots: int, fair: bool) -> Any:
        looked.append(len(stays))
        return served(stays, slots, fair)

    monkeypatch.setattr(estimate, "_served", counted)
    lived_here = lived(2, text_takes, burst, count=2000)
    there = [Stay(text(50), lived_here[-1].came) for _ in range(5)]
    found = learnt([*lived_here, *there])
    assert max(looked) <= 250
    assert (found.pace.slots, len(found.inside)) == (2, 5)


def test_who_waits_is_told_the_sum_of_those_before() -> None:
    stays = [Stay(text(size), float(n)) for n, size in enumerate((100, 10, 100))]
    found = told(Learnt(Pace(1, 0.0, 0.1), stays, known=True), now=100.0)
    standings = [found[stay.text.id] for stay in stays]
    assert [each.place for each in standings] == [0, 1, 2]
    assert [each.seconds for each in standings] == pytest.approx([10.0, 11.0, 21.0], abs=0.05)


@pytest.mark.parametrize(("begun", "seconds"), [(94.0, [4.0, 14.0]), (50.0, [1.0, 11.0])])
def test_a_slot_that_is_taken_has_done_its_part_already(begun: float, seconds: list[float]) -> None:
    stays = [Stay(text(100), float(n)) for n in range(2)]
    stage = Learnt(Pace(1, 0.0, 0.1), stays, {stays[0].text.id: begun}, known=True)
    found = told(stage, now=100.0)
    assert [found[stay.text.id].seconds for stay in stays] == pytest.approx(seconds, abs=0.05)


def test_partitions_and_persons_take_turns() -> None:
    """The Runner deals so: a person with many jobs keeps nobody waiting."""
    many = [Stay(text(1), float(n)) for n in range(6)]
    other, aside = Stay(text(1, person=uuid4()), 90.0), Stay(text(1, lane=1), 91.0)
    found = told(Learnt(Pace(1, 1.0, 0.0), [*many, other, aside], known=True), now=100.0)
    assert found[aside.text.id].place == 1
    assert found[other.text.id].place == 2


def test_a_job_goes_through_the_stages_that_are_before_it() -> None:
    early, late = Stay(text(10), 0.0), Stay(text(10), 0.0)
    inside = [[early], [], [late]]
    stages = [
        Learnt(Pace(1, seconds, 0.0), stays, known=True)
        for seconds, stays in zip((2.0, 3.0, 5.0), inside, strict=True)
    ]
    found = forecast(stages, now=50.0)
    assert found[early.text.id] == Standing(1, pytest.approx(10.0))
    assert found[late.text.id] == Standing(0, pytest.approx(5.0))


def test_a_place_is_told_also_while_no_stage_is_known() -> None:
    stays = [Stay(text(1), float(n)) for n in range(2)]
    nothing = learnt([])
    found = forecast([nothing, learnt(stays), nothing], now=9.0)
    assert [found[stay.text.id] for stay in stays] == [Standing(0, None), Standing(1, None)]


@pytest.mark.parametrize("slots", [1, 4, 16])
def test_of_ten_jobs_nine_end_within_thirty_percent_of_what_was_told(slots: int) -> None:
    """Each is told when it comes, from what had been seen by then."""
    stays = lived(slots, text_takes, burst, count=300, seed=slots)
    right = []
    for n in range(100, 300, 5):
        now, left = stays[n].came, stays[n].left
        known = [_so_far(stay, now) for stay in stays[: n + 1]]
        ended = [stay for stay in known if stay.left is not None]
        inside = [stay for stay in known if stay.left is None]
        found = told(learnt([*ended[-100:], *inside]), now)
        seconds = found[stays[n].text.id].seconds
        assert seconds is not None
        assert left is not None
        right.append(abs(left - now - seconds) <= 0.3 * seconds)
    assert sum(right) >= 0.9 * len(right)


def _so_far(stay: Stay, now: float) -> Stay:
    over = stay.left is not None and stay.left <= now
    return Stay(stay.text, stay.came, stay.left if over else None)


def test_ten_thousand_are_told_of_each() -> None:
    who = [uuid4() for _ in range(50)]
    stays = [Stay(text(100, n % 24, who[n % 50]), float(n)) for n in range(10_000)]
    stage = Learnt(Pace(4, 1.0, 0.0), stays, known=True)
    places = sorted(each.place for each in told(stage, 1e5).values())
    assert places == list(range(10_000))


def test_a_machine_that_was_slow_is_soon_forgotten() -> None:
    slow = lived(1, lambda size: 10 * text_takes(size), lambda draw: 60.0, count=60)
    after = max(stay.left or 0.0 for stay in slow)
    quick = lived(1, text_takes, burst, count=80, seed=2)
    later = [Stay(s.text, s.came + after, (s.left or 0.0) + after) for s in quick]
    assert learnt([*slow, *later]).pace.takes(100) < 2 * text_takes(100)
