"""Who is at the other end of a connection, and under which address they reached us.

Knows X-Forwarded-For, walked from the right through networks the operator trusts, and nothing
else of what a stranger may claim. Refuses to know persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from relay.settings import Network

Address = IPv4Address | IPv6Address
_NOBODY = ip_address("127.0.0.1")
"""Stands for a peer without an address: a unix socket of this machine."""


@dataclass(frozen=True, slots=True)
class Client:
    """The real client's address, and `base`, the scheme and host that they spelled."""

    address: Address
    base: str
    unproven: bool
    """Something on the way claims to be a proxy and is not trusted."""


def client_of(
    connection: HTTPConnection, trusted: Sequence[Network], public_url: str | None
) -> Client:
    """The client of `connection`; `base` is `public_url` where the operator has set one."""
    peer = _peer(connection)
    claimed = ",".join(connection.headers.getlist("x-forwarded-for"))
    address = _walked(peer, [hop for hop in claimed.split(",") if hop.strip()], trusted)
    base = public_url.rstrip("/") if public_url else _base(connection, _in(peer, trusted))
    return Client(address, base, bool(claimed) and not _in(peer, trusted))


def host_of(text: str) -> str:
    """The host in a Host header or an origin, lower case, without port and brackets."""
    try:
        return (urlsplit(text if "//" in text else f"//{text}").hostname or "").lower()
    except ValueError:
        return ""


def _peer(connection: HTTPConnection) -> Address:
    client = connection.client
    return (_parsed(client.host) if client else None) or _NOBODY


def _walked(peer: Address, hops: list[str], trusted: Sequence[Network]) -> Address:
    found = peer
    for hop in reversed(hops):
        if not _in(found, trusted):
            break
        further = _parsed(hop)
        if further is None:
            break  # a trusted proxy passed on nonsense: whoever sent it is the proxy's business
        found = further
    return found


def _parsed(text: str) -> Address | None:
    """An address as proxies spell it: with a port or brackets, or IPv4 in IPv6's clothes."""
    bare = text.strip().removeprefix("[").partition("]")[0]
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _base(connection: HTTPConnection, through_proxy: bool) -> str:
    headers = connection.headers
    scheme: str = connection.scope["scheme"]
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    host = headers.get("host", "localhost")
    if through_proxy:
        scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
        host = headers.get("x-forwarded-host", host).split(",")[0].strip()
    return f"{scheme}://{host}"
