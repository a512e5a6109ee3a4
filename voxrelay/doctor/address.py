"""The public address: its name, its certificate, and who answers there.

Knows what WeChat asks of a server: HTTPS by name, on the standard port, with a certificate of a
known authority. It sees what this machine sees; to see what a phone does, it is asked from
elsewhere.
Source: developers.weixin.qq.com, network, domain names.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from relay.outward import Address, public
from voxrelay.doctor.clock import clock_of
from voxrelay.doctor.finding import Finding, absent, bad, doubtful, good

_PART = "address"
_PATIENCE = 5.0
_RENEW = timedelta(days=14)
_SET = "Set VOXRELAY_PUBLIC_URL to https:// and a name that phones can look up."


async def look_at_address(url: str | None) -> AsyncIterator[Finding]:
    """What a client of `url` would meet; None where no address is set."""
    if url is None:
        yield absent(_PART, "no public address is set: clients of this machine only", _SET)
        return
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        yield bad(_PART, "it is no address of HTTP", _SET)
        return
    if parts.scheme != "https":
        yield doubtful(_PART, "plain HTTP: WeChat and the microphone of a browser refuse it", _SET)
    for finding in await look_at_host(_PART, parts.hostname, _SET):
        yield finding
    if parts.scheme == "https":
        yield await _certificate(parts.hostname, parts.port or 443)
    async for finding in _gateway(url.rstrip("/"), parts):
        yield finding


async def look_at_host(part: str, host: str, do: str) -> list[Finding]:
    """Whether phones can find `host`: a name, known, of public addresses."""
    with suppress(ValueError):
        ip_address(host)
        return [doubtful(part, f"{host} is a number: WeChat takes only names", do)]
    try:
        found = await _resolved(host)
    except OSError:
        return [bad(part, f"nobody knows the name {host}", do)]
    if not all(public(address) for address in found):
        says = f"{host} leads into a private network: phones outside it do not get there"
        return [doubtful(part, says, do)]
    return [good(part, f"{host} is {', '.join(map(str, found))}")]


async def _resolved(host: str) -> list[Address]:
    loop = asyncio.get_running_loop()
    said = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({ip_address(str(each[4][0]).partition("%")[0]) for each in said}, key=str)


async def _certificate(host: str, port: int) -> Finding:
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(
                host, port, ssl=ssl.create_default_context(), server_hostname=host
            )
    except ssl.SSLCertVerificationError as wrong:
        do = "Have the server send a certificate of this name with its whole chain."
        return bad("certificate", f"{host}: {wrong.verify_message}", do)
    except (OSError, TimeoutError) as wrong:
        do = "See that the proxy runs, and speaks TLS 1.2 or later."
        return bad("certificate", f"{host}:{port}: {type(wrong).__name__}", do)
    shown: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    return _age(host, shown)


def _age(host: str, shown: dict[str, Any]) -> Finding:
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    says = f"{host}: good until {ends:%Y-%m-%d}"
    if ends - datetime.now(UTC) < _RENEW:
        return doubtful("certificate", says, "Renew it, and see that it renews by itself.")
    return good("certificate", says)


async def _gateway(url: str, parts: SplitResult) -> AsyncIterator[Finding]:
    """Whether a gateway answers, what it says of itself, and whether WebSockets get through."""
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as http:
            alive = await http.get(f"{url}/healthz")
            ready = await http.get(f"{url}/readyz")
    except httpx.HTTPError as wrong:
        do = "See that the gateway runs and that the proxy leads to it."
        yield bad("gateway", f"nobody answers there ({type(wrong).__name__})", do)
        return
    if not _is_ours(alive):
        do = "Let the proxy lead every path to the gateway."
        yield bad("gateway", f"/healthz answers {alive.status_code}, and is not ours", do)
        return
    yield _ready(ready)
    yield await _websocket(url)
    if clock := clock_of(alive, "the gateway"):
        yield clock


def _is_ours(alive: httpx.Response) -> bool:
    try:
        return alive.status_code == 200 and alive.json() == {"status": "alive"}
    except ValueError:
        return False


def _ready(answer: httpx.Response) -> Finding:
    if answer.status_code == 200:
        return good("gateway", "it answers, and is ready")
    return bad("gateway", f"it answers, and is not ready ({answer.status_code})", "See /readyz.")


async def _websocket(url: str) -> Finding:
    address = f"ws{url.removeprefix('http')}/v1/ws"
    try:
        async with asyncio.timeout(_PATIENCE), connect(address, proxy=None):
            return good("websocket", "it gets through")
    except (OSError, TimeoutError, WebSocketException) as wrong:
        do = "Let the proxy pass on Upgrade and Connection; clients fall back to asking until then."
        return doubtful("websocket", f"/v1/ws cannot be opened ({type(wrong).__name__})", do)
