"""The bare device of the examples, compiled as it stands, against a real gateway."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.servers.process import free_port
from tests.ingest.by_hand import SOUND, Chain, jobs_of, next_job
from tests.ingest.conftest import SOON, house, served
from tests.ingest.sounds import wav
from tests.servers import unavailable

SOURCE = Path(__file__).parents[2] / "examples/device.c"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        unavailable("the example of a bare device needs a C compiler (Debian: apt install gcc)")
    binary = tmp_path_factory.mktemp("device") / "device"
    strict = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1")
    subprocess.run([compiler, *strict, "-o", binary, SOURCE], check=True)
    return binary


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """What its microphone gave."""
    path = tmp_path / "me.pcm"
    path.write_bytes(wav(3.0, 16_000)[44:])
    return path


@asynccontextmanager
async def running(
    device: Path, port: int, samples: Path, text: str, mp3: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    words = ("127.0.0.1", str(port), str(samples), text, str(mp3))
    process = await asyncio.create_subprocess_exec(device, *words, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(2 * SOON):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_samples_and_a_text_go_in_and_an_mp3_comes_back(
    device: Path, samples: Path, tmp_path: Path
) -> None:
    port, mp3 = free_port(), tmp_path / "hello.mp3"
    async with (
        running(device, port, samples, "你好", mp3) as process,  # the relay is not there yet
        house(tmp_path) as gateway,
        served(gateway, port),
    ):
        chain = await Chain.of(gateway, await next_job(gateway, set()))
        assert chain.prompt.recording.seconds == pytest.approx(3.0, abs=0.01)
        assert chain.prompt.recording.sample_rate == 16_000
        await chain.uploaded()
        await chain.delivered()
        assert await process.wait() == 0
        assert len(await jobs_of(gateway)) == 1
    assert mp3.read_bytes() == SOUND


async def test_a_refusal_and_a_rejection_are_said(
    device: Path, samples: Path, tmp_path: Path
) -> None:
    async with house(tmp_path) as gateway, served(gateway) as address:
        port = int(address.rpartition(":")[2])
        async with running(device, port, samples, " ", tmp_path / "a.mp3") as process:
            _, said = await process.communicate()
        assert (process.returncode, b"text_empty" in said) == (1, True), said
        async with running(device, port, samples, "你好", tmp_path / "b.mp3") as process:
            chain = await Chain.of(gateway, await next_job(gateway, set()))
            await chain.uploaded()
            await chain.rejected()
            _, said = await process.communicate()
        assert (process.returncode, b'"state":"rejected"' in said) == (1, True), said
    assert not (tmp_path / "b.mp3").exists()
