"""What makes a site an edge: its settings, its name, what the cluster is told of it."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select
from typer.testing import CliRunner

from audit.held import review, waiting
from infra.topics import edge, grants
from ingest.ending import HELD_FOR
from ingest.view import View
from relay.bridge.line import open_bridge
from relay.bridge.settings import BridgeSettings
from relay.bridge.site import name_of, up_source
from relay.codec import decode, head_of
from relay.errors import Misconfigured
from relay.handover import Receiver
from relay.log.sqlite import SqliteLog
from relay.process import settings_error
from relay.settings import Settings
from relay.spine import Spine
from relay.sql.database import Database
from relay.sql.schema import due, job_events, jobs, outbox
from relay.stage import Context
from relay.telemetry import Health
from schemas.topics import POSITIONS
from tests.bridge.sides import SITE, Side, accepted, told, up_of
from tests.ingest.chain import Chain
from voxrelay.main import app
from voxrelay.up import known

KEY = str(Receiver(secrets.token_bytes(32)).recipient)
FAR: dict[str, Any] = {
    "log": "kafka://far.example:9093",
    "objects": "s3://far",
    "s3_endpoint": "http://far.example:9000",
    "s3_access_key": "us",
    "s3_secret_key": "secret",
    "cluster_key": KEY,
}


def spine_of(side: Side, settings: Settings) -> Spine:
    return Spine(settings, side.log, side.database, side.keys, side.objects, Health())


def test_a_site_runs_all_stages_or_is_an_edge() -> None:
    assert not Settings().edge
    assert Settings(stages="ingest, bridge").edge
    with pytest.raises(ValidationError, match="alone"):
        Settings(stages="ingest,bridge,synth")


@pytest.mark.parametrize("names", [("ingest", "sing"), ("bridge",), ()])
def test_up_refuses_stages_that_make_no_relay(names: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured, match="VOXRELAY_STAGES"):
        known(names)


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"log": "sqlite"}, "VOXRELAY_BRIDGE_LOG"),
        ({"cluster_key": "zz"}, "VOXRELAY_BRIDGE_CLUSTER_KEY"),
        ({"cluster_key": "00" * 32}, "VOXRELAY_BRIDGE_CLUSTER_KEY"),
        ({"since": "2026-11-25T12:00:00"}, "VOXRELAY_BRIDGE_SINCE"),  # of which zone?
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, str], variable: str) -> None:
    assert str(BridgeSettings(**FAR).cluster) == KEY
    with pytest.raises(ValidationError) as refused:
        BridgeSettings(**(FAR | wrong))
    assert settings_error(refused.value).startswith(f"{variable}: ")


@pytest.mark.parametrize(
    "site", ["voxrelay://local", "shop-1", "voxrelay://Shop", "voxrelay://a.b"]
)
def test_a_name_that_can_be_no_edges_is_refused(site: str) -> None:
    assert name_of(SITE) == "shop-1"
    with pytest.raises(Misconfigured, match="VOXRELAY_SITE"):
        name_of(site)


@pytest.mark.parametrize("wrong", [{"stages": "ingest"}, {"site": "voxrelay://local"}])
async def test_a_bridge_refuses_to_start_where_no_edge_is(
    edge: Side, wrong: dict[str, str]
) -> None:
    right = {"stages": "ingest,bridge", "site": SITE}
    opened = open_bridge(BridgeSettings(**FAR))
    async with opened(spine_of(edge, edge.settings.model_copy(update=right))) as workers:
        assert len(workers) == 3
    with pytest.raises(Misconfigured, match=r"VOXRELAY_(STAGES|SITE)"):
        async with opened(spine_of(edge, edge.settings.model_copy(update=right | wrong))):
            pass


class Rings:
    def ring(self, job: object) -> None:
        """Nobody waits."""


@pytest.mark.parametrize("decides", [True, False])
async def test_held_prompts_age_where_they_are_decided_alone(sql: Database, decides: bool) -> None:
    """Or edge and cluster would both end the job."""
    chain = Chain()
    view = View(sql, Rings(), decides=decides)  # type: ignore[arg-type]
    event = chain.held()
    await view.handle(event, chain.context(event))
    async with sql.reading() as tx:
        assert (await tx.execute(select(func.count()).select_from(due))).scalar() == int(decides)
        assert (await tx.execute(select(job_events.c.state))).scalar_one() == "held"


async def test_at_an_edge_nobody_reviews(edge: Side) -> None:
    spine = spine_of(edge, edge.settings.model_copy(update={"stages": "ingest,bridge"}))
    with pytest.raises(Misconfigured, match="cluster"):
        await review(spine, "job", "somebody", approved=True, note=None)


async def test_the_cluster_reviews_what_an_edge_accepted(edge: Side, cluster: Side) -> None:
    person, chain = await edge.person(), Chain()
    chain.person = person
    [uploaded] = await edge.receives(await accepted(edge, person))
    await (await up_of(edge, cluster))(uploaded)  # hands the key over
    [held] = await cluster.receives(await told(edge, person, chain.held()))
    spine = spine_of(cluster, cluster.settings)
    assert [each.prompt.text async for each in waiting(spine) if each.prompt] == ["你好"]
    assert await review(spine, held.key, "somebody", approved=True, note=None)
    async with cluster.database.reading() as tx:
        [row] = (await tx.execute(select(outbox))).all()
    headers = {name: base64.b64decode(value).decode() for name, value in row.headers}
    assert (row.topic, headers["ce_source"]) == ("prompt-reviewed", SITE)


@pytest.mark.parametrize("year", [1970, 2099])
async def test_a_job_of_an_edge_with_a_wrong_clock_ages_by_the_clusters(
    edge: Side, cluster: Side, year: int
) -> None:
    edge.database._clock = lambda: datetime(year, 1, 1, tzinfo=UTC)
    person, chain = await edge.person(), Chain()
    chain.person = person
    [uploaded] = await edge.receives(await accepted(edge, person))
    [sent] = await (await up_of(edge, cluster))(uploaded)
    [there] = await cluster.receives(sent)
    view, now = View(cluster.database, Rings()), cluster.database.now()  # type: ignore[arg-type]
    for record in (there, *await cluster.receives(await told(edge, person, chain.held()))):
        head = head_of(record)
        await view.handle(decode(record, head, None), Context(head, b"", record.appended))
    async with cluster.database.reading() as tx:
        row = (await tx.execute(select(jobs).where(jobs.c.id == UUID(there.key)))).one()
        ends = (await tx.execute(select(due.c.at))).scalar_one()
    assert (row.site, row.state, row.accepted_at.year) == (SITE, "uploaded", year)
    assert abs(ends - now - HELD_FOR) < timedelta(hours=1)


def test_the_brokers_let_an_edge_do_what_it_does_and_no_more() -> None:
    words = [" ".join(grant) for grant in grants(edge(SITE, 2), "shop")]
    read, groups, write, writers = words
    assert "--topic speech-delivered" in read
    assert f"--topic {POSITIONS}" in read
    assert "prompt-uploaded" not in read
    assert "--group position.edge.shop-1.0 --group position.edge.shop-1.1" in groups
    assert write.split("--topic ")[1:] == ["prompt-uploaded"]
    assert "source.edge.shop-1.1" in writers


def test_an_edge_is_admitted_once_and_told_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))
    first, again = (_admitted() for _ in range(2))
    since = first.pop("VOXRELAY_BRIDGE_SINCE")
    assert since <= again.pop("VOXRELAY_BRIDGE_SINCE")
    assert first == again
    assert (first["VOXRELAY_SITE"], first["VOXRELAY_STAGES"]) == (SITE, "ingest,bridge")
    far = {"cluster_key": first["VOXRELAY_BRIDGE_CLUSTER_KEY"], "since": since}
    assert BridgeSettings(**(FAR | far)).since is not None


def _admitted() -> dict[str, str]:
    said = CliRunner().invoke(app, ["edge", "admit", SITE, "--json"])
    assert said.exit_code == 0, said.output
    settings: dict[str, str] = json.loads(said.output)["settings"]
    return settings


async def test_an_edge_that_has_sent_something_is_not_told_to_pass_over_outcomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))
    log = SqliteLog(tmp_path / "log.db")
    await log.apply({}, {}, [up_source("shop-1", 3)])
    async with log.source(up_source("shop-1", 3)) as source:
        await source.append([], 1)
    await log.close()
    assert "VOXRELAY_BRIDGE_SINCE" not in await asyncio.to_thread(_admitted)
