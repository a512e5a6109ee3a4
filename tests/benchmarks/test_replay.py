"""The replay benchmark in small: both sides read the same events, and every prompt is judged."""

from __future__ import annotations

import argparse

from benchmarks.pipeline.jobs import BenchKeys
from benchmarks.replay.__main__ import _memory, _speed
from moderation.policy import load_policy


async def test_both_read_everything_and_the_stream_is_judged_to_its_end() -> None:
    args = argparse.Namespace(jobs=40, rounds=1, stream=30, folder=None)
    policy, keys = load_policy(), BenchKeys()
    speed = await _speed(args, policy, keys)
    assert 0 < speed["rounds"][0]["ratio"] < 10
    memory = await _memory(args, policy, keys)
    assert memory["events"] == 60
    assert memory["peak_mb"] >= max(memory["resident_mb"]) * 0.9 > 0
