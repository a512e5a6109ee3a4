"""Whoever reads is written down first: who, what and why, on the log, and sealed where personal."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.topics import apply
from relay.codec import decode, head_of
from relay.log.port import Record
from relay.outbox import Outbox
from relay.settings import Settings
from relay.spine import open_spine
from schemas.events import AccessRecorded
from schemas.topics import topic_of
from voxrelay.audit import app

TOPIC = topic_of(AccessRecorded)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))
    chosen = Settings()

    async def prepare() -> None:
        async with open_spine(chosen) as spine:
            await apply(spine.log, chosen)

    asyncio.run(prepare())
    return chosen


async def recorded(settings: Settings, count: int) -> list[tuple[Record, AccessRecorded]]:
    """What has come to the log, once there are `count`."""
    async with open_spine(settings) as spine:
        outbox = Outbox(spine.database, spine.log)
        running = asyncio.create_task(outbox.run())
        found = list[tuple[Record, AccessRecorded]]()
        async with asyncio.timeout(60):
            async for record in spine.log.read([TOPIC], follow=True):
                head = head_of(record)
                event = decode(record, head, await spine.keys.key(head.person))
                assert isinstance(event, AccessRecorded)
                found.append((record, event))
                if len(found) == count:
                    break
        outbox.stop()
        await running
    return found


def test_every_reading_is_recorded_with_who_what_and_why(settings: Settings) -> None:
    ask = CliRunner()
    assert ask.invoke(app, ["trail", "some-job", "--as", "rita", "--reason", "case 17"]).exit_code
    asked = ["trail", "--rule", "drugs", "--since", "7d", "--sealed", "--as", "rita"]
    assert ask.invoke(app, asked).exit_code == 0
    assert ask.invoke(app, ["replay", "--sample", "0.5"]).exit_code == 0
    assert ask.invoke(app, ["held", "list"]).exit_code == 0
    found = asyncio.run(recorded(settings, 4))
    by_action = {event.action: (record, event) for record, event in found}
    assert by_action.keys() == {"trail", "search", "replay", "held"}
    record, trail = by_action["trail"]
    assert (trail.actor, trail.reason, trail.job) == ("rita", "case 17", "some-job")
    assert trail.opened
    assert b"rita" not in record.value
    assert b"case 17" not in record.value
    other, search = by_action["search"]
    assert not search.opened
    assert search.scope == {"rule": "drugs", "since": "7d"}
    assert head_of(other).person == head_of(record).person, "one auditor is one person"
    assert by_action["replay"][1].actor == getpass.getuser()
    assert head_of(by_action["replay"][0]).person != head_of(record).person


def test_a_reading_that_cannot_be_recorded_shows_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxrelay import auditing

    async def fails(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(auditing, "record", fails)
    done = CliRunner().invoke(app, ["held", "list"])
    assert done.exit_code == 1
    assert "Nothing waits" not in done.output
