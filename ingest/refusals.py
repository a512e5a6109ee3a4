"""What the doors turn away leaves a trace: an event each up to a bound, the others counted.

Knows that whoever is refused may be somebody who wants this to cost us something. A door only puts
a few facts into memory, and never waits; one address has a small share of the bound; nothing is
written per address but events; what cannot be written now is counted. A process that dies forgets
what it had not written yet: about a second. Refuses to keep what a request said.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

from starlette.requests import HTTPConnection

from ingest.client import Address
from ingest.person import spelled
from ingest.problems import Problem
from relay.codec import encode
from relay.errors import Unavailable
from relay.outbox import enqueue
from relay.sql.database import Database, Transaction
from relay.sql.keys import SqlKeyStore
from schemas.envelope import Head
from schemas.events import RequestRefused

STATUSES = frozenset({400, 401, 403, 408, 413, 415, 422, 429})
TALLY = "voxrelay.body"
"""Where in a request's scope the tally of its body lies."""
SHARE = 6
"""Of one address, of the events of a minute."""

_DOORS = frozenset({"/tts", "/v1/jobs"})
_SECRET = "refused bodies"
_MINUTE = 60.0
_FLUSH_SECONDS = 1.0
_ADDRESSES = 10_000
_NOBODY = UUID(int=0)

log = logging.getLogger(__name__)


class Tally:
    """What has come of a body: its length, and its hash once it is whole."""

    def __init__(self) -> None:
        self.size = 0
        self.whole = False
        self._hash = sha256()

    def add(self, data: bytes, *, last: bool) -> None:
        """The next part of it."""
        self.size += len(data)
        self.whole = last
        self._hash.update(data)

    @property
    def digest(self) -> bytes | None:
        """SHA-256 of a body that has come whole and is not empty."""
        return self._hash.digest() if self.whole and self.size else None


@dataclass(frozen=True, slots=True)
class Refused:
    """One refusal, as a door saw it."""

    address: str
    code: str
    status: int
    door: str
    size: int | None
    digest: bytes | None


class Refusals:
    """Gathers refusals and writes them into the outbox until `stop`."""

    def __init__(
        self,
        database: Database,
        keys: SqlKeyStore,
        site: str,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` in seconds; one that never goes back."""
        self._database, self._keys, self._site = database, keys, site
        self._per_minute, self._clock = per_minute, clock
        self._begun = clock()
        self._told = 0
        self._shares = Counter[str]()
        self._waiting = deque[Refused]()
        self._others = Counter[tuple[str, int]]()
        """Of this minute."""
        self._counted = Counter[tuple[str, int]]()
        """Of minutes that are over: to be written."""
        self._stopping = asyncio.Event()

    def saw(self, connection: HTTPConnection, problem: Problem, client: Address) -> None:
        """A door refuses: remembered or counted, at once."""
        if problem.status not in STATUSES:
            return
        self._turn()
        address = "" if client.is_loopback else spelled(client)
        if self._told >= self._per_minute or not self._share(address):
            self._others[problem.code, problem.status] += 1
            return
        self._told += 1
        path, tally = connection.scope["path"], connection.scope.get(TALLY)
        self._waiting.append(
            Refused(
                address=address,
                code=problem.code,
                status=problem.status,
                door=path if path in _DOORS else "other",
                size=tally.size if tally else None,
                digest=tally.digest if tally else None,
            )
        )

    def stop(self) -> None:
        """End `run` after what is known has been written, if it can be."""
        self._stopping.set()

    async def run(self) -> None:
        """Write what comes, every second; the counts of others once a minute."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._stopping.wait()
            await self.flush()
        await self.flush(last=True)

    async def flush(self, *, last: bool = False) -> None:
        """Write what there is; what cannot be is kept as a count."""
        self._turn(over=last)
        one_by_one, self._waiting = self._waiting, deque()
        counted, self._counted = self._counted, Counter()
        if not one_by_one and not counted:
            return
        try:
            secret = await self._keys.secret(_SECRET)
            await self._database.run(lambda tx: self._write(tx, secret, one_by_one, counted))
        except Unavailable as down:
            log.warning("refused requests are only counted: %s", down)
            self._others += counted + Counter((each.code, each.status) for each in one_by_one)

    def _turn(self, *, over: bool = False) -> None:
        """Begin another minute where one is over."""
        if over or self._clock() - self._begun >= _MINUTE:
            self._begun, self._told = self._clock(), 0
            self._shares.clear()
            self._counted += self._others
            self._others.clear()

    def _share(self, address: str) -> bool:
        """Whether the address may have another event; it uses up its share."""
        if len(self._shares) >= _ADDRESSES and address not in self._shares:
            return False
        self._shares[address] += 1
        return self._shares[address] <= SHARE

    async def _write(
        self,
        tx: Transaction,
        secret: bytes,
        refused: Sequence[Refused],
        others: Counter[tuple[str, int]],
    ) -> None:
        for each in refused:
            event = RequestRefused(
                code=each.code,
                status=each.status,
                door=each.door,
                size=each.size,
                body=hmac.new(secret, each.digest, sha256).hexdigest() if each.digest else None,
            )
            await self._put(tx, await self._keys.alias(tx, each.address), event)
        for (code, status), count in others.items():
            event = RequestRefused(code=code, status=status, door="", count=count)
            await self._put(tx, _NOBODY, event)

    async def _put(self, tx: Transaction, person: UUID, event: RequestRefused) -> None:
        head = Head(uuid4(), event.TYPE, self._site, tx.now, person, str(person))
        await enqueue(tx, [encode(event, head, None)])
