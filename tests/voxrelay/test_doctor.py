"""The doctor, on parts that are well and on parts that are not."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.buckets import apply as make_bucket
from infra.servers.certificates import make_certificates
from infra.servers.process import free_port
from relay.http import HttpWorker
from relay.settings import Settings
from relay.sql.open import open_database
from relay.sql.schema import migrations
from relay.wechat import WeChatSettings
from synth.cosyvoice3 import tiny
from tests.accounts.weixin import APP, SECRET, Weixin, weixin
from tests.ingest.conftest import house, served
from tests.servers import KafkaAddress, S3Address, unique
from voxrelay.doctor import Finding, Level, examine
from voxrelay.doctor.address import look_at_address
from voxrelay.doctor.clock import compared
from voxrelay.doctor.command import doctor
from voxrelay.doctor.engine import look_at_engine
from voxrelay.doctor.spine import look_at_database, look_at_objects
from voxrelay.doctor.weixin import look_at_wechat
from voxrelay.up import prepare


async def all_of(found: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in found]


def levels(found: list[Finding]) -> dict[str, Level]:
    """The last level of each part."""
    return {finding.part: finding.level for finding in found}


async def test_a_relay_that_never_ran_has_nothing_and_gets_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    found = levels(await all_of(examine(Settings(data=data))))
    assert {found[part] for part in ("database", "log", "objects")} == {Level.ABSENT}
    assert not data.exists()


async def test_an_embedded_relay_is_well_and_too_few_partitions_are_told(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    await prepare(settings)
    async with house(tmp_path):
        found = await all_of(examine(settings))
        more = await all_of(examine(settings.model_copy(update={"partitions": 9})))
    assert {levels(found)[part] for part in ("database", "log", "objects")} == {Level.GOOD}
    (log,) = [finding for finding in more if finding.part == "log" and finding.level is Level.BAD]
    assert "speech-delivered 4" in log.says
    assert "voxrelay topics apply" in log.do


async def test_whatever_is_down_is_told_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path,
        sql=f"postgresql://relay:secret@127.0.0.1:{free_port()}/relay",
        log=f"kafka://127.0.0.1:{free_port()}",
        objects="s3://bucket",
        s3_endpoint=f"http://127.0.0.1:{free_port()}",
        s3_access_key="key",
        s3_secret_key=SecretStr("secret"),
    )
    found = await all_of(examine(settings))
    for part in ("database", "log", "objects"):
        assert levels(found)[part] is Level.BAD, part
    assert {"voice", "wechat"} <= levels(found).keys()
    assert "secret" not in str(found)


async def test_a_database_says_of_which_version_its_tables_are(
    database: str, tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path, sql=database)
    before = await all_of(look_at_database(settings))
    again = await all_of(look_at_database(settings))
    await (await open_database(settings)).close()
    after = await all_of(look_at_database(settings))
    assert levels(before)["database"] is levels(again)["database"] is Level.ABSENT
    assert levels(after) == {"database": Level.GOOD, "clock": Level.GOOD}


async def test_tables_of_an_older_release_are_told_and_not_asked_for_what_they_lack(
    tmp_path: Path,
) -> None:
    settings = Settings(data=tmp_path)
    database = await open_database(settings)
    async with database.transaction() as tx:
        await tx.execute(delete(migrations).where(migrations.c.version > 2))
        await tx.execute(text("DROP TABLE webhooks"))
    await database.close()
    found = levels(await all_of(examine(settings)))
    assert (found["database"], found["webhooks"]) == (Level.DOUBTFUL, Level.ABSENT)


async def test_topics_that_kafka_lacks_are_told(kafka_server: KafkaAddress, tmp_path: Path) -> None:
    bootstrap = f"kafka://{kafka_server.bootstrap}"
    # Others share this broker, and may have made the topics: nobody has made so many partitions.
    settings = Settings(data=tmp_path, log=bootstrap, partitions=999)
    found = [each for each in await all_of(examine(settings)) if each.part == "log"]
    (log,) = [each for each in found if each.level is Level.BAD]
    assert "voxrelay topics apply" in log.says + log.do


def in_s3(s3: S3Address, **more: str) -> Settings:
    return Settings(
        objects=f"s3://{unique('bucket')}",
        s3_endpoint=f"http://{s3.endpoint}",
        s3_access_key=s3.access_key,
        s3_secret_key=SecretStr(s3.secret_key),
        **more,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def answering(answer: Response | httpx.URL) -> AsyncIterator[str]:
    """A server of one answer, or a proxy that gives the store its own name for a host."""

    async def door(request: Request) -> Response:
        if isinstance(answer, Response):
            return answer
        async with httpx.AsyncClient() as http:
            theirs = await http.get(
                answer.copy_with(raw_path=str(request.url)[len(url) :].encode())
            )
        return Response(theirs.content, theirs.status_code, media_type="application/xml")

    worker = HttpWorker(Starlette(routes=[Route("/{path:path}", door)]), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{worker.port}"
    running = asyncio.create_task(worker.run())
    try:
        yield url
    finally:
        worker.stop()
        await running


async def test_a_signed_address_is_followed(s3_server: S3Address) -> None:
    settings = in_s3(s3_server)
    await make_bucket(settings)
    found = await all_of(look_at_objects(settings))
    assert levels(found) == dict.fromkeys(("objects", "signed addresses", "clock"), Level.GOOD)


async def test_a_proxy_that_changes_the_host_spoils_signatures(s3_server: S3Address) -> None:
    async with answering(httpx.URL(f"http://{s3_server.endpoint}")) as proxy:
        settings = in_s3(s3_server, s3_public_endpoint=proxy)
        await make_bucket(settings)
        found = await all_of(look_at_objects(settings))
    (signed,) = [each for each in found if each.level is Level.BAD]
    assert "does not take our signature" in signed.says
    assert "Host" in signed.do


async def test_an_address_of_no_store_is_told(s3_server: S3Address) -> None:
    async with answering(Response("hello")) as other:
        settings = in_s3(s3_server, s3_public_endpoint=other)
        await make_bucket(settings)
        found = await all_of(look_at_objects(settings))
    assert levels(found)["signed addresses"] is Level.BAD


async def test_a_bucket_that_is_missing_is_told_and_not_made(s3_server: S3Address) -> None:
    settings = in_s3(s3_server)
    for _ in range(2):
        (found,) = [each for each in await all_of(examine(settings)) if each.part == "objects"]
        assert found.level is Level.BAD
        assert "does not exist" in found.says


async def test_a_gateway_is_seen_through_its_address(tmp_path: Path) -> None:
    async with house(tmp_path) as gateway, served(gateway) as address:
        found = await all_of(look_at_address(f"http://{address}"))
    assert levels(found)["gateway"] is levels(found)["websocket"] is Level.GOOD
    # A number and plain HTTP: what a phone refuses, said once each.
    assert [each.level for each in found if each.part == "address"] == [Level.DOUBTFUL] * 2


async def test_somebody_else_at_the_address_is_not_taken_for_the_gateway() -> None:
    async with answering(Response("<h1>Welcome to nginx!</h1>")) as address:
        found = await all_of(look_at_address(address))
    assert levels(found)["gateway"] is Level.BAD
    assert "websocket" not in levels(found)


async def test_a_name_that_nobody_knows_and_a_form_that_is_none() -> None:
    unknown = await all_of(look_at_address("https://no-such-host.invalid"))
    assert levels(unknown)["address"] is Level.BAD
    assert levels(await all_of(look_at_address("voice.example")))["address"] is Level.BAD


async def test_a_certificate_of_no_known_authority_is_told_and_a_known_one_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        stranger = await all_of(look_at_address(url))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        known = await all_of(look_at_address(url))
    assert levels(stranger)["certificate"] is Level.BAD
    assert levels(known)["certificate"] is Level.GOOD
    assert levels(known)["gateway"] is Level.BAD


@pytest.mark.parametrize(
    ("apart", "level"), [(1, Level.GOOD), (120, Level.DOUBTFUL), (-1_000, Level.BAD)]
)
def test_clocks_are_compared(apart: int, level: Level) -> None:
    assert compared(datetime.now(UTC) + timedelta(seconds=apart), "another").level is level


def mini_program(server: Weixin, **more: str) -> WeChatSettings:
    given = {"app": APP, "secret": SECRET, "api": server.url, **more}
    return WeChatSettings.model_validate(given)


async def test_wechat_takes_a_right_secret_and_its_number_says_what_is_wrong_with_another() -> None:
    async with weixin() as server:
        right = await all_of(look_at_wechat(mini_program(server)))
        wrong = await all_of(look_at_wechat(mini_program(server, secret="none-of-its")))
    assert levels(right) == {"wechat": Level.GOOD, "template": Level.ABSENT}
    assert [each.level for each in wrong] == [Level.BAD]
    assert "VOXRELAY_WECHAT_SECRET" in wrong[0].do
    assert "none-of-its" not in str(wrong)


async def test_a_template_has_to_be_ours_with_exactly_its_fields() -> None:
    async with weixin() as server:
        server.content = "进度:{{phrase2.DATA}}\n内容:{{thing1.DATA}}\n时间:{{time3.DATA}}"
        fits = mini_program(server, template=server.template)
        lacks = mini_program(server, template=server.template, fields="thing1=what")
        other = mini_program(server, template="another")
        found = [levels(await all_of(look_at_wechat(each))) for each in (fits, lacks, other)]
        told = await all_of(look_at_wechat(lacks))
    assert [each["template"] for each in found] == [Level.GOOD, Level.BAD, Level.BAD]
    assert "phrase2, thing1, time3" in told[-1].do


async def test_an_engine_has_to_be_whole_and_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXRELAY_SYNTH_VOICE", "cosyvoice3")
    monkeypatch.setenv("VOXRELAY_COSYVOICE3_FOLDER", str(tmp_path / "model"))
    (none,) = await all_of(look_at_engine(Settings()))
    tiny.write(tmp_path / "model", 0)
    whole = await all_of(look_at_engine(Settings()))
    (tmp_path / "model" / "hift.pt").unlink()
    torn = await all_of(look_at_engine(Settings()))
    assert (none.part, none.level) == ("model", Level.BAD)
    assert [each.level for each in whole if each.part == "model"] == [Level.GOOD, Level.BAD]
    assert "voxrelay model accept" in whole[1].do
    assert torn[0].level is Level.BAD
    assert "hift.pt" in torn[0].says


async def test_the_command_fails_where_something_is_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data=tmp_path / "data")
    assert await doctor(settings, None, as_json=True) == 0
    assert {each["part"] for each in json.loads(capsys.readouterr().out)} >= {"log", "voice"}
    assert await doctor(settings, f"http://127.0.0.1:{free_port()}", as_json=False) == 1
    said = capsys.readouterr().out
    assert "bad      gateway" in said
    assert "See that the gateway runs" in said
