"""Whose request this is, and what they may do.

Knows bearers of a token or a key, and callers without one: the person of their address, or the one
local person. Refuses to know how somebody came by a token, and keeps no address: SQL holds its HMAC
alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Protocol
from uuid import UUID

from starlette.requests import HTTPConnection

from ingest.accounts.access_keys import AccessKey
from ingest.accounts.roles import ANONYMOUS, LOCAL, SCOPES, Role, Scope
from ingest.accounts.tokens import Claims
from ingest.client import Address, Client, client_of, host_of
from ingest.problems import Problem
from ingest.settings import IngestSettings
from relay.sql.database import Database, Transaction

_REMEMBERED = 10_000
_SECONDS = 60.0
_BEARER = "bearer "


class PersonStore(Protocol):
    """Where persons are found by address; `relay.sql.keys` is one."""

    async def person_of_address(self, tx: Transaction, address: str) -> UUID: ...
    async def local_person(self, tx: Transaction) -> UUID: ...


class Bearers(Protocol):
    """Who tells whose a token is; `ingest.accounts.sign_in` is one."""

    async def bearer(self, token: str) -> Claims | AccessKey: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """A person at a door, and the client they use. No `role`: they came without a token."""

    person: UUID
    client: Client
    role: Role | None = None
    scopes: frozenset[Scope] = ANONYMOUS
    session: UUID | None = None
    key: str | None = None
    """Id of the key they bear, if it is a key."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Those of the key that are its own."""

    def needs(self, scope: Scope) -> None:
        """`Problem` where they may not do that: `token_required`, `scope_missing`."""
        if scope in self.scopes:
            return
        if self.role is None:
            raise Problem("token_required")
        raise Problem("scope_missing", scope=scope.value)


class Callers:
    """Tells who calls; `Problem` where nobody may without a token."""

    def __init__(
        self,
        settings: IngestSettings,
        public_url: str | None,
        database: Database,
        store: PersonStore,
        bearers: Bearers,
    ) -> None:
        self._bearers = bearers
        self._settings = settings
        self._public_url = public_url
        self._database = database
        self._store = store
        self._known: dict[str, tuple[float, UUID]] = {}

    async def caller(self, connection: HTTPConnection, token: str | None = None) -> Caller:
        """The caller of `connection`, by `token` where its head could bear none.

        A token that is no good is refused, also where nobody needs one.
        """
        client = self.client(connection)
        if token := token or _token(connection):
            return _bearing(await self._bearers.bearer(token), client)
        if not self._settings.anonymous:
            raise Problem("token_required")
        if client.address.is_loopback:
            self._refuse_strangers(connection, client)
        scopes = LOCAL if client.address.is_loopback else ANONYMOUS
        return Caller(await self._person(client), client, scopes=scopes)

    def client(self, connection: HTTPConnection) -> Client:
        """The client of `connection`, whoever uses it."""
        return client_of(connection, self._settings.trusted_proxies, self._public_url)

    async def neighbour(self, connection: HTTPConnection) -> UUID:
        """The person of the address alone: for what has to be limited before anybody is known."""
        return await self._person(self.client(connection))

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


def _token(connection: HTTPConnection) -> str | None:
    """The bearer token in the head; None where there is none (other schemes are a proxy's)."""
    said = connection.headers.get("authorization", "")
    return said[len(_BEARER) :].strip() or None if said.lower().startswith(_BEARER) else None


def _bearing(proved: Claims | AccessKey, client: Client) -> Caller:
    if isinstance(proved, Claims):
        role = proved.role
        return Caller(proved.sub, client, role, SCOPES[role], session=proved.sid)
    scopes = proved.scopes & SCOPES[proved.role]
    return Caller(proved.person, client, proved.role, scopes, key=proved.id, limits=proved.limits)


def spelled(address: Address) -> str:
    """What persons are found by: an IPv4 address, or the /64 that one IPv6 subscriber can pick
    addresses from at will.
    """
    if address.version == 4:
        return str(address)
    return str(ip_network((address, 64), strict=False))
