"""The window: which records of one partition are fetched, started, answered and committed.

Pure bookkeeping: records and answers in, steps to commit out. Refuses to know logs, clocks, tasks
and handlers, so that a mistake in the protocol shows without a broker.

A commit says three things: the lowest unanswered offset (`base`), which offsets beyond it are
answered (a bitmap), and a `ceiling` beyond which nothing has started. After a death the suspects
are the unanswered records below that ceiling. One death may be chance, so they run as before; after
two in a row they run one at a time, each accused by a commit before it starts. One that lives to
say that our world is down is a suspect no longer: nobody waits for it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from relay.log.port import Committed, Message, Record
from relay.note import REACH, Blame, Note

CAUTIOUS_AFTER = 2
"""Deaths in a row after which suspects run one at a time."""


@dataclass(frozen=True, slots=True)
class Step:
    """One commit: what it says, what it appends, and which records it answers."""

    mark: Committed
    messages: tuple[Message, ...]
    answered: frozenset[int]
    note: Note
    revision: int


class Window:
    """The window of one claim, from what was committed before it.

    `waiting` bounds the records held, and `waiting_bytes` their values; `ahead` is how far, in
    offsets, a commit lets starts run before the next one has to come.
    """

    def __init__(
        self, committed: Committed, *, waiting: int, ahead: int, waiting_bytes: int = 4_000_000
    ) -> None:
        note = Note.read(committed.offset, committed.metadata)
        died = note.ceiling > committed.offset
        self._waiting_limit, self._bytes_limit = waiting, waiting_bytes
        self._bytes = 0
        self._ahead = ahead
        self._born = committed.offset
        self._base = committed.offset
        self._next = committed.offset
        self._highest = committed.offset - 1
        self._suspicion = note.ceiling if died else committed.offset
        self._ceiling = note.ceiling
        self._refused: int | None = None  # offset that could have started but for the ceiling
        self._deaths = note.deaths + 1 if died else 0
        self._blame = dict(note.blame)
        self._acquitted: set[int] = set()
        self._revision = int(died)  # a death is written down before anything starts again
        self._kept_revision = 0
        self._finished = set(note.finished)
        self._unanswered: dict[int, int] = {}  # bytes of their values, in order of offset
        self._queues: OrderedDict[str, deque[Record]] = OrderedDict()
        self._running: dict[int, Record] = {}
        self._busy: set[str] = set()
        self._done: dict[int, Sequence[Message]] = {}

    # -- fetched ------------------------------------------------------------------------------

    def offer(self, records: Iterable[Record]) -> None:
        """Take fetched records; those an earlier owner answered are passed over."""
        for record in records:
            if record.offset < self._next:
                continue
            self._next = record.offset + 1
            if record.offset not in self._finished:
                self._unanswered[record.offset] = len(record.value)
                self._bytes += len(record.value)
                self._queues.setdefault(_person(record), deque()).append(record)

    @property
    def full(self) -> bool:
        """Whether fetching should pause: enough is held, or the bitmap would reach no further."""
        held = len(self._unanswered) + len(self._done)
        if held >= self._waiting_limit or self._bytes >= self._bytes_limit:
            return True
        return self._next - self._base >= REACH

    @property
    def idle(self) -> bool:
        """Whether every fetched record is answered and committed."""
        return not (self._unanswered or self._done)

    # -- started ------------------------------------------------------------------------------

    def start(self) -> Record | None:
        """The next record to handle, persons taking turns, one record of a job at a time.

        None where none may start: nothing waits, their jobs are busy, they are suspects, or a
        commit has first to raise the ceiling (`wants_commit` says so).
        """
        if self._revision != self._kept_revision:
            return None
        for person, queue in self._queues.items():
            record = self._startable(queue)
            if record is not None:
                self._take(person, queue, record)
                return record
        return None

    def suspect(self) -> Record | None:
        """The first waiting record that has to run alone in its process, if there is one.

        Not before an earlier record of its job, which may be acquitted and wait for its turn.
        """
        if not self._queues or not (self._blame or self._cautious):
            return None
        earlier = set(self._busy)
        for record in sorted(self._waiting(), key=lambda r: r.offset):
            if record.key not in earlier and self._suspected(record.offset):
                return record
            earlier.add(record.key)
        return None

    def accuse(self, record: Record) -> Blame:
        """Note, for the next commit, that `record` is about to run alone; its blame so far."""
        before = self._blame.get(record.offset, Blame())
        self._blame[record.offset] = replace(before, deaths=before.deaths + 1)
        self._revision += 1
        return before

    def start_alone(self, record: Record) -> None:
        """Start a suspect, after the commit that accuses it."""
        self._take(_person(record), self._queues[_person(record)], record)

    # -- ended --------------------------------------------------------------------------------

    def answer(self, record: Record, messages: Sequence[Message]) -> None:
        """A started record is answered; its messages go into the next commit."""
        self._stop(record)
        self._bytes -= self._unanswered.pop(record.offset)
        self._done[record.offset] = messages

    def fail(self, record: Record) -> None:
        """A started record raised: it is blamed and waits again, to be tried alone."""
        self.give_up(record)
        before = self._blame.get(record.offset, Blame())
        self._blame[record.offset] = replace(before, exceptions=before.exceptions + 1)
        self._revision += 1

    def give_up(self, record: Record) -> None:
        """A started record did not end: it waits again, and was not the death of its process."""
        self._stop(record)
        if record.offset in self._blame:
            before = self._blame[record.offset]
            self._blame[record.offset] = replace(before, deaths=max(0, before.deaths - 1))
            self._revision += 1
        self._queues.setdefault(_person(record), deque()).appendleft(record)

    def acquit(self, record: Record) -> None:
        """A started record waits for our world, perhaps for long: it killed nobody so far.

        The ceiling rises without it, and it runs beside others again.
        """
        self._acquitted.add(record.offset)

    # -- committed ----------------------------------------------------------------------------

    @property
    def wants_commit(self) -> bool:
        """Whether a commit would carry an answer, write blame, or let a waiting record start."""
        if self._done or self._revision != self._kept_revision:
            return True
        return self._refused is not None and self._raised(self._lowest()) > self._ceiling

    @property
    def may_rest(self) -> bool:
        """Whether nobody is at work and nobody suspected, so that a death now would be no one's."""
        return self.idle and self._ceiling > self._base and not self._suspects

    def rest(self) -> None:
        """Lower the ceiling, as the `closing` commit that has to follow will write down.

        Nothing starts before the commit after that one raises it again. Whoever was suspected of an
        earlier death is answered by now: a ceiling lowered below old suspicion would never rise.
        """
        self._ceiling = self._suspicion = self._base

    def step(self, *, closing: bool = False) -> Step:
        """The commit for everything answered since the last one.

        `closing` lowers the ceiling to the base: nothing runs, so nobody will be suspected. But
        who was is still: a claim that wanders between members acquits nobody.
        """
        base = self._lowest()
        answered = self._finished | self._done.keys()
        clean = closing and not self._suspects
        deaths = 0 if clean or not self._unsettled else self._deaths
        note = Note(
            ceiling=base if clean else self._raised(base),
            deaths=max(0, deaths - closing),  # the next owner counts one for the ceiling
            finished=frozenset(o for o in answered if o >= base),
            blame={o: b for o, b in self._blame.items() if o >= base and o not in answered},
        )
        messages = tuple(m for answers in self._done.values() for m in answers)
        mark = Committed(base, note.write(base))
        return Step(mark, messages, frozenset(self._done), note, self._revision)

    def committed(self, step: Step) -> None:
        """The log kept `step`. Answers that came since stay for the next one."""
        self._base = step.mark.offset
        self._finished = set(step.note.finished)
        self._ceiling = step.note.ceiling
        self._deaths = step.note.deaths
        self._kept_revision = step.revision
        self._refused = None
        for offset in step.answered:
            del self._done[offset]
            self._blame.pop(offset, None)
        self._acquitted = {offset for offset in self._acquitted if offset in self._unanswered}

    # -- inside -------------------------------------------------------------------------------

    @property
    def _cautious(self) -> bool:
        return self._deaths >= CAUTIOUS_AFTER and self._base < self._suspicion

    @property
    def _suspects(self) -> bool:
        """Whether a suspect of a death is not answered, or was perhaps not even fetched."""
        unsure = bool(self._unanswered) or self._next == self._born
        return self._unsettled and unsure

    @property
    def _unsettled(self) -> bool:
        """Whether, of what was unanswered at a death, anything is still under suspicion."""
        if not self._acquitted:
            return self._lowest() < self._suspicion
        waiting = (o for o in self._unanswered if o not in self._acquitted)
        return next(waiting, self._next) < self._suspicion

    def _lowest(self) -> int:
        """The lowest offset fetched and not answered, else the next to fetch.

        Never a count and never beyond `_next`: offsets have holes, and what an earlier owner
        finished may not have been fetched here yet.
        """
        return next(iter(self._unanswered), self._next)

    def _raised(self, base: int) -> int:
        """The ceiling the next commit sets; it stays while suspects of a death are unanswered."""
        if self._unsettled:
            return self._ceiling
        reached = max(self._highest + 1, base, self._refused or 0)
        return max(self._ceiling, min(reached + self._ahead, base + REACH))

    def _waiting(self) -> Iterator[Record]:
        for queue in self._queues.values():
            yield from queue

    def _suspected(self, offset: int) -> bool:
        if offset in self._acquitted:
            return False
        return offset in self._blame or (self._cautious and offset < self._suspicion)

    def _startable(self, queue: deque[Record]) -> Record | None:
        earlier: set[str] = set()
        for record in queue:
            if record.key not in self._busy and record.key not in earlier:
                if record.offset >= min(self._ceiling, self._base + REACH):
                    self._refused = self._refused or record.offset
                elif not self._suspected(record.offset):
                    return record
            earlier.add(record.key)
        return None

    def _take(self, person: str, queue: deque[Record], record: Record) -> None:
        queue.remove(record)
        if queue:
            self._queues.move_to_end(person)
        else:
            del self._queues[person]
        self._running[record.offset] = record
        self._busy.add(record.key)
        self._highest = max(self._highest, record.offset)

    def _stop(self, record: Record) -> None:
        del self._running[record.offset]
        self._busy.discard(record.key)


def _person(record: Record) -> str:
    for name, value in record.headers:
        if name == "ce_person":
            return value.decode(errors="replace")
    return record.key
