"""The window's protocol, by example and as a state machine with crashes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.log.port import Committed, Message, Record
from relay.note import REACH, Blame, Note
from relay.window import Step, Window


def record(offset: int, key: str = "", person: str = "") -> Record:
    headers = (("ce_person", person.encode()),) if person else ()
    return Record("t", 0, offset, key or f"job-{offset}", b"", headers, datetime.now(UTC))


def reply(offset: int) -> tuple[Message, ...]:
    return (Message("out", str(offset), b""),)


def opened(at: Committed | None = None, *, waiting: int = 100, ahead: int = 1000) -> Window:
    """A window whose first commit, where it wants one, was kept."""
    window = Window(at or Committed(0), waiting=waiting, ahead=ahead)
    window.committed(window.step())
    return window


def commit(window: Window) -> Step:
    step = window.step()
    window.committed(step)
    return step


def started(window: Window) -> list[Record]:
    found = []
    while (one := window.start()) is not None:
        found.append(one)
    return found


def test_a_slow_record_does_not_hold_back_its_neighbours_commit() -> None:
    window = opened()
    window.offer([record(0), record(1), record(2)])
    running = started(window)
    window.answer(running[1], reply(1))
    window.answer(running[2], reply(2))
    step = commit(window)
    assert step.mark.offset == 0
    assert step.answered == {1, 2}
    assert step.note.finished == {1, 2}


def test_what_an_earlier_owner_finished_is_not_handled_again() -> None:
    note = Note(ceiling=5, finished=frozenset({6, 8})).write(5)
    window = opened(Committed(5, note))
    window.offer([record(o) for o in range(5, 10)])
    assert [r.offset for r in started(window)] == [5, 7, 9]


def test_the_base_never_jumps_beyond_what_was_fetched() -> None:
    """Finished records that were not fetched yet must not be skipped by count."""
    note = Note(ceiling=0, finished=frozenset({1, 2, 3})).write(0)
    window = opened(Committed(0, note))
    window.offer([record(0)])
    window.answer(started(window)[0], reply(0))
    step = commit(window)
    assert step.mark.offset == 1
    window.offer([record(1), record(2), record(3), record(4)])
    assert [r.offset for r in started(window)] == [4]


def test_offsets_with_holes_move_the_base_to_the_next_unanswered_record() -> None:
    window = opened()
    window.offer([record(0), record(7), record(9)])
    first, second, _ = started(window)
    window.answer(first, ())
    assert commit(window).mark.offset == 7
    window.answer(second, ())
    assert commit(window).mark.offset == 9


def test_records_of_one_job_run_one_after_another() -> None:
    window = opened()
    window.offer([record(0, "a"), record(1, "a"), record(2, "b")])
    first = started(window)
    assert [r.offset for r in first] == [0, 2]
    window.answer(first[0], ())
    assert [r.offset for r in started(window)] == [1]


def test_persons_take_turns() -> None:
    window = opened()
    window.offer([record(o, person="crowd") for o in range(4)] + [record(4, person="one")])
    assert [r.offset for r in started(window)][:2] == [0, 4]


def test_nothing_starts_beyond_the_ceiling_until_a_commit_raises_it() -> None:
    window = opened(ahead=2)
    window.offer([record(o) for o in range(6)])
    assert [r.offset for r in started(window)] == [0, 1]
    assert window.wants_commit
    commit(window)
    assert [r.offset for r in started(window)] == [2, 3]


def test_the_window_is_full_at_its_limit_and_at_the_bitmaps_reach() -> None:
    window = opened(waiting=2)
    window.offer([record(0)])
    assert not window.full
    window.offer([record(1)])
    assert window.full
    far = opened()
    far.offer([record(0), record(REACH)])
    assert far.full


def test_the_window_is_full_when_it_holds_too_many_bytes() -> None:
    window = Window(Committed(0), waiting=100, ahead=10, waiting_bytes=30)
    window.committed(window.step())
    window.offer([replace(record(o), value=b"x" * 10) for o in range(3)])
    assert window.full
    window.answer(started(window)[1], ())
    assert not window.full


def test_one_death_may_be_chance_and_two_in_a_row_make_suspects_run_alone() -> None:
    first = opened()
    first.offer([record(0), record(1)])
    started(first)
    left = first.step().mark

    second = Window(left, waiting=10, ahead=10)
    second.offer([record(0), record(1)])
    assert second.start() is None, "the death is written down before anything starts"
    left = commit(second).mark
    assert second.suspect() is None
    assert len(started(second)) == 2

    third = opened(left, ahead=10)
    third.offer([record(0), record(1)])
    assert third.start() is None
    suspect = third.suspect()
    assert suspect is not None
    assert suspect.offset == 0
    assert third.accuse(suspect) == Blame(0, 0)
    assert third.start() is None
    commit(third)
    third.start_alone(suspect)


def test_a_clean_stop_leaves_no_suspects() -> None:
    window = opened()
    window.offer([record(0), record(1)])
    for one in started(window):
        window.give_up(one)
    again = Window(window.step(closing=True).mark, waiting=10, ahead=10)
    assert not again.wants_commit
    again.offer([record(0), record(1)])
    again.committed(again.step())
    assert len(started(again)) == 2


@pytest.mark.parametrize("fetched", [True, False])
def test_a_clean_stop_does_not_acquit_the_suspects_of_a_death(fetched: bool) -> None:
    """What kills slowly would else be freed by each rebalance that its last victim caused."""
    left = Committed(0, Note(ceiling=10).write(0))
    window = opened(left)  # after one death
    if fetched:
        window.offer([record(0), record(1)])
        for one in started(window):
            window.give_up(one)
    taken = opened(window.step(closing=True).mark)
    taken.offer([record(0), record(1)])
    assert taken.suspect() is None, "the stop itself is no death"
    assert len(started(taken)) == 2
    died = opened(taken.step().mark)
    died.offer([record(0), record(1)])
    assert died.suspect() is not None


def test_a_clean_stop_after_the_suspects_were_answered_forgets_the_death() -> None:
    window = opened(Committed(0, Note(ceiling=10, deaths=1).write(0)))
    window.offer([record(0)])
    suspect = window.suspect()
    assert suspect is not None
    window.accuse(suspect)
    commit(window)
    window.start_alone(suspect)
    window.answer(suspect, ())
    mark = window.step(closing=True).mark
    assert Note.read(mark.offset, mark.metadata) == Note(ceiling=1)


def test_a_suspect_that_waits_for_our_world_holds_nobody_back() -> None:
    window = opened(Committed(0, Note(ceiling=2, deaths=1).write(0)), ahead=4)
    window.offer([record(o) for o in range(6)])
    waits = window.suspect()
    assert waits is not None
    window.accuse(waits)
    commit(window)
    window.start_alone(waits)
    window.acquit(waits)
    window.give_up(waits)
    other = window.suspect()
    assert other is not None
    assert (waits.offset, other.offset) == (0, 1)
    window.accuse(other)
    commit(window)
    window.start_alone(other)
    window.answer(other, ())
    note = commit(window).note
    assert note.ceiling > 2
    assert (note.deaths, note.blame) == (0, {0: Blame(0, 0)})
    assert window.suspect() is None
    assert {r.offset for r in started(window)} >= {0, 2, 3}, "it runs beside others"


def test_a_suspect_does_not_overtake_an_acquitted_record_of_its_job() -> None:
    window = opened(Committed(0, Note(ceiling=3, deaths=2).write(0)))
    window.offer([record(0, "job"), record(1, "job"), record(2)])
    first = window.suspect()
    assert first is not None
    window.accuse(first)
    commit(window)
    window.start_alone(first)
    window.acquit(first)
    window.give_up(first)
    other = window.suspect()
    assert other is not None
    assert other.offset == 2, "the second of the job waits for the first"


def test_a_record_that_waits_since_one_death_does_not_keep_the_ceiling_down() -> None:
    window = opened(Committed(0, Note(ceiling=2).write(0)), ahead=4)
    window.offer([record(o) for o in range(6)])
    first, second = started(window)
    window.answer(second, ())
    commit(window)
    assert started(window) == []
    window.acquit(first)
    assert window.wants_commit
    commit(window)
    assert [r.offset for r in started(window)] == [2, 3, 4, 5]


def test_who_dies_at_rest_leaves_no_suspects_and_who_rests_starts_after_a_commit() -> None:
    window = opened(Committed(0), ahead=4)
    window.offer([record(0)])
    assert not window.may_rest
    window.answer(started(window)[0], ())
    assert not window.may_rest, "its answer is not committed"
    commit(window)
    assert window.may_rest
    window.rest()
    step = window.step(closing=True)
    window.offer([record(1)])
    assert window.start() is None, "a record that comes during that commit"
    window.committed(step)
    heir = Window(step.mark, waiting=10, ahead=4)
    assert not heir.wants_commit, "no death is written down"
    assert window.start() is None
    assert window.wants_commit
    commit(window)
    assert [r.offset for r in started(window)] == [1]


def test_a_rest_ends_what_a_death_while_nothing_ran_has_left() -> None:
    """The ceiling of that death lies beyond the records that come after the rest."""
    window = opened(Committed(0, Note(ceiling=40).write(0)), ahead=4)
    window.offer([record(0)])
    window.answer(started(window)[0], ())
    commit(window)
    assert window.may_rest
    window.rest()
    window.committed(window.step(closing=True))
    window.offer([record(1)])
    assert window.start() is None
    assert window.wants_commit
    commit(window)
    assert [r.offset for r in started(window)] == [1]


def test_nobody_rests_while_a_suspect_was_not_fetched() -> None:
    window = opened(Committed(0, Note(ceiling=4).write(0)))
    assert window.idle
    assert not window.may_rest


def test_deaths_alone_are_counted_and_exceptions_are_told_from_them() -> None:
    at = Committed(0, Note(ceiling=4, deaths=2).write(0))
    for deaths in range(3):
        window = opened(at)
        window.offer([record(0)])
        suspect = window.suspect()
        assert suspect is not None
        assert window.accuse(suspect) == Blame(0, deaths)
        at = commit(window).mark
    window = opened(at)
    window.offer([record(0)])
    suspect = window.suspect()
    assert suspect is not None
    window.accuse(suspect)
    commit(window)
    window.start_alone(suspect)
    window.fail(suspect)
    assert commit(window).note.blame == {0: Blame(1, 3)}


def test_a_record_that_raised_is_blamed_while_its_neighbour_is_committed() -> None:
    window = opened()
    window.offer([record(0), record(1)])
    bad, good = started(window)
    window.answer(good, reply(1))
    window.fail(bad)
    step = window.step(closing=True)
    assert step.answered == {1}
    assert step.note.blame == {0: Blame(1, 0)}
    again = opened(step.mark)
    again.offer([record(0), record(1), record(2)])
    assert [r.offset for r in started(again)] == [2]
    suspect = again.suspect()
    assert suspect is not None
    assert suspect.offset == 0


def test_an_answer_during_a_commit_waits_for_the_next_one() -> None:
    window = opened()
    window.offer([record(0), record(1)])
    first, second = started(window)
    window.answer(first, reply(0))
    step = window.step()
    window.answer(second, reply(1))
    window.committed(step)
    assert window.wants_commit
    assert commit(window).answered == {1}
    assert window.idle


@pytest.mark.parametrize("beyond", [0, 1, 100, REACH - 1])
def test_the_note_survives_writing_and_stays_under_what_a_broker_keeps(beyond: int) -> None:
    base = 10**12
    note = Note(base + beyond, 3, frozenset({base + beyond}), {base + beyond: Blame(2, 9)})
    written = note.write(base)
    assert Note.read(base, written) == note
    assert len(written) < 4000
    assert written.isascii()


class Crashes(RuleBasedStateMachine):
    """One partition, one owner at a time, killed at any moment: every record answered once.

    The log keeps a commit whole or not at all. Visible is what was kept.
    """

    @initialize(holes=st.lists(st.integers(1, 4), min_size=1, max_size=40))
    def begin(self, holes: list[int]) -> None:
        self.offsets = [sum(holes[:i]) for i in range(len(holes))]
        self.kept = Committed(0)
        self.visible: list[str] = []
        self.open()

    def open(self) -> None:
        self.window = Window(self.kept, waiting=8, ahead=6)
        self.fetched = 0
        while self.fetched < len(self.offsets) and self.offsets[self.fetched] < self.kept.offset:
            self.fetched += 1
        self.running: list[Record] = []

    @rule(n=st.integers(1, 5))
    def fetch(self, n: int) -> None:
        if self.window.full:
            return
        batch = self.offsets[self.fetched : self.fetched + n]
        self.fetched += len(batch)
        self.window.offer([record(o, key=f"job-{o % 5}", person=f"p{o % 2}") for o in batch])

    @rule()
    def start(self) -> None:
        suspect = self.window.suspect()
        if suspect is not None:
            if not self.running:
                self.window.accuse(suspect)
                self.commit(kept=True)
                self.window.start_alone(suspect)
                self.running.append(suspect)
            return
        one = self.window.start()
        if one is not None:
            assert one.key not in {r.key for r in self.running}
            self.running.append(one)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 100))
    def answer(self, which: int) -> None:
        one = self.running.pop(which % len(self.running))
        self.window.answer(one, (Message("out", str(one.offset), b""),))

    @rule(kept=st.booleans())
    def commit(self, kept: bool) -> None:
        if not self.window.wants_commit:
            return
        step = self.window.step()
        assert len(step.mark.metadata) < 4000
        if kept:
            self.kept = step.mark
            self.visible += [m.key for m in step.messages]
            self.window.committed(step)
        else:  # died between sending and committing, or before
            self.open()

    @rule(kept=st.booleans())
    def die(self, kept: bool) -> None:
        step = self.window.step()
        if kept:  # the commit arrived, its acknowledgement did not
            self.kept = step.mark
            self.visible += [m.key for m in step.messages]
        self.open()

    @rule()
    def stop_cleanly(self) -> None:
        for one in self.running:
            self.window.give_up(one)
        step = self.window.step(closing=True)
        self.kept = step.mark
        self.visible += [m.key for m in step.messages]
        self.open()

    @invariant()
    def nothing_twice(self) -> None:
        if hasattr(self, "visible"):
            assert len(self.visible) == len(set(self.visible))

    def teardown(self) -> None:
        """Left alone, the last owner finishes everything."""
        if not hasattr(self, "visible"):
            return
        for _ in range(400):
            self.fetch(5)
            self.start()
            if self.running:
                self.answer(0)
            self.commit(kept=True)
        assert sorted(map(int, self.visible)) == self.offsets


Crashes.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_crashes = Crashes.TestCase
