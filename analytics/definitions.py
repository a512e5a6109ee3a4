"""What is counted: from one record of the log to the amounts it adds to figures.

Knows every event's part in the figures, and the time it belongs to. Refuses to know windows, rows,
and who runs this; reads no clock, opens no personal field. All amounts are whole numbers, so that
adding them up in any order gives the same.

A figure is a path of names, `("rules", "weapons", "rejected")`. Of the topics' events come

    events/<topic>                     records, `unreadable` where one is no event of ours; a dead
                                       one that was sent again is `redriven`, and nothing else
    jobs/<state>                       accepted, approved, rejected, held, reviewed, synthesized, …
    rules/<rule>/<verdict>             verdicts in which a rule fired
    audio_ms/recorded|spoken|delivered milliseconds of sound
    speech/made|cached                 speech that was computed, and speech found in the store
    voices/<engine> <voice> <version>  deliveries by the voice that spoke; clones/yes|no likewise
    styles/<style>/<state>             jobs by style; kinds/<kind>/… by what it changes (a dialect,
                                       an emotion, …), versions/<version>/… by the code that judged
    jobs/played|rated|appealed         what became of them; those three, and heard/<voice>/…, too
    stars/<1…5>                        ratings
    reports/<reason>/own|shared        what is said to be wrong
    complaints/upheld|refused          what a person decided about reports and appeals
    languages, modes, formats, doors   what was asked for, and heard
    failures/<stage>/<code>            jobs that ended without speech
    delay/<state>/<bucket>             how long after its acceptance a job came to that state
    took/<stage>/<bucket>              how long the stage took to answer, its queue included
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from analytics.sketch import bucket
from relay.codec import decode, head_of
from relay.errors import BadRecord
from relay.letters import REDRIVE
from relay.log.port import Record
from schemas.envelope import Cause
from schemas.events import (
    BY_TYPE,
    Asked,
    ComplaintDecided,
    Event,
    JobFailed,
    PromptAppealed,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    SpeechDelivered,
    SpeechPlayed,
    SpeechRated,
    SpeechReported,
    SpeechSynthesized,
    Spoken,
    Verdict,
)
from schemas.states import STATE_OF, State
from schemas.styles import BY_NAME
from schemas.topics import AFTERWARDS
from schemas.topics import TOPICS as CHAIN

VERSION = 5
"""Of all this: figures counted under another one are counted anew."""
TOPICS = tuple(topic.name for topic in (*CHAIN, *AFTERWARDS))
"""What is read: a new event of a job is read as soon as it has a topic."""

Figure = tuple[str, ...]
Amount = tuple[Figure, int]

_AHEAD = timedelta(minutes=5)
_UNTOLD = re.compile(r"[^\w .:+-]")
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Fact:
    """What one record adds, and the time it is counted under."""

    at: datetime
    amounts: tuple[Amount, ...]


def fact(record: Record) -> Fact:
    """What `record` adds to the figures; the same for the same record, whoever asks and when.

    Its time is that of its job's acceptance, which every event bears: so a window holds the same
    jobs from upload to delivery, and what arrives late is counted where it belongs. A clock that
    runs ahead of the log's is not believed.
    """
    try:
        head = head_of(record)
        event = decode(record, head, None)
    except BadRecord:
        return Fact(record.appended, ((("events", "unreadable"), 1),))
    if any(name == REDRIVE for name, _ in record.headers):  # counted where it lies already
        return Fact(record.appended, ((("events", "redriven"), 1),))
    ahead = head.time > record.appended + _AHEAD
    at = record.appended if ahead else head.time
    amounts = _amounts(event, record.topic, record.appended - at)
    return Fact(at, (*amounts, *_took(head.cause, event, record.appended)))


def _took(cause: Cause | None, event: Event, appended: datetime) -> Iterator[Amount]:
    """What a review is answered with is a stage's work, too, but of no such length."""
    stage = _ANSWERS.get(cause.topic) if cause else None
    if cause and stage and event.TYPE != JobFailed.TYPE:
        yield ("took", stage, str(bucket((appended - cause.appended).total_seconds()))), 1


def _amounts(event: Event, topic: str, age: timedelta) -> Iterator[Amount]:
    yield ("events", topic), 1
    kind = BY_TYPE[event.TYPE]  # its class is another: personal fields are closed in it
    state = _BECAME.get(kind)
    if state is not None:
        yield ("jobs", state), 1
        if state != State.ACCEPTED:
            yield ("delay", state, str(bucket(age.total_seconds()))), 1
    for figure, amount in _OF[kind](event):
        yield tuple(_label(part) for part in figure), amount


def _label(text: str) -> str:
    """`text` as a name: what a caller may choose freely (a style) stays short and plain."""
    return _UNTOLD.sub("_", text)[:_LONGEST] or "none"


# -- one function an event -------------------------------------------------------------------------


def _uploaded(event: PromptUploaded) -> Iterator[Amount]:
    yield from _styles(event.style, "accepted")
    yield ("modes", event.mode), 1
    yield ("doors", event.door), 1
    yield ("audio_ms", "recorded"), _ms(event.recording.seconds)


def _approved(event: PromptApproved) -> Iterator[Amount]:
    yield from _styles(event.style, "approved")
    yield ("languages", event.heard_language), 1
    yield from _verdict(event.verdict, "approved")


def _held(event: PromptHeld) -> Iterator[Amount]:
    yield from _styles(event.style, "held")
    yield from _verdict(event.verdict, "held")


def _rejected(event: PromptRejected) -> Iterator[Amount]:
    if event.code_version is not None:  # as with a delivery
        yield from _styles(event.style, "rejected")
    yield from _verdict(event.verdict, "rejected")


def _reviewed(event: PromptReviewed) -> Iterator[Amount]:
    yield ("reviews", "approved" if event.approved else "rejected"), 1


def _synthesized(event: SpeechSynthesized) -> Iterator[Amount]:
    yield ("speech", "cached" if event.cached else "made"), 1
    yield ("audio_ms", "cached" if event.cached else "spoken"), _ms(event.speech.seconds)


def _delivered(event: SpeechDelivered) -> Iterator[Amount]:
    yield ("voices", _voice(event.spoken)), 1
    yield ("clones", "yes" if event.spoken.cloned else "no"), 1
    yield ("formats", event.format), 1
    if event.code_version is not None:  # else of an older release, which told no style either
        yield from _asked(event, "delivered")
    yield ("audio_ms", "delivered"), _ms(event.audio.seconds)


def _failed(event: JobFailed) -> Iterator[Amount]:
    yield ("failures", event.stage, event.code), 1


def _played(event: SpeechPlayed) -> Iterator[Amount]:
    yield from _asked(event, "played")
    yield ("heard", _voice(event.spoken), "played"), 1


def _rated(event: SpeechRated) -> Iterator[Amount]:
    yield from _asked(event, "rated")
    yield ("heard", _voice(event.spoken), "rated"), 1
    yield ("stars", str(event.stars)), 1


def _reported(event: SpeechReported) -> Iterator[Amount]:
    yield ("reports", event.reason, "shared" if event.shared else "own"), 1


def _appealed(event: PromptAppealed) -> Iterator[Amount]:
    yield from ()  # that it was is all there is to say


def _decided(event: ComplaintDecided) -> Iterator[Amount]:
    yield ("complaints", "upheld" if event.upheld else "refused"), 1


def _asked(event: Asked, state: str) -> Iterator[Amount]:
    yield from _styles(event.style, state)
    if event.code_version is not None:
        yield ("versions", event.code_version, state), 1


def _styles(style: str | None, state: str) -> Iterator[Amount]:
    """By the preset's id, by whichever of its names it was asked for."""
    preset = BY_NAME.get(style.lower()) if style else None
    yield ("styles", preset.id if preset else style or "none", state), 1
    yield ("kinds", preset.kind if preset else "other" if style else "none", state), 1


def _voice(spoken: Spoken) -> str:
    return f"{spoken.engine} {spoken.voice} {spoken.version}"


def _verdict(verdict: Verdict, ruled: str) -> Iterator[Amount]:
    yield ("versions", verdict.code_version, ruled), 1
    for rule in sorted({reason.rule for reason in verdict.reasons}):
        yield ("rules", rule, ruled), 1


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


_OF: Mapping[type[Event], Callable[[Any], Iterable[Amount]]] = {
    PromptUploaded: _uploaded,
    PromptApproved: _approved,
    PromptHeld: _held,
    PromptRejected: _rejected,
    PromptReviewed: _reviewed,
    SpeechSynthesized: _synthesized,
    SpeechDelivered: _delivered,
    JobFailed: _failed,
    SpeechPlayed: _played,
    SpeechRated: _rated,
    SpeechReported: _reported,
    PromptAppealed: _appealed,
    ComplaintDecided: _decided,
}

_ANSWERS = {
    "prompt-uploaded": "moderation",
    "prompt-approved": "synth",
    "speech-synthesized": "delivery",
}
"""Who answers what of a job that has not ended."""

_BECAME: Mapping[type[Event], str] = {
    **STATE_OF,
    PromptUploaded: State.ACCEPTED,
    SpeechPlayed: "played",
    SpeechRated: "rated",
    PromptAppealed: "appealed",
}
"""What a job has come to; a report and a decision may come again."""
