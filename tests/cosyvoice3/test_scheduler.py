"""The scheduler alone, without any network: fair, bounded, and clean after every cancel."""

from __future__ import annotations

import pytest

from synth.cosyvoice3.budget import Limits, plan, slot_bytes
from synth.cosyvoice3.dims import SPEECH_CODES
from synth.cosyvoice3.errors import Exhausted
from synth.cosyvoice3.layout import RELEASED_FLOW, RELEASED_HIFT, RELEASED_LM
from synth.cosyvoice3.scheduler import SILENT_RUN, Piece, Scheduler

STOP = SPEECH_CODES


def scheduler(slots: int = 4, frames: int = 10_000, **more: bool) -> Scheduler:
    return Scheduler(Limits(slots, 512, frames), burst=4, admit=8, **more)


def pieces(utterance: int, count: int, **more: object) -> list[Piece]:
    base = {"prefix": 30, "least": 4, "most": 100, "prompt": 25}
    return [Piece(utterance=utterance, index=i, **{**base, **more}) for i in range(count)]


def test_a_long_utterance_delays_nobody() -> None:
    it = scheduler(slots=4)
    it.add(pieces(1, 50))
    it.add(pieces(2, 1))
    it.add(pieces(3, 1))
    assert [p.key for p in it.schedule().admit] == [(1, 0), (2, 0), (3, 0), (1, 1)]


def test_a_freed_slot_is_filled_in_the_next_step() -> None:
    it = scheduler(slots=1)
    it.add(pieces(1, 2))
    first = it.schedule().admit[0]
    it.decoded(first, [5, 6, STOP, STOP])
    plan = it.schedule()
    assert [p.key for p in plan.admit] == [(1, 1)]
    assert [job.piece.key for job in plan.speak] == [(1, 0)]


def test_silence_is_dropped_after_five_and_starts_anew() -> None:
    piece = pieces(1, 1)[0]
    piece.take([1] * 9 + [700] + [2] * 3)
    assert piece.tokens == [1] * SILENT_RUN + [700] + [2] * 3
    assert piece.produced == 13


def test_chunks_end_where_attention_does_and_grow() -> None:
    it = scheduler()
    it.add(pieces(1, 1, prompt=30, stream=True, most=400))
    piece = it.schedule().admit[0]
    ends = []
    for token in range(300):
        it.decoded(piece, [1000 + token])
        for job in it.schedule().speak:
            ends.append(job.upto)
            assert len(job.tokens) == job.upto + 3
            it.spoken(job, 480)
    assert ends == [45, 95, 195, 295]
    assert all((30 + end) % 25 == 0 for end in ends)
    assert ends[1] - ends[0] == 2 * 25


def test_batches_hold_rows_alike_and_no_more_than_fit() -> None:
    it = scheduler(slots=8, frames=700)
    for number, length in enumerate((100, 100, 100, 10)):
        it.add(pieces(number, 1, most=length))
    for piece in it.schedule().admit:
        it.decoded(piece, [*range(1000, 1000 + piece.most), STOP])
    batches = []
    for _ in range(4):
        jobs = it.schedule().speak
        batches.append([job.piece.utterance for job in jobs])
        for job in jobs:
            it.spoken(job, 0)
    assert batches == [[0, 1], [2], [3], []]


def test_a_first_sound_goes_ahead_but_not_always() -> None:
    it = scheduler(frames=1)
    for number in range(4):
        it.add(pieces(number, 1, stream=number >= 2, most=400))
    for piece in it.schedule().admit:
        ids = [*range(1000, 1060)]
        it.decoded(piece, ids if piece.stream else [*ids, STOP])
    order = [it.schedule().speak[0].piece.utterance for _ in range(4)]
    assert sorted(order) == [0, 1, 2, 3]
    assert {order[0] >= 2, order[1] >= 2} == {True, False}
    assert {order[2] >= 2, order[3] >= 2} == {True, False}


def test_fixed_shapes_never_change() -> None:
    it = scheduler(slots=4, fixed=True)
    it.add(pieces(1, 1))
    it.add(pieces(2, 1))
    first = it.schedule()
    assert (first.rows, first.span) == (4, 512)
    for piece in first.admit:
        it.decoded(piece, [1000, 1001, STOP])
    assert [len(it.schedule().speak), len(it.schedule().speak)] == [1, 1]


def test_memory_is_told_before_it_is_taken() -> None:
    dims = (RELEASED_LM, RELEASED_FLOW, RELEASED_HIFT)
    limits = plan(dims, 2, 3072, 8 << 30, 128)
    cache = limits.slots * slot_bytes(RELEASED_LM, 2, 3072)
    assert 1 <= limits.slots <= 128
    assert cache <= 0.6 * (8 << 30)
    assert plan(dims, 2, 3072, 64 << 30, 128).slots == 128
    with pytest.raises(Exhausted, match="one utterance needs"):
        plan(dims, 4, 3072, 64 << 20, 128)
