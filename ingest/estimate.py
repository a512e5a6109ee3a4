"""How long a job will take: learnt from those that ended lately, and from what waits before it.

Pure: seconds and sizes in, seconds out. Knows that a stage has slots, that what is in one takes a
while that grows with the text, and that of what waits the oldest is next, or partitions and persons
take turns. Refuses to know SQL, clocks and what a stage does: how many slots there are, how quick
they are and who is next is seen from when jobs came to each stage and when they left it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import chain, count, pairwise
from uuid import UUID

STAGES = 3
"""Moderation, synth, delivery: a job goes through them in this order."""
_SLOTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_BETTER = 0.9
"""By so much less has a belief to err, to be held instead of a simpler one."""
_HALF = 12
"""So many jobs later, what one took counts half."""
_LATEST = 200
"""So many that left last are learnt from; of what the one before them took, nothing would count."""
_LEAST = 0.1
"""Of what it should have taken, is left of what has taken longer."""


@dataclass(frozen=True, slots=True)
class Text:
    """A job, by what matters here: its text's length, and whose turn it waits for."""

    id: UUID
    size: int
    lane: int
    """Of its partition: lanes take turns, and in each of them persons."""
    person: UUID
    accepted: float = 0.0


@dataclass(frozen=True, slots=True)
class Stay:
    """A job in one stage: when it came, and when it left (None: it is there)."""

    text: Text
    came: float
    left: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """What a stage is taken for: so many slots, and seconds that depend on the text."""

    slots: int = 1
    base: float = 1.0
    per: float = 0.0

    def takes(self, size: int) -> float:
        """Seconds that a text of `size` bytes has a slot for."""
        return self.base + self.per * size


@dataclass(frozen=True, slots=True)
class Standing:
    """So many jobs end before it, and it ends in so many seconds; None while nobody can tell."""

    place: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """A stage's pace, who is there, since when some of them have a slot; whether that is known."""

    pace: Pace = Pace()
    inside: Sequence[Stay] = ()
    begun: Mapping[UUID, float] = field(default_factory=dict)
    known: bool = False
    fair: bool = True
    """Whether turns are taken: where more is taken on than there are slots, the oldest is next."""


def learnt(stays: Sequence[Stay]) -> Learnt:
    """What `stays` say of their stage, those included that have not ended.

    Of several numbers of slots that one is believed under which equal texts took equally long. They
    stand in one line, unless clearly fewer left before their turn had come if turns are taken.
    """
    inside = [stay for stay in stays if stay.left is None]
    stays = [*_latest(stays), *inside]
    best, least = Learnt(inside=inside), float("inf")
    most = _at_once(stays)
    for slots, before in zip(_SLOTS, (0, *_SLOTS), strict=False):
        if before >= most and before:
            break
        line, turns = (_served(stays, slots, fair) for fair in (False, True))
        served = turns if turns.surprises < line.surprises * _BETTER else line
        pace, error = _fitted(served.took, slots) if served.took else (Pace(slots), float("inf"))
        if error < least * _BETTER:
            best = Learnt(pace, inside, served.begun, known=True, fair=served.fair)
            least = error
    return best


def forecast(stages: Sequence[Learnt], now: float) -> Mapping[UUID, Standing]:
    """Where each job stands that is inside: they go through the stages as their paces say."""
    ends: dict[UUID, float] = {}
    passing: Sequence[Stay] = ()
    for stage in stages:
        entering = sorted(chain(stage.inside, passing), key=lambda stay: stay.came)
        left = dict(_through(entering, stage, now))
        passing = [Stay(stay.text, left[stay.text.id]) for stay in entering]
        ends |= left
    known = all(stage.known for stage in stages)
    order = sorted(ends, key=lambda job: ends[job])
    return {
        job: Standing(place, ends[job] - now if known else None) for place, job in enumerate(order)
    }


def _through(entering: Iterable[Stay], stage: Learnt, now: float) -> Iterator[tuple[UUID, float]]:
    """When each leaves the stage."""
    pace, turns, coming, slots = stage.pace, _queue(stage.fair), deque[Stay](), list[float]()
    for stay in entering:
        if (begun := stage.begun.get(stay.text.id)) is not None:
            takes = pace.takes(stay.text.size)
            slots.append(max(begun + takes, now + _LEAST * takes))
            yield stay.text.id, slots[-1]
        else:
            coming.append(stay)
    slots += [now] * (pace.slots - len(slots))
    heapify(slots)
    while coming or turns:
        free = heappop(slots)
        if not turns:
            free = max(free, coming[0].came)
        while coming and coming[0].came <= free:
            turns.wait(coming.popleft().text)
        text = turns.next()
        left = free + pace.takes(text.size)
        yield text.id, left
        heappush(slots, left)


class _Line:
    """Who is next: whoever was accepted first."""

    def __init__(self) -> None:
        self._texts: list[tuple[float, int, Text]] = []
        self._numbers = count()
        self._gone: set[UUID] = set()

    def __bool__(self) -> bool:
        return len(self._texts) > len(self._gone)

    def wait(self, text: Text) -> None:
        heappush(self._texts, (text.accepted, next(self._numbers), text))

    def next(self) -> Text:
        while True:
            text = heappop(self._texts)[-1]
            if text.id not in self._gone:
                return text
            self._gone.remove(text.id)

    def forget(self, text: Text) -> None:
        """It was its turn already."""
        self._gone.add(text.id)


class _Turns:
    """Who is next: partitions take turns, and in each of them persons."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[int, OrderedDict[UUID, deque[Text]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def wait(self, text: Text) -> None:
        lane = self._lanes.setdefault(text.lane, OrderedDict())
        lane.setdefault(text.person, deque()).append(text)

    def next(self) -> Text:
        number, lane = self._lanes.popitem(last=False)
        person, theirs = lane.popitem(last=False)
        text = theirs.popleft()
        if theirs:
            lane[person] = theirs
        if lane:
            self._lanes[number] = lane
        return text

    def forget(self, text: Text) -> None:
        """It was its turn already."""
        lane = self._lanes[text.lane]
        lane[text.person].remove(text)
        if not lane[text.person]:
            del lane[text.person]
        if not lane:
            del self._lanes[text.lane]


def _queue(fair: bool) -> _Turns | _Line:
    return _Turns() if fair else _Line()


# -- learning --------------------------------------------------------------------------------------


def _latest(stays: Iterable[Stay]) -> Sequence[Stay]:
    """Those that left last: thousands may have, and wait for the next stage."""
    ended = (stay for stay in stays if stay.left is not None)
    return sorted(ended, key=lambda stay: stay.left or 0.0)[-_LATEST:]


@dataclass(slots=True)
class _Served:
    """What one order makes of stays."""

    fair: bool
    took: list[tuple[int, float]] = field(default_factory=list)
    """By size, how long each had a slot."""
    begun: dict[UUID, float] = field(default_factory=dict)
    """Since when those have a slot that are there."""
    surprises: int = 0
    """So many left whose turn had not come."""


def _served(stays: Sequence[Stay], slots: int, fair: bool) -> _Served:
    """Who had a slot, and for how long.

    A slot is taken anew when its job leaves and another waits: the one whose turn it is, or, where
    one has left whose turn we thought had not come, that one instead of the last to begin. What
    came before the first that is known to have left waited for others that nobody remembers: such a
    stay tells nothing.
    """
    since = min((stay.left for stay in stays if stay.left is not None), default=0.0)
    told = [stay for stay in stays if stay.left is None or stay.left > since]
    moments = [(max(stay.came, since), False, stay.text) for stay in told]
    moments += [(stay.left, True, stay.text) for stay in told if stay.left is not None]
    moments.sort(key=lambda moment: moment[:2])
    turns, found = _queue(fair), _Served(fair)
    begun = found.begun
    texts = {stay.text.id: stay.text for stay in told}
    for at, leaves, text in moments:
        if not leaves:
            turns.wait(text)
        else:
            if text.id not in begun:
                last = max(begun, key=lambda job: begun[job])
                turns.forget(text)
                turns.wait(texts[last])
                begun[text.id] = begun.pop(last)
                found.surprises += 1
            since_when = begun.pop(text.id)
            if since_when > since:
                found.took.append((text.size, at - since_when))
        if turns and len(begun) < slots:
            begun[turns.next().id] = at
    return found


def _fitted(took: Sequence[tuple[int, float]], slots: int) -> tuple[Pace, float]:
    """Least squares of seconds over size, neither part less than nothing; and how far it errs.

    What was seen last counts most: a machine that was busy with something else is soon forgotten.
    Of more slots than there are each seems to take what several took one after another: that errs
    more in seconds and less in proportion, so the error is measured half way. Few say little.
    """
    last = len(took) - 1
    told = [(0.5 ** ((last - n) / _HALF), size, seconds) for n, (size, seconds) in enumerate(took)]
    weight = sum(w for w, _, _ in told)
    mean_size = sum(w * size for w, size, _ in told) / weight
    mean = sum(w * seconds for w, _, seconds in told) / weight
    spread = sum(w * (size - mean_size) ** 2 for w, size, _ in told)
    together = sum(w * (size - mean_size) * (seconds - mean) for w, size, seconds in told)
    per = max(0.0, together / spread) if spread else 0.0
    pace = Pace(slots, mean - per * mean_size, per)
    if pace.base < 0:
        pace = Pace(slots, 0.0, mean / mean_size)
    error = sum(w * abs(seconds - pace.takes(size)) for w, size, seconds in told)
    return pace, (error + mean) / weight / max(1e-9, mean) ** 0.5


def _at_once(stays: Sequence[Stay]) -> int:
    """The most that were in the stage at any time."""
    moments = sorted(
        [(stay.came, 1) for stay in stays]
        + [(stay.left, -1) for stay in stays if stay.left is not None]
    )
    inside, most = 0, 1
    for _, step in moments:
        inside += step
        most = max(most, inside)
    return most


def stays_of(text: Text, times: Sequence[float]) -> Sequence[Stay]:
    """The stays, stage by stage, of a job that came to its states at `times`."""
    return [Stay(text, min(came, left), left) for came, left in pairwise(times)]
