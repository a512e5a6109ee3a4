"""Whose request this is. The one seam where accounts will come in.

Knows callers without a token: the person of their address, or the one local person. Refuses to
know passwords, and keeps no address: SQL holds its HMAC alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Protocol
from uuid import UUID

from starlette.requests import HTTPConnection

from ingest.client import Address, Client, client_of, host_of
from ingest.problems import Problem
from ingest.settings import IngestSettings
from relay.sql.database import Database, Transaction

_REMEMBERED = 10_000
_SECONDS = 60.0


class PersonStore(Protocol):
    """Where persons are found by address; `relay.sql.keys` is one."""

    async def person_of_address(self, tx: Transaction, address: str) -> UUID: ...
    async def local_person(self, tx: Transaction) -> UUID: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """A person at a door, and the client they use."""

    person: UUID
    client: Client


class Callers:
    """Tells who calls; `Problem` where nobody may without a token."""

    def __init__(
        self,
        settings: IngestSettings,
        public_url: str | None,
        database: Database,
        store: PersonStore,
    ) -> None:
        self._settings = settings
        self._public_url = public_url
        self._database = database
        self._store = store
        self._known: dict[str, tuple[float, UUID]] = {}

    async def caller(self, connection: HTTPConnection) -> Caller:
        """The caller of `connection`."""
        client = self.client(connection)
        if not self._settings.anonymous:
            raise Problem("token_required")
        if client.address.is_loopback:
            self._refuse_strangers(connection, client)
        return Caller(await self._person(client), client)

    def client(self, connection: HTTPConnection) -> Client:
        """Who is at the other end, let in or not."""
        return client_of(connection, self._settings.trusted_proxies, self._public_url)

    def _refuse_strangers(self, connection: HTTPConnection, client: Client) -> None:
        """Who is on this machine shares one person, so nobody else may pass for them.

        A page of another site in a local browser (its Origin, or by rebinding its Host) and
        whatever an undeclared proxy lets in would.
        """
        if client.unproven:
            raise Problem("proxy_untrusted")
        for name in ("host", "origin"):
            value = connection.headers.get(name)
            if value is not None and not self._ours(host_of(value)):
                raise Problem("origin_refused")

    def _ours(self, host: str) -> bool:
        if host == "localhost" or (self._public_url and host == host_of(self._public_url)):
            return True
        try:
            ip_address(host)
        except ValueError:
            return False
        return True

    async def _person(self, client: Client) -> UUID:
        address = "" if client.address.is_loopback else spelled(client.address)
        until, known = self._known.get(address, (0.0, None))
        if known is not None and until > time.monotonic():
            return known
        async with self._database.transaction() as tx:
            if address:
                found = await self._store.person_of_address(tx, address)
            else:
                found = await self._store.local_person(tx)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[address] = (time.monotonic() + _SECONDS, found)
        return found


def spelled(address: Address) -> str:
    """What persons are found by: an IPv4 address, or the /64 that one IPv6 subscriber can pick
    addresses from at will.
    """
    if address.version == 4:
        return str(address)
    return str(ip_network((address, 64), strict=False))
