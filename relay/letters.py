"""Dead letters: a record untouched, with why and for whom in its headers; and when to stop.

Knows the headers and the limit. Refuses to know who reads dead letters or sends them again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from relay.errors import BadRecord
from relay.log.port import LONGEST, Message, Record
from schemas.envelope import Headers
from schemas.topics import BY_NAME

GROUP = "dead_group"
CODE = "dead_code"
MESSAGE = "dead_message"
OFFSET = "dead_offset"
VERSION = "dead_code_version"
TIMES = "dead_times"
"""How often the record has died for its group; a redriven one takes it along."""
CUT = "dead_cut"
"""On a letter that could not hold its record."""
REDRIVE = "redrive_group"
"""On a redriven record: the one group that may handle it; others pass it over."""

_KEY_KEPT = 255


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that `group` could not handle, as its dead-letter topic tells it."""

    topic: str
    key: str
    group: str
    code: str
    message: str
    record: Record
    times: int = 1
    """How often it has died."""
    version: str | None = None
    """Of the code it died in."""
    place: str | None = None
    """Partition and offset where it lies in its topic."""
    cut: bool = False
    """Whether it lies only there, being too large for a letter."""


def bury(record: Record, group: str, why: BadRecord, code_version: str) -> Message:
    """The dead letter for `record`: value, key and headers as they were, the reason added.

    Of one so large that no log takes it with that the place alone is told: there it lies.
    """
    said = {
        GROUP: group,
        CODE: why.code,
        MESSAGE: why.message,
        OFFSET: f"{record.partition}/{record.offset}",
        VERSION: code_version,
        TIMES: str(_times(record) + 1),
    }
    added = tuple((name, value.encode()) for name, value in said.items())
    topic = BY_NAME[record.topic].dead
    letter = Message(topic, record.key, record.value, record.headers + added)
    if letter.size <= LONGEST:
        return letter
    return Message(topic, record.key[:_KEY_KEPT], b"", (*added, (CUT, b"1")))


def exhume(record: Record) -> DeadLetter:
    """What a record of a dead-letter topic says."""
    said = {name: value.decode(errors="replace") for name, value in record.headers}
    return DeadLetter(
        topic=record.topic.removesuffix("-dead"),
        key=record.key,
        group=said.get(GROUP, ""),
        code=said.get(CODE, "unknown"),
        message=said.get(MESSAGE, ""),
        record=record,
        times=_times(record),
        version=said.get(VERSION),
        place=said.get(OFFSET),
        cut=CUT in said,
    )


def _times(record: Record) -> int:
    said = dict(record.headers).get(TIMES, b"0")
    return int(said) if said.isdigit() and len(said) < 9 else 0


def untouched(headers: Headers) -> Headers:
    """A dead letter's headers without what `bury`, or an earlier redrive, added."""
    added = {GROUP, CODE, MESSAGE, OFFSET, VERSION, TIMES, REDRIVE}
    return tuple((name, value) for name, value in headers if name not in added)


def again(letter: DeadLetter) -> Message:
    """The letter's record as it is sent once more: bytes and id as they were, for its group."""
    marks = ((REDRIVE, letter.group.encode()), (TIMES, str(letter.times).encode()))
    record = letter.record
    return Message(letter.topic, record.key, record.value, (*untouched(record.headers), *marks))


def meant_for(record: Record, group: str) -> bool:
    """Whether `group` should handle `record`: a redriven one names its group."""
    return all(value == group.encode() for name, value in record.headers if name == REDRIVE)


class DeadLetterLimit:
    """Says when a stage has to stop: if all records are bad, the stage is.

    Reached by `run` bad ones in a row, or by more than `ratio` of the last `of` records. A `run`
    of 0 or a `ratio` of 1 is none.
    """

    def __init__(self, run: int = 50, ratio: float = 0.5, of: int = 200) -> None:
        self._run, self._ratio = run, ratio
        self._last: deque[bool] = deque(maxlen=of)
        self._bad = 0
        self._in_a_row = 0

    def saw(self, *, bad: bool) -> None:
        """Count one answered record."""
        if len(self._last) == self._last.maxlen:
            self._bad -= self._last[0]
        self._last.append(bad)
        self._bad += bad
        self._in_a_row = self._in_a_row + 1 if bad else 0

    @property
    def reached(self) -> bool:
        full = len(self._last) == self._last.maxlen
        row = 0 < self._run <= self._in_a_row
        return row or (full and self._bad > self._ratio * len(self._last))
