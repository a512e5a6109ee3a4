"""Ranks as a table, and that the order of events changes nothing but the steps."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.jobs import Detail
from ingest.progress import News, Standing, after, object_keys, told
from schemas.events import Event
from schemas.states import STATE_OF, TERMINAL, State, rank, stuck_rank
from tests.ingest.chain import START, Chain

CHAIN = Chain()
UP, HELD, REV, OK, SYN, DEL, REJ, FAIL = (
    CHAIN.uploaded(),
    CHAIN.held(),
    CHAIN.reviewed(),
    CHAIN.approved(),
    CHAIN.synthesized(),
    CHAIN.delivered(),
    CHAIN.rejected(),
    CHAIN.failed(),
)
FRESH = Standing(State.ACCEPTED, rank(State.ACCEPTED), Detail().model_dump(mode="json"))


def news(event: Event, n: int = 0) -> News:
    state = STATE_OF[type(event)]
    return News(state, rank(state), START + timedelta(seconds=n), told(event))


def stuck(topic: str) -> News:
    return News(State.STUCK, stuck_rank(topic), START, {})


def run(*all_news: News) -> Standing:
    standing = FRESH
    for one in all_news:
        standing = after(standing, one)
    return standing


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((UP,), State.UPLOADED),
        ((UP, OK), State.APPROVED),
        ((OK, UP), State.APPROVED),
        ((UP, HELD, REV, OK, SYN, DEL), State.DELIVERED),
        ((DEL, SYN, OK, UP), State.DELIVERED),
        ((UP, HELD), State.HELD),
        ((HELD, UP), State.HELD),
        ((REV, HELD), State.REVIEWED),
        ((UP, REJ), State.REJECTED),
        ((REJ, UP), State.REJECTED),
        ((UP, FAIL, DEL), State.FAILED),
        ((UP, DEL, FAIL), State.DELIVERED),
        ((REJ, FAIL), State.REJECTED),
    ],
)
def test_a_lower_rank_never_overwrites_and_the_first_end_wins(
    events: Sequence[Event], state: State
) -> None:
    assert run(*map(news, events)).state is state


@pytest.mark.parametrize(
    ("all_news", "state"),
    [
        ((news(UP), stuck("prompt-uploaded")), State.STUCK),
        ((stuck("prompt-uploaded"), news(UP)), State.STUCK),
        ((news(UP), stuck("prompt-uploaded"), news(OK)), State.APPROVED),
        ((news(OK), stuck("prompt-uploaded")), State.APPROVED),
        ((news(OK), stuck("prompt-approved"), news(SYN)), State.SYNTHESIZED),
        ((news(DEL), stuck("speech-delivered")), State.DELIVERED),
        ((stuck("speech-synthesized"), news(FAIL)), State.FAILED),
    ],
)
def test_a_stuck_job_is_freed_by_what_its_redriven_record_brings(
    all_news: Sequence[News], state: State
) -> None:
    assert run(*all_news).state is state


@given(st.permutations([UP, HELD, REV, OK, SYN, DEL]))
def test_in_whatever_order_events_come_the_job_ends_the_same(events: list[Event]) -> None:
    straight, mixed = run(*map(news, [UP, HELD, REV, OK, SYN, DEL])), run(*map(news, events))
    assert (mixed.state, mixed.rank) == (straight.state, straight.rank)
    detail, expected = Detail.model_validate(mixed.detail), Detail.model_validate(straight.detail)
    assert detail.audio == expected.audio is not None
    assert detail.spoken == expected.spoken is not None
    assert detail.recording == expected.recording
    assert detail.language == "zh"
    assert {step.state for step in detail.steps} == {step.state for step in expected.steps}


@given(st.lists(st.sampled_from([UP, HELD, REV, OK, SYN, DEL, REJ, FAIL]), max_size=12))
def test_rank_only_rises_and_an_end_is_final(events: list[Event]) -> None:
    standing = FRESH
    for event in events:
        later = after(standing, news(event))
        assert later.rank >= standing.rank
        if standing.state in TERMINAL:
            assert later.state is standing.state
        standing = later


def test_what_would_end_an_ended_job_again_tells_nothing() -> None:
    detail = Detail.model_validate(run(news(UP), news(FAIL), news(DEL)).detail)
    assert detail.audio is None
    assert detail.code == "too_long"


@pytest.mark.parametrize("event", [UP, HELD, REV, OK, SYN, DEL, REJ, FAIL])
def test_nothing_personal_is_taken_over(event: Event) -> None:
    said = repr(told(event))
    assert not any(word in said for word in ("你好", "听到的", "203.0.113"))


def test_every_object_that_an_event_names_is_found() -> None:
    assert object_keys(OK) == {CHAIN.recording.key, f"hearing/{CHAIN.person}/h"}
    assert object_keys(SYN) == {CHAIN.audio("speech").key}
    assert object_keys(DEL) == {CHAIN.audio("delivered").key}
    assert object_keys(FAIL) == frozenset()
