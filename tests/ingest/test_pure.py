"""Values in, values out: the token bucket, and the words that are checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.problems import Problem
from ingest.quota import Bucket, Quota
from ingest.wish import checked_text, decoded

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    quota = Quota(per_minute=3, burst=2)
    bucket: Bucket | float = Bucket(2, NOW)
    for _ in range(2):
        assert isinstance(bucket, Bucket)
        bucket = quota.after_one(bucket, NOW)
    assert isinstance(bucket, Bucket)
    assert quota.after_one(bucket, NOW) == pytest.approx(20)
    assert quota.after_one(bucket, NOW + timedelta(seconds=15)) == pytest.approx(5)
    assert isinstance(quota.after_one(bucket, NOW + timedelta(seconds=20)), Bucket)


def test_a_rested_bucket_holds_its_burst_and_no_more() -> None:
    left = Quota(per_minute=3, burst=2).after_one(Bucket(0, NOW), NOW + timedelta(days=1))
    assert isinstance(left, Bucket)
    assert left.tokens == 1


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    left = Quota(per_minute=3, burst=2).after_one(Bucket(1, NOW), NOW - timedelta(hours=1))
    assert isinstance(left, Bucket)


@given(st.lists(st.floats(0, 100), max_size=60))
def test_no_pattern_of_requests_gets_more_than_the_rate(waits: list[float]) -> None:
    quota, bucket, now, taken = Quota(per_minute=6, burst=3), Bucket(3, NOW), NOW, 0
    for wait in waits:
        now += timedelta(seconds=wait)
        left = quota.after_one(bucket, now)
        if isinstance(left, Bucket):
            bucket, taken = left, taken + 1
    assert taken <= 3 + (now - NOW).total_seconds() / 10 + 1e-6


@given(st.text(max_size=300))
def test_a_text_is_taken_or_refused_by_a_code(text: str) -> None:
    try:
        taken = checked_text(text, 200)
    except Problem as problem:
        assert problem.code in ("text_empty", "text_too_long", "text_control_characters")  # noqa: PT017
        return
    assert taken == text.strip()
    assert 1 <= len(taken) <= 200
    taken.encode()  # nothing that UTF-8 cannot spell goes on


@pytest.mark.parametrize("text", ["a\nb", "标签\t一", "👩‍🚀", "é́", "！"])
def test_what_people_write_is_taken(text: str) -> None:
    assert checked_text(text, 200) == text


@given(st.text(max_size=60))
def test_base64_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(decoded(text), bytes)
    except Problem as problem:
        assert problem.code.startswith("recording_")  # noqa: PT017
