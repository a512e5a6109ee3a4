"""What the command that carries a backlog does at either end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.errors import Unavailable
from relay.log.port import Record
from relay.settings import Settings
from relay.spine import open_spine
from tests.bridge.__main__ import DOWN, UP, Followed, answering, backlog
from tests.bridge.sides import SITE
from voxrelay.up import prepare


async def test_each_job_of_a_backlog_is_answered_once(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, site=SITE)
    await prepare(settings)
    async with open_spine(settings) as spine:
        await backlog(spine, 20, seed=1)
        arrived = Followed(spine.log, UP, keeps=True)
        ended = Followed(spine.log, DOWN, keeps=True)
        answers = asyncio.create_task(answering(spine, arrived))
        jobs: list[str] = []
        try:
            while len(jobs) < 20:
                first, _ = await asyncio.wait(
                    [answers, asyncio.ensure_future(ended.take())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                assert answers not in first, answers.exception()
                jobs += [record.key for task in first for record in task.result()]
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            for each in (arrived, ended):
                await each.close()
        assert len(arrived.ids) == 20
        assert len(set(jobs)) == len(jobs) == 20


async def test_who_waits_for_a_topic_that_is_followed_no_more_is_told_why() -> None:
    """Else a run would wait for ever."""

    class Away:
        async def read(self, *_: object, **__: object) -> AsyncIterator[Record]:
            raise Unavailable("the broker does not answer")
            yield

    log: Any = Away()
    followed = Followed(log, UP, keeps=False)
    await asyncio.wait({followed._task})
    with pytest.raises(Unavailable):
        followed.reaches(1)
    await followed.close()
