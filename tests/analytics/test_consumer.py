"""The example of a stranger's reader does what it says, on real Kafka, with real jobs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from relay.log.open import open_log
from schemas.topics import TOPICS
from tests.audit.relay import TEXTS, Lived

ROOT = Path(__file__).parents[2]
NAMES = [topic.name for topic in TOPICS]


def schemas(folder: Path) -> Path:
    """What `voxrelay topics schema` prints."""
    words = [sys.executable, "-m", "voxrelay", "topics", "schema"]
    file = folder / "schemas.json"
    file.write_bytes(subprocess.run(words, check=True, capture_output=True, cwd=ROOT).stdout)
    return file


async def said(broker: str, file: Path, count: int) -> list[dict[str, Any]]:
    """The first `count` lines that the example prints."""
    words = [str(ROOT / "examples" / "consumer.py"), broker, str(file), *NAMES]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, cwd=file.parent
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            return [json.loads(await process.stdout.readline()) for _ in range(count)]
    finally:
        process.kill()
        await process.wait()


async def test_a_stranger_reads_every_event_and_no_word_of_anybody(
    lived_on_kafka: Lived, tmp_path: Path
) -> None:
    log = open_log(lived_on_kafka.settings)
    held = Counter([(r.topic, r.key) async for r in log.read(NAMES)])
    await log.close()
    broker = lived_on_kafka.settings.log.removeprefix("kafka://")
    lines = await said(broker, schemas(tmp_path), held.total())
    topic = {line["ce_id"]: line["ce_type"].split(".")[1] for line in lines}
    assert len(topic) == len(lines), "every id once"
    assert Counter((topic[line["ce_id"]], line["job"]) for line in lines) == held
    prompts = [line["data"] for line in lines if "text" in line["data"]]
    assert prompts
    assert all(prompt["text"].keys() == {"sealed"} for prompt in prompts)
    assert not any(text in json.dumps(lines, ensure_ascii=False) for text in TEXTS.values())
