"""The pipeline benchmark in small: it runs, and its chain delivers every job once."""

import asyncio
from pathlib import Path

from benchmarks.pipeline.bare import handling
from benchmarks.pipeline.chain import relay_chain
from benchmarks.pipeline.jobs import STAGES, job
from benchmarks.pipeline.measure import Meter
from relay.log.sqlite import SqliteLog
from relay.runner import Limits
from schemas.events import SpeechDelivered
from schemas.topics import topic_of


async def test_every_job_is_delivered_once_and_timed(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    async with asyncio.timeout(60):
        async with relay_chain(log, 4, Limits(in_flight=32)) as chain:
            meter = Meter(chain)
            full = await meter.throughput(200, backlog=100, batch=50)
            steady = await meter.latency(rate=100, seconds=0.3)
            await meter.close()
        delivered = [r.key async for r in log.read([topic_of(SpeechDelivered)])]
        await log.close()
    assert len(delivered) == len(set(delivered)) == 230
    assert (full.jobs, steady.jobs) == (200, 30)
    assert full.delivered_twice == steady.delivered_twice == 0
    assert 0 < steady.p50_ms <= steady.p99_ms


async def test_the_bare_chain_does_the_same_work() -> None:
    """Both chains make the same bytes of one job, so their figures can be compared."""
    first = job(1)
    value, headers = first.value, list(first.headers)
    for stage in STAGES:
        handle = handling(stage())
        value, headers = await handle(_Consumed(first.key, value, headers))
    assert dict(headers)["ce_type"].decode() == SpeechDelivered.TYPE
    assert SpeechDelivered.model_validate_json(value).audio.seconds == 9.1


class _Consumed:
    """What a Kafka consumer hands out, as far as `handling` looks."""

    topic, partition, offset = "bare", 0, 0

    def __init__(self, key: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        self.key, self.value, self.headers = key.encode(), value, headers
