"""A second gateway behind a TLS proxy: another host name, the client's own address."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from infra.servers.process import free_port
from infra.stages import StageProcess
from relay.codec import decode, head_of
from relay.spine import open_spine
from schemas.events import PromptUploaded
from tests.journeys.conftest import House
from tests.journeys.proxy import tls_proxy
from tests.journeys.steps import ended, listen, send

CLIENT = "203.0.113.9"


@pytest.mark.timeout(300)
def test_a_client_behind_a_tls_proxy_is_served_under_the_public_name(
    house: House, client: httpx.Client, tmp_path: Path
) -> None:
    port = free_port()
    with tls_proxy(f"http://127.0.0.1:{port}", tmp_path / "tls", CLIENT) as (public, ca):
        more = {"VOXRELAY_PUBLIC_URL": public, "VOXRELAY_INGEST_TRUSTED_PROXIES": "127.0.0.0/8"}
        folder = tmp_path / "second"
        second = StageProcess("ingest", folder, {**house.environment, **more}, port)
        trust = ssl.create_default_context(cafile=ca)
        with second, httpx.Client(base_url=public, verify=trust, timeout=90) as outside:
            job = send(outside, "代理后面的用户。")
            shown = ended(outside, job)
            assert shown["state"] == "delivered"
            assert shown["events_url"].startswith(public)
            assert client.get(f"/v1/jobs/{job}").status_code == 404, "it is another person's"
            if house.embedded:
                assert shown["audio"]["url"].startswith(public)
                assert listen(outside.get(shown["audio"]["url"]).content)[1] > 0.3
    assert asyncio.run(address_told(house, job)) == CLIENT


async def address_told(house: House, job: str) -> str | None:
    """The client's address in the job's first event, opened."""
    async with open_spine(house.settings) as spine:
        async for record in spine.log.read(["prompt-uploaded"]):
            if record.key == job:
                head = head_of(record)
                event = decode(record, head, await spine.keys.key(head.person))
                assert isinstance(event, PromptUploaded)
                return event.address
    return None
