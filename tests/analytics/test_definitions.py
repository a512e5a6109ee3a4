"""What one record adds, to which windows, and that seeing it again adds nothing."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from analytics.definitions import TOPICS, Figure, fact
from analytics.rows import (
    KEPT,
    MOST_LABELS,
    OTHER,
    Row,
    Size,
    Where,
    added,
    grown,
    read,
    total,
    windows,
    written,
)
from analytics.sketch import bucket, quantiles
from relay.codec import encode
from relay.letters import REDRIVE
from relay.log.port import Record
from schemas.envelope import Head
from tests.analytics.events import NOW, counted, messages, records
from tests.schemas.make_examples import EXAMPLES, FOLDER, PERSON


def test_every_record_is_counted_once_in_each_size_of_window() -> None:
    some = list(records(messages(400)))
    days = total(row for where, row in counted(some).items() if where.size is Size.DAY)
    by_topic = Counter(record.topic for record in some)
    assert by_topic.keys() == set(TOPICS)
    assert {name: days["events", name] for name in by_topic} == by_topic
    assert days["jobs", "accepted"] == by_topic["prompt-uploaded"]
    assert days["audio_ms", "delivered"] == 3900 * by_topic["speech-delivered"]
    assert days["rules", "words", "rejected"] == by_topic["prompt-rejected"]
    assert days["failures", "synth", "prompt_too_short"] == by_topic["job-failed"]
    assert days["jobs", "played"] == by_topic["speech-played"] == days["styles", "gentle", "played"]
    funnel = {
        "rejected": "prompt-rejected",
        "delivered": "speech-delivered",
        "played": "speech-played",
        "rated": "speech-rated",
    }
    for state, topic in funnel.items():
        assert days["styles", "gentle", state] == by_topic[topic] > 0
        assert days["kinds", "manner", state] == days["versions", "0.1.0", state] == by_topic[topic]
    assert days["stars", "4"] == by_topic["speech-rated"] == days["jobs", "rated"]
    assert days["reports", "not_my_voice", "shared"] == by_topic["speech-reported"]
    assert days["complaints", "upheld"] == by_topic["complaint-decided"]
    delays = sum(n for path, n in days.items() if path[:2] == ("delay", "delivered"))
    assert delays == by_topic["speech-delivered"]
    judged = sum(by_topic[f"prompt-{end}"] for end in ("approved", "rejected", "held"))
    assert took(days, "moderation") == judged
    assert took(days, "synth") == by_topic["speech-synthesized"]  # a failure is none of its answers
    assert took(days, "delivery") == by_topic["speech-delivered"]


def took(days: Counter[Figure], stage: str) -> int:
    return sum(n for path, n in days.items() if path[:2] == ("took", stage))


@pytest.mark.parametrize("style", ["cantonese", "广东话", "Cantonese"])
def test_a_style_is_one_by_whichever_of_its_names_it_is_asked_for(style: str) -> None:
    assert asked(style) == [("styles", "cantonese", "played"), ("kinds", "dialect", "played")]


def test_a_style_of_ones_own_and_none_are_told_apart() -> None:
    assert asked("like a pirate")[1] == ("kinds", "other", "played")
    assert asked(None) == [("styles", "none", "played"), ("kinds", "none", "played")]


def asked(style: str | None) -> list[Figure]:
    """What a job in that style adds to figures of styles, once it is played."""
    event = EXAMPLES["played-as-asked"].model_copy(update={"style": style})
    head = Head(UUID(int=1), event.TYPE, "voxrelay://test", NOW, PERSON, str(UUID(int=2)))
    ((record),) = records([encode(event, head, None)])
    return [path for path, _ in fact(record).amounts if path[0] in ("styles", "kinds")]


@pytest.mark.parametrize(
    ("topic", "example", "counted"),
    [
        ("speech-delivered", "delivered", {"voices"}),
        ("speech-delivered", "recognisable", {"voices"}),
        ("prompt-rejected", "word", {"rules", "versions"}),  # its verdict names the version
    ],
)
def test_an_end_told_by_an_older_release_is_of_no_style(
    topic: str, example: str, counted: set[str]
) -> None:
    """It did not tell: to count it as one without a style would be wrong."""
    shipped = json.loads((FOLDER / topic / "v1" / f"{example}.json").read_text())
    headers = tuple((k, v.encode()) for k, v in shipped["headers"].items())
    value = json.dumps(shipped["value"]).encode()
    record = Record(topic, 0, 0, shipped["key"], value, headers, NOW)
    heads = {path[0] for path, _ in fact(record).amounts}
    assert heads & {"styles", "kinds", "versions", "voices", "rules"} == counted


def test_a_record_that_was_sent_again_after_its_death_is_counted_where_it_lay() -> None:
    (record,) = list(records(messages(1)))
    again = replace(record, headers=(*record.headers, (REDRIVE, b"synth")))
    assert fact(again).amounts == ((("events", "redriven"), 1),)


@pytest.mark.parametrize("seed", range(20))
def test_records_that_come_again_add_nothing(seed: int) -> None:
    some = list(records(messages(150, seed)))
    once = counted(some)
    draw = random.Random(seed)
    rows: dict[Where, Row] = {}
    at = 0
    while at < len(some):  # a death puts the reader back by any number of records
        end = min(len(some), at + draw.randrange(1, 40))
        counted(some[at:end], rows)
        at = end if draw.random() < 0.6 or end == len(some) else draw.randrange(end)
    assert rows == once


def test_what_comes_late_is_counted_where_it_belongs_and_takes_no_later_ones_place() -> None:
    first, second = list(records(messages(2)))[:2]
    span = KEPT[Size.HOUR] * 3600
    place = ("prompt-uploaded", 0)
    rows: dict[Where, Row] = {}
    for offset, ago in enumerate([0, 2 * 3600, span]):
        said = replace(fact(first if offset else second), at=NOW - timedelta(seconds=ago))
        for where, start in windows(place, said.at):
            if after := grown(rows.get(where), said, offset, start):
                rows[where] = after
    starts = Counter((where.size, row.start) for where, row in rows.items())
    now = int(NOW.timestamp())
    assert starts[Size.HOUR, now - 2 * 3600] == 1
    assert starts[Size.HOUR, now - span] == 0  # five weeks late: its hour is gone
    assert starts[Size.HOUR, now] == 1
    day = now - span - (now - span) % 86_400
    assert starts[Size.DAY, day] == 1  # its day is kept


def test_a_clock_ahead_of_the_logs_is_not_believed() -> None:
    (record,) = list(records(messages(1)))
    early = replace(record, appended=record.appended - timedelta(days=30))
    assert fact(early).at == early.appended
    assert fact(record).at < record.appended


def test_what_is_no_event_is_counted_as_such() -> None:
    (record,) = list(records(messages(1)))
    assert fact(replace(record, value=b"{")).amounts == ((("events", "unreadable"), 1),)


def test_names_under_a_figure_are_bounded() -> None:
    many = [(("styles", f"s{n}", "accepted"), 1) for n in range(MOST_LABELS + 50)]
    sums = added({}, many)
    assert len(sums) == MOST_LABELS + 1
    assert sums["styles", OTHER, "accepted"] == 50
    assert added(sums, many[:1])["styles", "s0", "accepted"] == 2


def test_a_row_is_written_and_read() -> None:
    for row in counted(list(records(messages(50)))).values():
        assert read(written(row)) == row


def test_a_sketch_is_right_to_a_hundredth_and_merges_by_addition() -> None:
    draw = random.Random(7)
    values = sorted(draw.lognormvariate(1, 1.5) for _ in range(5000))
    parts = [Counter(bucket(v) for v in values[n::3]) for n in range(3)]
    whole = parts[2] + parts[0] + parts[1]
    for q, found in zip((0.5, 0.95, 0.99), quantiles(whole, (0.5, 0.95, 0.99)), strict=True):
        exact = values[int(q * (len(values) - 1))]
        assert abs(found - exact) / exact < 0.011
