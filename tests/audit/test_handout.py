"""What a person is handed is all of theirs, for them alone; nothing is left where it failed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from audit.handout import hand_out
from infra.topics import apply
from relay.errors import Missing, Unavailable
from relay.notices import OPENID
from relay.objects.port import Stat
from relay.sealing import seal
from relay.spine import Spine
from relay.sql.schema import accounts, jobs
from tests.ingest.conftest import house
from tests.ingest.test_jobs import wish


@pytest.fixture
async def theirs(tmp_path: Path) -> AsyncIterator[tuple[Spine, UUID]]:
    """Somebody with a job and an account."""
    async with house(tmp_path) as gateway, gateway.client() as client:
        await apply(gateway.spine.log, gateway.spine.settings)
        assert (await client.post("/v1/jobs", json=wish())).status_code == 202
        async with gateway.database.reading() as tx:
            person = (await tx.execute(select(jobs.c.person))).scalar_one()
        sealed = {OPENID: seal(await gateway.keys.key(person), person, OPENID, "oAbc")}
        async with gateway.database.transaction() as tx:
            row = {"person": person, "role": "user", "sealed": sealed, "created_at": tx.now}
            await tx.execute(insert(accounts).values(row))
        yield gateway.spine, person


class Store:
    """The store, but what is done with an object goes wrong."""

    def __init__(self, inner: Any, wrong: Exception) -> None:
        self._inner, self._wrong = inner, wrong

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        found: AsyncIterator[Stat] = self._inner.list(prefix)
        return found

    async def stat(self, key: str) -> Stat:
        raise self._wrong


async def test_it_says_by_what_they_sign_in_and_nobody_else_may_read_it(
    theirs: tuple[Spine, UUID], tmp_path: Path
) -> None:
    spine, person = theirs
    target = tmp_path / "mine.zip"
    found = await hand_out(spine, person, target)
    assert found.objects == 1
    assert target.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(target) as file:
        (account,) = json.loads(file.read("account.json"))["accounts"]
    assert (account["openid"], account["role"]) == ("oAbc", "user")


async def test_what_was_swept_meanwhile_is_left_out(
    theirs: tuple[Spine, UUID], tmp_path: Path
) -> None:
    spine, person = theirs
    store: Any = Store(spine.store, Missing("recording"))
    found = await hand_out(replace(spine, store=store), person, tmp_path / "mine.zip")
    assert found.objects == 0


async def test_nothing_opened_is_left_where_it_could_not_be_finished(
    theirs: tuple[Spine, UUID], tmp_path: Path
) -> None:
    spine, person = theirs
    folder = tmp_path / "out"
    folder.mkdir()
    store: Any = Store(spine.store, Unavailable("the store is away"))
    with pytest.raises(Unavailable):
        await hand_out(replace(spine, store=store), person, folder / "mine.zip")
    assert list(folder.iterdir()) == []
