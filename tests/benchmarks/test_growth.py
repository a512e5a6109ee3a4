"""A log with a made-up past is a log like any other: it reads whole, the chain goes on in it."""

from __future__ import annotations

from argparse import Namespace
from collections import defaultdict
from pathlib import Path

from benchmarks.growth.__main__ import run
from benchmarks.growth.history import TOPICS, fill_sqlite
from benchmarks.pipeline.jobs import STAGES, BenchKeys
from relay.codec import decode, head_of
from relay.log.sqlite import SqliteLog
from schemas.topics import BY_NAME, topic_of

EVENTS, PARTITIONS = 1024, 2


async def test_a_made_up_past_reads_as_one_that_happened(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await fill_sqlite(path, EVENTS, PARTITIONS)
    log, keys = SqliteLog(path), BenchKeys()
    offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
    async for record in log.read(TOPICS):
        head = head_of(record)
        event = decode(record, head, await keys.key(head.person))
        assert isinstance(event, BY_NAME[record.topic].event)
        offsets[record.topic, record.partition].append(record.offset)
    lags = [await log.lag(s.name, [topic_of(event) for event in s.consumes]) for s in STAGES]
    await log.close()
    each = EVENTS // (len(TOPICS) * PARTITIONS)
    assert list(offsets.values()) == [list(range(each))] * (len(TOPICS) * PARTITIONS)
    assert lags == [0] * len(STAGES)


def test_the_chain_goes_on_at_both_ends() -> None:
    asked = Namespace(
        log="sqlite",
        events=[256, EVENTS],
        jobs=40,
        backlog=20,
        partitions=PARTITIONS,
        in_flight=16,
        rounds=1,
        folder=None,
    )
    said = run(asked)
    assert set(said["rounds"]) == {256, EVENTS}
    assert all(least > 0 for least, _, _ in said["growth"].values())
