"""The benchmark runs, and its numbers are about what was asked."""

from __future__ import annotations

import time

from benchmarks.cosyvoice3.measure import Bench, Setup


def test_every_level_speaks_what_was_asked() -> None:
    bench = Bench(Setup(released=False, device="cpu", slots=2), outputs=(0.4, 1.2))
    report = bench.run((1, 3), limit=60, started=time.perf_counter())
    assert [level["concurrency"] for level in report["levels"]] == [1, 3]
    assert report["skipped"] == []
    for level in report["levels"]:
        whole = level["whole"]
        audio = whole["audio_seconds_per_second"] * whole["wall"]
        assert abs(audio - level["concurrency"] * 1.6) < 0.1
        assert 0 < whole["first_sound_median"] <= whole["first_sound_p95"] <= whole["wall"] + 0.01
        assert level["streamed"]["requests"] == 2 * level["concurrency"]
        assert 0 < level["device_busy"] <= 1.5
    assert bench.core.held == 0


def test_levels_beyond_the_time_are_named() -> None:
    bench = Bench(Setup(released=False, device="cpu", slots=2), outputs=(0.4,))
    report = bench.run((1, 2), limit=0, started=time.perf_counter() - 1)
    assert (report["levels"], report["skipped"]) == ([], [1, 2])
