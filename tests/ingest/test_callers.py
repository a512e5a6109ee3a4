"""Who calls: the address behind proxies, and the person of it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from ingest.client import client_of, host_of
from ingest.settings import IngestSettings
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import House, house
from tests.ingest.test_jobs import wish

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.0/8"))


def connection(peer: str | None, *headers: tuple[str, str], scheme: str = "http") -> HTTPConnection:
    """A connection from `peer` with `headers`."""
    scope = {
        "type": "http",
        "client": None if peer is None else (peer, 5),
        "server": ("127.0.0.1", 80),
        "scheme": scheme,
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    return HTTPConnection(scope)


def forwarded(chain: str) -> tuple[str, str]:
    return ("x-forwarded-for", chain)


@pytest.mark.parametrize(
    ("peer", "chain", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5"], "192.0.2.1"),  # nobody trusted says so
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.5"], "203.0.113.5"),  # the left one is a claim
        ("10.0.0.1", ["198.51.100.9, 203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.9", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),  # a client on the trusted network itself
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5, garbage"], "10.0.0.1"),
        ("10.0.0.1", [" , ,"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("fd00::1", ["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        (None, ["203.0.113.5"], "203.0.113.5"),  # a unix socket counts as this machine
    ],
)
def test_the_address_behind_proxies(peer: str | None, chain: list[str], address: str) -> None:
    found = client_of(connection(peer, *map(forwarded, chain)), TRUSTED, None)
    assert str(found.address) == address


def test_the_base_of_addresses_is_what_the_client_spelled() -> None:
    host = ("host", "inner:8080")
    outer = (("x-forwarded-proto", "https"), ("x-forwarded-host", "voice.example"))

    def base(peer: str, *headers: tuple[str, str], public: str | None = None, **more: Any) -> str:
        return client_of(connection(peer, *headers, **more), TRUSTED, public).base

    assert base("192.0.2.1", host) == "http://inner:8080"
    assert base("192.0.2.1", host, scheme="wss") == "https://inner:8080"
    assert base("192.0.2.1", host, *outer) == "http://inner:8080", "a stranger's word"
    assert base("10.0.0.1", host, *outer) == "https://voice.example"
    assert base("10.0.0.1", host, *outer, public="https://x.example/") == "https://x.example"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost:8080", "localhost"),
        ("LOCALHOST", "localhost"),
        ("[::1]:80", "::1"),
        ("https://a.example:1", "a.example"),
        ("null", "null"),
        ("", ""),
        ("[", ""),
    ],
)
def test_the_host_in_a_header(text: str, host: str) -> None:
    assert host_of(text) == host


def test_networks_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXRELAY_INGEST_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,fd00::/8")
    assert [str(each) for each in IngestSettings().trusted_proxies] == [
        "10.0.0.0/8",
        "192.0.2.7/32",
        "fd00::/8",
    ]
    monkeypatch.setenv("VOXRELAY_INGEST_TRUSTED_PROXIES", "everybody")
    with pytest.raises(ValidationError, match="trusted_proxies"):
        IngestSettings()


async def person_at(gateway: House, address: str, **headers: str) -> str:
    """The person whose job a request from `address` becomes."""
    async with gateway.client(address, headers=headers) as client:
        answer = await client.post("/v1/jobs", json=wish())
    assert answer.status_code == 202, answer.text
    chain = await Chain.of(gateway, answer.json()["job_id"])
    return str(chain.head.person)


async def test_an_address_is_a_person_and_a_proxy_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, trusted_proxies=("10.0.0.0/8",)) as gateway:
        one = await person_at(gateway, "192.0.2.1")
        assert await person_at(gateway, "192.0.2.1") == one
        assert await person_at(gateway, "192.0.2.2") != one
        assert await person_at(gateway, "10.0.0.1", **{"x-forwarded-for": "192.0.2.1"}) == one
        spoofed = {"x-forwarded-for": "192.0.2.1"}
        assert await person_at(gateway, "192.0.2.3", **spoofed) != one
        block = await person_at(gateway, "2001:db8::1")
        assert await person_at(gateway, "2001:db8::ffff") == block, "one subscriber, one /64"
        assert await person_at(gateway, "2001:db8:0:1::1") != block
        local = await person_at(gateway, "127.0.0.1")
        assert await person_at(gateway, "::1") == local


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example"}, "origin_refused"),  # a name bound anew to this machine
        ({"origin": "https://evil.example"}, "origin_refused"),  # another site's page
        ({"origin": "null"}, "origin_refused"),
        ({"host": "["}, "origin_refused"),
        ({"x-forwarded-for": "203.0.113.5"}, "proxy_untrusted"),
    ],
)
async def test_nobody_passes_for_who_is_on_this_machine(
    gateway: House, headers: dict[str, str], code: str
) -> None:
    async with gateway.client("127.0.0.1") as client:
        answer = await client.post("/v1/jobs", json=wish(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, code)


async def test_the_own_page_and_the_public_name_are_let_in(tmp_path: Path) -> None:
    async with house(tmp_path, "https://voice.example", trusted_proxies=("127.0.0.1",)) as gateway:
        for headers in (
            {"host": "localhost:8080", "origin": "http://localhost:8080"},
            {"host": "127.0.0.1", "origin": "http://127.0.0.1"},
            {"host": "[::1]:80"},
            {"host": "voice.example", "origin": "https://voice.example"},
            {"host": "voice.example", "x-forwarded-for": "127.0.0.1"},
        ):
            async with gateway.client("127.0.0.1") as client:
                answer = await client.post("/v1/jobs", json=wish(), headers=headers)
            assert answer.status_code == 202, headers
            assert answer.headers["location"].startswith("https://voice.example/v1/jobs/")
