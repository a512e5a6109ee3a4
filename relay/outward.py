"""Addresses outside that strangers name: which of them may be called at all.

Knows names, addresses and networks. Every address that a name has must be public, and whoever calls
is handed an address and not the name again: what the name means by then is nobody's concern.
Refuses to know what is sent there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from relay.settings import Network

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

LONGEST = 2_000
PATIENCE = 5.0
_TRANSLATED = ip_network("64:ff9b::/96")
"""NAT64: the last four bytes are an IPv4 address."""


class Refused(Exception):
    """An address that may not be called; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Target:
    """Where to call: what was asked for, and the addresses that it has just now."""

    url: str
    host: str
    addresses: Sequence[Address]


class Outward:
    """Finds what a stranger's URL leads to, and refuses what it must not."""

    def __init__(self, networks: Sequence[Network] = (), resolve: Resolve | None = None) -> None:
        """`networks` may be called although they are not public, by plain HTTP too."""
        self._networks = networks
        # Threads of its own: names that nobody answers for would keep others waiting for theirs.
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="outward")
        self._resolve = resolve or self._asked

    def close(self) -> None:
        """Ask for no more names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def find(self, url: str) -> Target:
        """Where `url` leads right now.

        `Refused`: `url_invalid`, `url_not_https`, `host_unknown`, `address_refused`.
        """
        parts = _parsed(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._resolve(host, port)
        except (OSError, UnicodeError, TimeoutError):
            raise Refused("host_unknown") from None
        if not found:
            raise Refused("host_unknown")
        ours = all(self._ours(address) for address in found)
        if parts.scheme != "https" and not ours:
            raise Refused("url_not_https")
        if not all(public(address) or self._ours(address) for address in found):
            raise Refused("address_refused")
        return Target(url, host, found)

    def _ours(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    async def _asked(self, host: str, port: int) -> Sequence[Address]:
        def ask() -> Sequence[Address]:
            said = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [ip_address(str(each[4][0]).partition("%")[0]) for each in said]

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)


def public(address: Address) -> bool:
    """Whether `address` is anybody's on the internet, and not one of this machine or its network.

    An IPv4 address in IPv6's clothes is judged by what it wears them over.
    """
    if isinstance(address, IPv6Address) and (inner := _inner(address)) is not None:
        return public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    network = _TRANSLATED
    if isinstance(network, IPv6Network) and address in network:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _parsed(url: str) -> SplitResult:
    """The parts of an address of HTTP: nothing in it but scheme, host, port, path and query."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        raise Refused("url_invalid") from None
    whole = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST
    plain = parts.username is None and parts.password is None and not parts.fragment
    if not (whole and plain and parts.hostname and parts.scheme in ("http", "https")):
        raise Refused("url_invalid")
    return parts
