"""Recordings judged by content, in processes that hang, die and run out of memory."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ingest.examine import Raw
from ingest.problems import Problem
from ingest.recording import Bounds, Heard, Limits, Probes
from relay.errors import Unavailable
from tests.ingest.conftest import SOON
from tests.ingest.sounds import coded, silent_hours, tone, wav

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOUNDS = Bounds(shortest=1.0, longest=30.0, silence=0.001)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def probes() -> AsyncIterator[Probes]:
    pool = Probes(Limits(memory=256_000_000, seconds=10.0, processes=2), BOUNDS)
    await pool.start()
    yield pool
    await pool.close()


def sound_of(flac: bytes) -> tuple[int, np.ndarray]:
    """Rate and mono samples of what a probe has kept."""
    with av.open(io.BytesIO(flac)) as file:
        stream = file.streams.audio[0]
        assert stream.codec_context.layout.nb_channels == 1
        frames = [frame.to_ndarray() for frame in file.decode(stream)]
    return stream.codec_context.sample_rate, np.concatenate(frames, axis=1)[0]


TAG = '{"AIGC": {"Label": "1"}}'


@pytest.mark.parametrize(
    ("container", "codec", "rate", "kept", "found"),
    [
        ("wav", "pcm_s16le", 16_000, 16_000, "wav pcm_s16le"),
        ("wav", "pcm_s24le", 96_000, 48_000, "wav pcm_s24le"),
        ("mp3", "libmp3lame", 44_100, 44_100, "mp3 mp3float"),
        ("adts", "aac", 44_100, 44_100, "aac aac"),
        ("ipod", "aac", 16_000, 16_000, "mov aac"),
        ("amr", "libopencore_amrnb", 8_000, 8_000, "amr amrnb"),
        ("flac", "flac", 22_050, 22_050, "flac flac"),
        ("ogg", "libopus", 48_000, 48_000, "ogg opus"),
        ("webm", "libopus", 48_000, 48_000, "matroska opus"),
    ],
)
async def test_what_is_taken(
    probes: Probes, container: str, codec: str, rate: int, kept: int, found: str
) -> None:
    heard = await probes.examine(coded(container, codec, rate, 3.0))
    assert f"{heard.container} {heard.codec}" == found
    assert heard.sample_rate == kept
    assert heard.seconds == pytest.approx(3.0, abs=0.15)
    rate_kept, samples = sound_of(heard.flac)
    assert rate_kept == kept, "never resampled below its own rate, never above 48 kHz"
    assert len(samples) / rate_kept == pytest.approx(heard.seconds, abs=0.001)


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("ipod", "aac")])
async def test_the_mark_of_synthetic_sound_is_told(
    probes: Probes, container: str, codec: str
) -> None:
    heard = await probes.examine(coded(container, codec, tag=TAG))
    assert heard.aigc == TAG
    assert (await probes.examine(coded(container, codec))).aigc is None


async def test_a_wav_is_kept_sample_by_sample_and_the_same_sound_is_the_same_object(
    probes: Probes,
) -> None:
    first = await probes.examine(wav(2.0))
    assert np.array_equal(sound_of(first.flac)[1], tone(2.0))
    again = await probes.examine(coded("flac", "flac", 16_000, 2.0))
    assert again.sha256 == first.sha256
    raw = await probes.examine(tone(2.0).tobytes(), Raw(rate=16_000, channels=1))
    assert (raw.sha256, raw.container) == (first.sha256, "raw")


async def test_a_wav_that_was_streamed_says_no_length_and_is_taken(probes: Probes) -> None:
    for size in (b"\0" * 4, b"\xff" * 4):
        streamed = bytearray(wav(2.0))
        streamed[40:44] = size
        assert (await probes.examine(bytes(streamed))).seconds == pytest.approx(2.0)


async def test_stereo_is_mixed_and_not_clipped(probes: Probes) -> None:
    heard = await probes.examine(wav(2.0, channels=2))
    mixed = sound_of(heard.flac)[1].astype(int)
    assert np.abs(mixed - tone(2.0).astype(int)).max() <= 1


async def test_a_picture_on_the_sleeve_is_no_film(probes: Probes) -> None:
    """An MP3 with a cover: ID3v2 with an APIC frame of a tiny PNG."""
    held = io.BytesIO()
    with av.open(held, "w", format="image2pipe") as out:
        picture = out.add_stream("png", rate=1)
        picture.width = picture.height = 16
        picture.pix_fmt = "rgb24"
        image = np.zeros((16, 16, 3), np.uint8)
        out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(picture.encode(None))
    body = b"\0image/png\0\x03\0" + held.getvalue()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = len(frame)
    safe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    sound = coded("mp3", "libmp3lame", 44_100)
    sound = sound[sound.index(b"\xff\xfb") :]
    heard = await probes.examine(b"ID3\x03\0\0" + safe + frame + sound)
    assert heard.codec == "mp3float"


async def code_of(pool: Probes, data: bytes) -> str:
    with pytest.raises(Problem) as refused:
        await pool.examine(data)
    return refused.value.code


async def pids(pool: Probes) -> list[int]:
    """Of the processes at rest, each back from its last recording."""
    while pool._pending:
        await asyncio.wait(pool._pending)
    return [probe.pid for probe in pool._free._queue]  # type: ignore[attr-defined]


async def test_a_good_upload_costs_no_interpreter_start(probes: Probes) -> None:
    await probes.examine(wav())
    before = set(await pids(probes))
    for _ in range(10):
        await probes.examine(wav())
    assert set(await pids(probes)) == before


async def test_a_hung_probe_is_killed_and_replaced() -> None:
    pool = Probes(Limits(memory=256_000_000, seconds=0.5, processes=1), BOUNDS)
    await pool.start()
    try:
        (hung,) = await pids(pool)
        os.kill(hung, signal.SIGSTOP)
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable):
                await pool.examine(wav())
        assert (await read(pool, wav())).seconds == pytest.approx(2.0)
        with pytest.raises(ProcessLookupError):
            os.kill(hung, 0)
    finally:
        await pool.close()


async def test_a_probe_that_was_kept_waiting_is_not_ended_for_it() -> None:
    """On a machine too busy to answer in time, new processes would be the last thing it needs."""
    pool = Probes(Limits(memory=256_000_000, seconds=2.0, processes=1), BOUNDS)
    await pool.start()
    try:
        (slow,) = await pids(pool)
        os.kill(slow, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            await pool.examine(wav())
        os.kill(slow, signal.SIGCONT)
        assert (await read(pool, wav())).seconds == pytest.approx(2.0)
        async with asyncio.timeout(SOON):
            while await pids(pool) != [slow]:  # noqa: ASYNC110 - nothing announces that it is free
                await asyncio.sleep(0.01)
    finally:
        await pool.close()


async def read(pool: Probes, data: bytes) -> Heard:
    """`data`, as soon as a new probe is warm."""
    async with asyncio.timeout(SOON):
        while True:
            with contextlib.suppress(Unavailable):
                return await pool.examine(data)


class Patient(Limits):
    """Counts computing alone: the machine may be as busy as it likes."""

    clock = SOON
    turn = SOON


async def test_a_file_that_costs_too_much_computing_is_refused_for_that_alone() -> None:
    pool = Probes(Patient(memory=256_000_000, seconds=0.3, processes=1), BOUNDS)
    await pool.start()
    try:
        (before,) = await pids(pool)
        costly = bytes.fromhex("fff1504000fffc") * 1_000_000  # AAC frames with nothing in them
        assert await code_of(pool, costly) == "recording_too_complex"
        assert (await read(pool, wav())).seconds == pytest.approx(2.0)
        assert await pids(pool) != [before]
    finally:
        await pool.close()


async def test_who_gets_no_turn_is_told_to_come_again() -> None:
    pool = Probes(Limits(memory=256_000_000, seconds=0.5, processes=1), BOUNDS)
    await pool.start()
    try:
        (busy,) = await pids(pool)
        os.kill(busy, signal.SIGSTOP)
        async with asyncio.timeout(SOON):
            said = await asyncio.gather(
                *(pool.examine(wav()) for _ in range(3)), return_exceptions=True
            )
        assert [type(each) for each in said] == [Unavailable] * 3
    finally:
        await pool.close()


async def test_a_probe_that_dies_meanwhile_is_replaced_without_a_word(probes: Probes) -> None:
    for dead in await pids(probes):
        os.kill(dead, signal.SIGKILL)
    heard = await asyncio.gather(*(probes.examine(wav()) for _ in range(4)))
    assert {one.seconds for one in heard} == {2.0}


async def test_more_uploads_than_may_wait_are_sent_away(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.recording._MOST_WAITING", 1)
    answers = await asyncio.gather(
        *(probes.examine(wav()) for _ in range(4)), return_exceptions=True
    )
    assert [isinstance(answer, Unavailable) for answer in answers] == [False, False, True, True]


async def test_a_memory_bomb_ends_in_a_sentence_and_the_next_upload_is_read() -> None:
    pool = Probes(
        Limits(memory=100_000_000, seconds=10.0, processes=1), Bounds(1.0, 36_000.0, 0.001)
    )
    await pool.start()
    try:
        assert await code_of(pool, silent_hours()) == "recording_too_complex"
        assert (await read(pool, wav())).seconds == pytest.approx(2.0)
    finally:
        await pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_probe_has_no_secrets_and_may_write_no_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VOXRELAY_S3_SECRET_KEY", "hunter2")
    pool = Probes(Limits(memory=256_000_000, seconds=5.0, processes=1), BOUNDS)
    await pool.start()
    try:
        await pool.examine(wav())
        (pid,) = await pids(pool)
        environment, limits = _of_process(pid)
        assert b"hunter2" not in environment
        lines = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
        assert lines["Max file size"] == "0"
        assert 256_000_000 < int(lines["Max address space"]) < 1_000_000_000
    finally:
        await pool.close()


def _of_process(pid: int) -> tuple[bytes, str]:
    """Environment and limits of a process, as Linux tells them."""
    of = Path(f"/proc/{pid}")
    return of.joinpath("environ").read_bytes(), of.joinpath("limits").read_text()


async def test_probes_end_with_their_pool() -> None:
    pool = Probes(Limits(memory=256_000_000, seconds=5.0, processes=2), BOUNDS)
    await pool.start()
    running = await pids(pool)
    await pool.close()
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


GOOD = [
    coded("mp3", "libmp3lame", 16_000, 1.5),
    coded("ipod", "aac", 16_000, 1.5),
    coded("ogg", "libopus", 48_000, 1.5),
    coded("flac", "flac", 16_000, 1.5),
    coded("webm", "libopus", 48_000, 1.5),
    coded("amr", "libopencore_amrnb", 8_000, 1.5),
    wav(1.5),
]


@settings(
    max_examples=80,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
async def test_mutated_containers_are_read_or_refused_and_nothing_else(
    probes: Probes, data: st.DataObject
) -> None:
    mutant = bytearray(data.draw(st.sampled_from(GOOD)))
    head = min(len(mutant), 4_000)  # where containers keep what they promise
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, head - 1))
        mutant[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del mutant[data.draw(st.integers(0, len(mutant) - 1)) :]
    try:
        heard = await probes.examine(bytes(mutant))
    except Problem as problem:
        assert problem.code.startswith("recording_")  # noqa: PT017 - either outcome is right
        return
    assert 1.0 <= heard.seconds <= 30.0
    assert heard.flac.startswith(b"fLaC")
