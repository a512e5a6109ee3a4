"""The plan for a GPU runs to its end on a CPU, and says what was asked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.cosyvoice3 import (
    count,
    engine_phases,
    exact,
    limits,
    parts,
    plan,
    profiled,
    whole,
)
from benchmarks.cosyvoice3.count import SMALL, Cost, Op
from benchmarks.cosyvoice3.limits import FEW, H200, Part
from benchmarks.cosyvoice3.measure import Bench, Crowd
from benchmarks.cosyvoice3.profiled import Span

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def lines(*names: str, limit: float = 600.0, well: bool = True) -> list[dict[str, Any]]:
    out = io.StringIO()
    ended = plan.run(names, False, CPU, "float32", out, limit=limit, requests=10)
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert ended == well, found
    assert all(line["device"].startswith("cpu") and line["phase"] in names for line in found)
    return [line for line in found if "seconds" not in line]


def test_every_phase_has_a_name_and_time() -> None:
    known = plan.phases()
    assert tuple(known) == plan.NAMES
    assert all(seconds < 600 for _, seconds in known.values())


def test_the_device_and_the_engine_are_measured() -> None:
    found = lines("device", "throughput", "first", "determinism")
    assert {line["what"] for line in found if line["phase"] == "device"} == {
        "matmul", "copy", "memory",
    }  # fmt: skip
    streams = [line["streams"] for line in found if line["phase"] == "first" and "streams" in line]
    assert streams == [1, 2]
    speeds = [line for line in found if line["phase"] == "throughput"]
    assert [(line["streams"], line["requests"]) for line in speeds] == [(1, 2), (4, 8)]
    assert all(line["share_of_matmul_rate"] > 0 for line in speeds)
    same = next(line for line in found if line.get("in") == "float32")
    assert same["tokens"] == 20
    assert same["same"] == {"1": 20, "2": 20, "4": 20}
    assert [line["deterministic"] for line in found if "same" in line] == [False, False, True]
    assert found[-1]["times"] > 0


def test_each_part_is_timed_beside_what_it_must_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "WARM", 1)
    monkeypatch.setattr(parts, "TRIES", 1)
    found = lines("parts")
    assert [line["part"] for line in found] == [p.name for p in limits.parts(SMALL, rows=FEW)]
    assert all(line["ms"] > 0 and "floor_ms" not in line for line in found)  # of no known device
    monkeypatch.setattr(parts, "device_name", lambda _: "NVIDIA H200")
    part = Part("", Cost((Op(989e9, 0, torch.bfloat16),)), serves=1.0)
    line = parts._line(plan.Ask(True, CPU, "bfloat16", 0.0), part, seconds=0.004)
    assert (line["floor_ms"], line["times_the_floor"], line["tflops"]) == (1.0, 4.0, 247.0)


def test_a_crowd_sounds_as_each_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "REQUESTS", 6)
    ask = plan.Ask(False, CPU, "float32", 0.0)
    line = exact._as_alone_on_a_cpu(ask)
    assert line["ok"] is True
    assert (line["same"], line["requests"]) == (6, 6)
    monkeypatch.setattr(exact, "random_request", other_seeds(exact.random_request))
    assert exact._as_alone_on_a_cpu(ask)["same"] < 6


def other_seeds(plain: Any) -> Any:
    """Requests that are drawn otherwise each time they are asked for."""
    calls = iter(range(1000))

    def changed(index: int, tokens: int, stream: bool) -> Any:
        request, prepared = plain(index, tokens, stream)
        return replace(request, seed=next(calls)), prepared

    return changed


def test_what_is_found_wrong_fails_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "PRECISIONS", ())
    monkeypatch.setattr(exact, "_as_alone_on_a_cpu", lambda _: {"ok": False})
    assert [line["ok"] for line in lines("parity", well=False)] == [False]


def test_nothing_is_left_of_many_requests() -> None:
    found = lines("memory", "profile")
    growth = [line for line in found if line.get("what") == "growth"]
    assert [line["requests"] for line in growth] == list(range(1, 11))
    assert all(line["held"] == 0 for line in growth)
    seen = [line for line in found if line["phase"] == "profile"]
    assert [line["streams"] for line in seen] == [4, 1]
    assert all(0 < line["busy"] <= 1 and line["kernels"] for line in seen)


def test_whisper_and_the_whole_relay_are_heard_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "JOBS", 1)
    ear, *relay = lines("hearing", "relay")
    alone, relay = relay[:2], relay[2:]
    assert [line["users"] for line in alone] == [1, 2]
    assert all(line["alone"] > 0 for line in alone)
    assert ear["model"] == "tiny"
    assert ear["times"] > 0
    assert [(line["users"], line["jobs"]) for line in relay] == [(1, 1), (2, 2)]
    assert all(0 < line["playable_median"] <= line["playable_p95"] for line in relay)


def test_a_phase_that_fails_is_told_and_the_next_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: plan.Ask) -> Any:
        yield {"what": "before"}
        raise RuntimeError("no kernel image")

    known = {"parity": (broken, 10.0), "device": (plan.facts, 10.0)}
    monkeypatch.setattr(plan, "phases", lambda: known)
    found = lines("parity", "device", well=False)
    assert found[0]["what"] == "before"
    assert found[1]["failed"] == "RuntimeError: no kernel image"
    assert found[-1]["phase"] == "device"
    assert [line.get("skipped") for line in lines("device", limit=0.0)] == ["no time is left"]


def test_overlapping_kernels_are_busy_once_and_gaps_are_sorted() -> None:
    found = profiled.summary(
        [Span("a", 0, 100), Span("b", 50, 120), Span("a", 125, 200), Span("c", 1400, 1500)]
    )
    assert found["wall_ms"] == 1.5
    assert found["busy"] == pytest.approx(295 / 1500, abs=1e-4)
    assert found["kernels"][0] == {"kernel": "a", "ms": 0.175, "calls": 2}
    assert sorted(found["gaps_ms"].values()) == [0.005, 1.2]
    assert "busy 19.7%" in profiled.table(found)
    lanes = profiled.summary(
        [Span("a", 0, 100, "7"), Span("b", 0, 50, "8"), Span("c", 50, 60, "8")]
    )
    assert (lanes["busy"], lanes["lanes"]) == (1.0, {"7": 1.0, "8": 0.6})


def test_a_profile_is_of_a_crowd_in_the_middle_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Watched(Crowd):
        def __init__(self, bench: Bench, level: int, *, stream: bool, rounds: int) -> None:
            super().__init__(bench, level, stream=stream, rounds=rounds)
            monkeypatch.setattr(profiled, "traced", self.traced)

        def traced(self, device: torch.device, work: Callable[[], object]) -> list[Span]:
            before = self.ended
            work()
            seen.append((before, self.ended))
            return [Span("a", 0, 1)]

    monkeypatch.setattr(engine_phases, "TRACED", 60.0)
    monkeypatch.setattr(engine_phases, "Crowd", Watched)
    lines("profile")
    for level, (before, after) in zip((4, 1), seen, strict=True):
        # Neither how all begin at once is in it, nor how the last of them end.
        assert level <= before < 3 * level <= after < 4 * level


def test_counts_are_the_arithmetic_of_the_sizes() -> None:
    lm, rows, span = SMALL.lm, 3, 64
    weights = lm.layers * lm.width * (2 * lm.width + 2 * lm.kv_heads * lm.head + 3 * lm.inner)
    weights += lm.width * lm.speech_rows
    attention = lm.layers * 2 * lm.heads * lm.head * span
    found = count.lm_decode(lm, rows, span, torch.float32)
    assert found.flops == 2 * rows * (weights + attention)
    assert found.bytes > 4 * weights
    flow, frames = SMALL.flow, 40
    inner = flow.heads * flow.head
    block = flow.width * (4 * inner + 2 * flow.inner) + 2 * inner * frames
    convs = 2 * flow.width * flow.width // flow.conv_groups * flow.conv_kernel
    each = flow.depth * block + convs + 80 * flow.width
    found = count.flow_step(flow, rows, frames, torch.float32)
    # The positional convolutions are counted at their padded ends, too.
    assert found.flops == pytest.approx(2 * rows * frames * (2 * each + 80 * flow.width), rel=0.02)


def test_counts_are_torch_s_own() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from synth.cosyvoice3.hift import HiFT

    hift = HiFT(SMALL.hift)
    with FlopCounterMode(display=False) as counter:
        hift([torch.zeros(30, 80)] * 2)
    assert count.vocoder(SMALL.hift, 2, 30).flops == counter.get_total_flops()


def test_a_floor_is_held_by_what_takes_longest() -> None:
    def held(flops: float, moved: int, replayed: bool, ops: int = 1) -> str:
        cost = Cost((Op(flops, moved, torch.bfloat16),) * ops)
        return limits.floor(Part("", cost, 1.0, replayed), H200).held_by

    assert held(1e12, 1, False) == "arithmetic"
    assert held(1, 10**10, False) == "memory traffic"
    assert held(1, 1, True, 100) == "small kernels"
    assert held(1, 1, False, 100) == "launches"
    half = limits.floor(Part("", Cost((Op(989e12, 0, torch.bfloat16),)), 1.0), H200)
    assert half.seconds == pytest.approx(1.0)
